//! One write transaction, which carries out any number of commands.
//!
//! Its first statement locks the head, on every database and in every control plane, so nothing it has read can change
//! before it commits, and the numbers that it gives to revocations follow the order of the commits. Everything that
//! writes goes this way, which also leaves no two transactions that could wait for each other. Dropped without a
//! commit, it leaves nothing behind if its connection is dropped, too.

use std::collections::BTreeMap;

use curfew_core::wire::CheckVerdict;
use curfew_core::{Kind, RevocationKey};
use sqlx::Error;
use tracing::warn;

use super::connect::Opened;
use super::connection::Link;
use super::history::{self, HistoryProbe};
use super::prolong::Kept;
use super::read::{evidence, revocations_after};
use super::row::Row;
use super::tables::Tables;
use super::value::{Value, values};
use crate::clock::Moment;
use crate::log::retention::MARGIN_SECONDS;
use crate::log::{Cause, Epoch, LogPosition, Logged};
use crate::store::command::{LogoutOutcome, Purged, TokenRecord};
use crate::store::evidence::Evidence;
use crate::store::settings::Settings;
use crate::store::trust::{Distrust, History, Seen};

/// How many rows of each table one step of the purge removes: some milliseconds for which logouts wait.
pub(crate) const PURGE_ROWS: i64 = 500;

/// A write transaction in the making.
pub(crate) struct Batch<'c> {
    pub(super) link: Link<'c>,
    /// The head when the transaction began, under the name that it goes on with.
    began_at: LogPosition,
    /// The seq of the newest revocation of this batch, or of the head.
    pub(super) seq: u64,
    pub(super) moment: Moment,
    pub(super) settings: &'c Settings,
    /// Until when subject entries of this batch live, by issuer.
    pub(super) subjects_until: BTreeMap<String, i64>,
    witness: &'c HistoryProbe,
    /// For how long entries are kept, once that was needed.
    pub(super) kept: Option<Kept>,
    pub(super) tables: Tables,
}

impl<'c> Batch<'c> {
    /// Begins a transaction that dates everything by this moment. Where the database is not the one in which the epoch was made,
    /// or lies before what this process has seen of it, it begins with a new epoch.
    pub(crate) async fn begin(
        opened: &'c mut Opened,
        moment: Moment,
        settings: &'c Settings,
        seen_before: Option<&Seen>,
    ) -> Result<Self, Error> {
        let (mut link, witness, tables) = (opened.connection.link(), &opened.witness, opened.tables);
        // SQLite: IMMEDIATE takes the write lock here. A deferred transaction that has read and then wants to write
        // fails with SQLITE_BUSY at once, whatever the busy timeout.
        link.run(link.choose("BEGIN IMMEDIATE", "BEGIN", "START TRANSACTION")).await?;
        let history = witness.history(&mut link, true).await?;
        if history.follows {
            // Some accounts may write there all the same, and what they write is lost with the next word of the primary.
            return Err(Distrust::Follows.into());
        }
        let went_back = seen_before.is_some_and(|seen| history.went_back(seen));
        let History { mut head, known, seen, .. } = history;
        let updated = known.clone().updated_by(&seen);
        if went_back || known.contradicts(&seen) {
            let old = std::mem::replace(&mut head.epoch, history::rename(&mut link, &updated).await?);
            warn!(
                %old,
                new = %head.epoch,
                known = %known,
                seen = %seen,
                went_back,
                "the database is another one or a restored copy, and may lack revocations: a new epoch begins"
            );
        } else if updated != known {
            history::remember(&mut link, &updated).await?;
        }
        Ok(Self {
            link,
            began_at: head,
            seq: head.seq,
            moment,
            settings,
            subjects_until: BTreeMap::new(),
            witness,
            kept: None,
            tables,
        })
    }

    /// Names the history anew, as an operator asks who knows that it has changed; returns the old name.
    pub(crate) async fn bump_epoch(&mut self) -> Result<Epoch, Error> {
        let history = self.witness.history(&mut self.link, true).await?;
        let identity = history.known.updated_by(&history.seen);
        let new = history::rename(&mut self.link, &identity).await?;
        Ok(std::mem::replace(&mut self.began_at.epoch, new))
    }

    /// Writes, though to no row: a server that takes no writes says so.
    pub(crate) async fn try_write(&mut self) -> Result<(), Error> {
        self.link.execute("UPDATE feed_head SET seq = seq WHERE 1 = 0", values![]).await.map(drop)
    }

    /// The head when the transaction began.
    pub(crate) fn began_at(&self) -> LogPosition {
        self.began_at
    }

    /// At most `limit` of the revocations that this batch has made so far, in their order.
    pub(crate) async fn revoked(&mut self, limit: u64) -> Result<Vec<Logged>, Error> {
        if self.seq == self.began_at.seq {
            return Ok(Vec::new());
        }
        revocations_after(&mut self.link, self.began_at.seq, self.moment.now, limit).await
    }

    /// Revokes a token, unless it is revoked already.
    pub(crate) async fn logout(&mut self, token: &TokenRecord) -> Result<LogoutOutcome, Error> {
        let evidence = self.evidence(token).await?;
        if is_revoked(&evidence, token) {
            return Ok(LogoutOutcome::AlreadyRevoked);
        }
        self.revoke_token(token, evidence.known, Cause::Logout).await?;
        Ok(LogoutOutcome::LoggedOut)
    }

    /// Revokes a token and everything else of its user, unless the token is revoked already.
    ///
    /// The token gets an entry of its own, for the subject entry may not cover it: it may be of the cutoff's very
    /// second and registered. An issuer whose clock runs ahead dates its other tokens like this one, so the cutoff
    /// is the token's own time where that is later; no token is accepted that is dated further ahead than the skew.
    pub(crate) async fn logout_all(&mut self, token: &TokenRecord, user: &str) -> Result<LogoutOutcome, Error> {
        let evidence = self.evidence(token).await?;
        if is_revoked(&evidence, token) {
            return Ok(LogoutOutcome::AlreadyRevoked);
        }
        let cause = Cause::LogoutAllDevice;
        self.revoke_token(token, evidence.known, cause).await?;
        let cutoff = token.cutoff_time.unwrap_or(self.moment.now).max(self.moment.now);
        self.revoke_subject(&token.issuer, user, cutoff, cause).await?;
        Ok(LogoutOutcome::LoggedOut)
    }

    /// Revokes every known token of a user, and by a cutoff of now those that were never registered.
    pub(crate) async fn revoke_user(&mut self, issuer: &str, user: &str, cause: Cause) -> Result<(), Error> {
        self.revoke_subject(issuer, user, self.moment.now, cause).await
    }

    async fn revoke_subject(&mut self, issuer: &str, user: &str, cutoff: i64, cause: Cause) -> Result<(), Error> {
        self.revoke_known_tokens(issuer, user, cutoff, cause).await?;
        let subject = RevocationKey::subject(issuer, user);
        let until = cutoff.saturating_add(self.kept().await?.subject_life);
        self.subjects_live(issuer, until);
        self.put_revocation(Kind::Subject, &subject, cutoff, until, cause).await
    }

    /// Removes some of what no proxy can need any more. Call again while a table gives [`PURGE_ROWS`].
    pub(crate) async fn purge(&mut self) -> Result<Purged, Error> {
        let now = surely_past(&mut self.link, self.moment).await?;
        let expired = now.saturating_sub(self.settings.retention.rows_after_expiry());
        Ok(Purged { tokens: self.delete_tokens(expired).await?, revocations: self.delete_revocations(now).await? })
    }

    /// Moves the head over this batch's revocations; the last statement before [`Self::commit`].
    pub(crate) async fn move_head(&mut self) -> Result<LogPosition, Error> {
        self.keep_keyspaces().await?;
        if self.seq > self.began_at.seq {
            // Added and not set: were the head not locked after all, two batches would collide and not overwrite.
            let new = self.seq.saturating_sub(self.began_at.seq);
            self.link.execute("UPDATE feed_head SET seq = seq + $1", values![new]).await?;
        }
        Ok(LogPosition { seq: self.seq, ..self.began_at })
    }

    /// Makes everything durable. Where it fails, it is not known whether anything was.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        // Nobody would know what became of a commit that MariaDB ends for taking too long.
        let mysql = "/*M! SET STATEMENT max_statement_time = 0 FOR */ COMMIT";
        self.link.run(self.link.choose("COMMIT", "COMMIT", mysql)).await
    }

    async fn evidence(&mut self, token: &TokenRecord) -> Result<Evidence, Error> {
        evidence(&mut self.link, self.tables, &token.keys).await
    }

    /// Runs a statement, with the names that the tables have here.
    pub(super) async fn execute(&mut self, statement: &'static str, values: &[Value<'_>]) -> Result<u64, Error> {
        self.link.execute(self.tables.of(statement), values).await
    }

    /// Runs a statement that reads, likewise.
    pub(super) async fn fetch(&mut self, statement: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        self.link.fetch(self.tables.of(statement), values).await
    }

    /// [`Self::execute`] for a statement that was put together, and is run `again` in the same form.
    pub(super) async fn execute_made(
        &mut self,
        statement: &str,
        values: &[Value<'_>],
        again: bool,
    ) -> Result<u64, Error> {
        self.link.execute_made(self.tables.name_in(statement), values, again).await
    }

    /// [`Self::fetch`] for a statement that was put together, and is run `again` in the same form.
    pub(super) async fn fetch_made(
        &mut self,
        statement: &str,
        values: &[Value<'_>],
        again: bool,
    ) -> Result<Vec<Row>, Error> {
        self.link.fetch_made(self.tables.name_in(statement), values, again).await
    }
}

/// The earliest of all clocks: ours, ours as if nobody had set it since the start, and the database's. Where one of
/// them has jumped ahead, what it takes for long past may be alive.
pub(crate) async fn surely_past(link: &mut Link<'_>, moment: Moment) -> Result<i64, Error> {
    const POSTGRES: &str = "SELECT CAST(floor(extract(epoch FROM clock_timestamp())) AS bigint) AS now";
    const MYSQL: &str = "SELECT UNIX_TIMESTAMP() AS now";
    let Moment { now, steady: Some(steady) } = moment else { return Ok(moment.now) };
    let server = match link.choose(None, Some(POSTGRES), Some(MYSQL)) {
        Some(statement) => link.fetch_one(statement, values![]).await?.integer("now")?,
        // The same clock as ours.
        None => now,
    };
    let earliest = now.min(steady).min(server);
    if now.max(server).max(steady).saturating_sub(earliest) > MARGIN_SECONDS {
        warn!(now, steady, server, "clocks differ: only what has expired by all of them is taken for expired");
    }
    Ok(earliest)
}

fn is_revoked(evidence: &Evidence, token: &TokenRecord) -> bool {
    evidence.verdict(&token.keys, token.cutoff_time) == CheckVerdict::Revoked
}
