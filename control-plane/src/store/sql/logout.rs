//! The commands that revoke: one token, or all tokens of a user.

use curfew_core::wire::CheckVerdict;
use curfew_core::{Coverage, Kind, RevocationKey};
use sqlx::Error;

use super::batch::Batch;
use super::check::evidence;
use crate::log::Cause;
use crate::store::command::{LogoutOutcome, Reached, TokenRecord};
use crate::store::evidence::{Evidence, Known};

impl Batch<'_> {
    /// Revokes a token, unless it is revoked already.
    pub(crate) async fn logout(&mut self, token: &TokenRecord) -> Result<LogoutOutcome, Error> {
        let evidence = evidence(&mut self.link, &token.keys).await?;
        if is_revoked(&evidence, token) {
            return self.revoke_for_good(&evidence, token, Cause::Logout).await;
        }
        self.revoke_token(token, evidence.known, Cause::Logout).await?;
        Ok(LogoutOutcome::LoggedOut)
    }

    /// Revokes a token and all other tokens of its user, unless the token is revoked already.
    ///
    /// The token gets its own entry, because the subject entry may not cover it: the token may be registered, and
    /// issued in the cutoff's own second. If an issuer's clock runs ahead, its other tokens are dated ahead like this
    /// one. So the cutoff is the token's own time if that is later. No token is accepted that is dated further ahead
    /// than the skew.
    pub(crate) async fn logout_all(&mut self, token: &TokenRecord, user: &str) -> Result<LogoutOutcome, Error> {
        let evidence = evidence(&mut self.link, &token.keys).await?;
        let cause = Cause::LogoutAllDevice;
        if is_revoked(&evidence, token) {
            return self.revoke_for_good(&evidence, token, cause).await;
        }
        self.revoke_token(token, evidence.known, cause).await?;
        let latest = self.moment.latest();
        let cutoff = token.cutoff_time.unwrap_or(latest).max(latest);
        self.revoke_subject(&token.issuer, user, cutoff, cause).await?;
        Ok(LogoutOutcome::LoggedOut)
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
        let tokens = self.revoke_known_tokens(issuer, user, cutoff, cause).await?;
        let subject = RevocationKey::subject(issuer, user);
        let until = cutoff.saturating_add(self.kept().await?.subject_life);
        self.subjects_live(issuer, until);
        self.put_revocation(Kind::Subject, &subject, cutoff, until, cause).await?;
        Ok(tokens)
    }
}

fn is_revoked(evidence: &Evidence, token: &TokenRecord) -> bool {
    evidence.verdict(&token.keys, token.cutoff_time) == CheckVerdict::Revoked
}
