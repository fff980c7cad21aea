//! The commands that revoke: one token, a session, all tokens of a user, or all but those of one session.

use curfew_core::wire::CheckVerdict;
use curfew_core::{Coverage, Kind, RevocationKey};
use sqlx::Error;

use super::batch::Batch;
use super::check::evidence;
use super::driver::values;
use super::revoke::Stays;
use crate::log::Cause;
use crate::store::command::{LogoutOutcome, LogoutScope, Reached, TokenRecord};
use crate::store::evidence::{Evidence, Known};
use crate::store::others::{HeldOthers, OthersChange};

impl Batch<'_> {
    /// Revokes a token and what belongs to it by the scope, unless the token is revoked already.
    pub(crate) async fn logout(&mut self, token: &TokenRecord, scope: &LogoutScope) -> Result<LogoutOutcome, Error> {
        let evidence = evidence(&mut self.link, &token.keys).await?;
        let cause = scope.cause();
        if is_revoked(&evidence, token) {
            return self.revoke_for_good(&evidence, token, cause).await;
        }
        let known = evidence.known;
        match scope {
            LogoutScope::Token => self.revoke_token(token, known, cause).await?,
            LogoutScope::Session(session) => {
                self.revoke_token(token, known, cause).await?;
                self.revoke_session(&token.issuer, session, cause).await?;
            }
            LogoutScope::Others(user) => self.revoke_others(token, user, cause).await?,
            LogoutScope::Global(user) => {
                // The token gets its own entry, because the subject entry may not cover it: the token may be registered, and
                // issued in the cutoff's own second.
                self.revoke_token(token, known, cause).await?;
                self.revoke_subject(&token.issuer, user, self.cutoff_of(token), cause).await?;
            }
        }
        Ok(LogoutOutcome::LoggedOut)
    }

    /// The cutoff of a logout by the owner of this token. If an issuer's clock runs ahead, its other tokens are dated ahead like
    /// this one. So the cutoff is the token's own time if that is later. No token is accepted that is dated further ahead than
    /// the skew.
    fn cutoff_of(&self, token: &TokenRecord) -> i64 {
        let latest = self.moment.latest();
        token.cutoff_time.unwrap_or(latest).max(latest)
    }

    /// Revokes all tokens of a session, those that its issuer may still make included.
    pub(crate) async fn revoke_session(&mut self, issuer: &str, session: &str, cause: Cause) -> Result<u64, Error> {
        let tokens = self.block_session(issuer, session, cause).await?;
        let now = self.moment.latest();
        let until = now.saturating_add(self.kept().await?.subject_life);
        self.live_until(Kind::Session, issuer, until);
        self.put_revocation(Kind::Session, &RevocationKey::session(issuer, session), now, until, cause).await?;
        Ok(tokens)
    }

    /// Revokes all tokens of a user but those of this token's session; without a session, all but this token.
    async fn revoke_others(&mut self, token: &TokenRecord, user: &str, cause: Cause) -> Result<(), Error> {
        let (issuer, cutoff) = (token.issuer.as_str(), self.cutoff_of(token));
        let stays = Stays { session: token.session_id.as_deref(), token: Some(&token.keys.token) };
        let what = token.keys.session.as_ref().unwrap_or(&token.keys.token);
        let known = self.revoke_known_tokens(issuer, user, stays, cutoff, cause).await?;
        let subject = RevocationKey::subject(issuer, user);
        let spared = RevocationKey::spared(&subject, what);
        let held = self.held_others(&subject, &spared).await?;
        if known == 0 && held.say_all_of(cutoff) {
            // The caller's token lives on, so this may be the thousandth call of the same second.
            return Ok(());
        }
        let OthersChange { all, others, spared: spares } = held.followed_by(cutoff);
        let life = self.kept().await?.subject_life;
        // By other rules the user would have another key, or the session that is spared.
        for kind in [Kind::Subject, Kind::Session] {
            self.live_until(kind, issuer, others.saturating_add(life));
        }
        // A worker may apply the first of these without the last. What is spared comes before the entry that would cover it.
        for (kind, key, cutoff) in
            [(Kind::Subject, &subject, all), (Kind::Spared, &spared, spares), (Kind::Others, &subject, Some(others))]
        {
            if let Some(cutoff) = cutoff {
                self.put_revocation(kind, key, cutoff, cutoff.saturating_add(life), cause).await?;
            }
        }
        Ok(())
    }

    async fn held_others(&mut self, subject: &RevocationKey, spared: &RevocationKey) -> Result<HeldOthers, Error> {
        const HELD: &str = "SELECT kind, cutoff FROM revocations \
            WHERE (\"key\" = $1 AND kind = 'others') OR (\"key\" = $2 AND kind = 'spared')";
        let mut held = HeldOthers::default();
        for row in &self.link.fetch(HELD, values![subject, spared]).await? {
            let cutoff = Some(row.integer("cutoff")?);
            if row.text("kind")? == Kind::Others.as_str() { held.others = cutoff } else { held.spared = cutoff }
        }
        Ok(held)
    }

    /// Revokes every known token of a user, and all tokens that were never registered by a cutoff of now. If the wall clock
    /// is behind the time that the database knows of, that time is the cutoff.
    pub(crate) async fn revoke_user(&mut self, issuer: &str, user: &str, cause: Cause) -> Result<Reached, Error> {
        let tokens = self.revoke_subject(issuer, user, self.moment.latest(), cause).await?;
        Ok(Reached { tokens, known: tokens > 0 || self.knows_user(issuer, user).await? })
    }

    /// Revokes a token that counts as revoked only because it is of the cutoff's own second and was never registered. Its
    /// login may register it later, and the caller, who is told that it is revoked, will not log it out again.
    async fn revoke_for_good(
        &mut self,
        evidence: &Evidence,
        token: &TokenRecord,
        cause: Cause,
    ) -> Result<LogoutOutcome, Error> {
        let is_tie = evidence.coverage(&token.keys, token.cutoff_time) == Coverage::SameSecond;
        if is_tie && evidence.known == Known::No {
            self.revoke_token(token, evidence.known, cause).await?;
        }
        let same_second = evidence.is_of_same_second(&token.keys, token.cutoff_time);
        Ok(if same_second { LogoutOutcome::OfSameSecond } else { LogoutOutcome::AlreadyRevoked })
    }

    /// Returns how many known tokens were revoked one by one.
    async fn revoke_subject(&mut self, issuer: &str, user: &str, cutoff: i64, cause: Cause) -> Result<u64, Error> {
        let tokens = self.revoke_known_tokens(issuer, user, Stays::default(), cutoff, cause).await?;
        let subject = RevocationKey::subject(issuer, user);
        let until = cutoff.saturating_add(self.kept().await?.subject_life);
        self.live_until(Kind::Subject, issuer, until);
        self.put_revocation(Kind::Subject, &subject, cutoff, until, cause).await?;
        Ok(tokens)
    }
}

fn is_revoked(evidence: &Evidence, token: &TokenRecord) -> bool {
    evidence.verdict(&token.keys, token.cutoff_time) == CheckVerdict::Revoked
}
