//! One write transaction, which carries out any number of commands.
//!
//! Its first statement locks the head, on every database and in every control plane. So nothing that it has read can
//! change before it commits, and the seqs of its revocations follow the order of the commits. All commands and
//! adoptions write in such transactions, so no two of them can deadlock. If it is dropped without a commit, it leaves
//! nothing behind, provided that its connection is dropped, too.

use curfew_core::Kind;
use sqlx::Error;
use tracing::warn;

use super::connect::Opened;
use super::driver::{Link, values};
use super::history::{self, HistoryProbe};
use super::kept::{Kept, kept};
use super::keyspaces::{Lives, store_lives};
use super::log_rows::revocations_after;
use crate::clock::{ClockMark, Moment};
use crate::log::{Epoch, LogPosition, Logged};
use crate::store::settings::Settings;
use crate::store::trust::{Distrust, History, Seen};

/// A write transaction that has begun and is not committed.
pub(crate) struct Batch<'c> {
    pub(super) link: Link<'c>,
    /// The head when the transaction began, with the epoch that holds from then on.
    began_at: LogPosition,
    /// The seq of the newest change of this batch, or of the head.
    pub(super) seq: u64,
    /// The seq of the newest change of keys of this batch, if there is one.
    pub(super) keys_seq: Option<u64>,
    pub(super) moment: Moment,
    pub(super) settings: &'c Settings,
    /// When the last entries of this batch expire that are found by a rule.
    rules_until: Lives,
    probe: &'c HistoryProbe,
    /// For how long entries are kept; `None` until that is needed.
    pub(super) kept: Option<Kept>,
    /// The mark of certain time, if this batch has moved it, and the server's clock, if it has read it.
    pub(super) mark: Option<ClockMark>,
    pub(super) server: Option<i64>,
}

impl<'c> Batch<'c> {
    /// Begins a transaction that dates everything by this moment. It starts a new epoch if the database is not the one
    /// in which the epoch was made, if its server has started again since, or if the log is shorter than this process
    /// has seen it.
    pub(crate) async fn begin(
        opened: &'c mut Opened,
        moment: Moment,
        settings: &'c Settings,
        seen_before: Option<&Seen>,
    ) -> Result<Self, Error> {
        let (mut link, probe, is_kept) = (opened.connection.link(), &opened.probe, opened.is_kept);
        // SQLite: IMMEDIATE takes the write lock here. A deferred transaction that has read and then wants to write
        // fails with SQLITE_BUSY at once, whatever the busy timeout is.
        link.run(link.choose("BEGIN IMMEDIATE", "BEGIN", "START TRANSACTION")).await?;
        let history = probe.history(&mut link, true).await?;
        if history.follows {
            // Some accounts may write there all the same, and their writes are lost with the next update from the
            // primary.
            return Err(Distrust::Follows.into());
        }
        let went_back = seen_before.is_some_and(|seen| history.went_back(seen));
        if went_back && is_kept {
            // It may lead to an old primary, whose log no name makes new. What the database's name leads to now is asked
            // over a new connection.
            return Err(Distrust::WentBack.into());
        }
        let History { mut head, known, seen, .. } = history;
        let updated = known.clone().updated_by(&seen);
        if !went_back && known.is_an_earlier_run_of(&seen) {
            let old = std::mem::replace(&mut head.epoch, history::rename(&mut link, &updated).await?);
            warn!(%old, new = %head.epoch, "the database's server has started again: a new epoch begins");
        } else if went_back || known.contradicts(&seen) {
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
            keys_seq: None,
            moment,
            settings,
            rules_until: Lives::new(),
            probe,
            kept: None,
            mark: None,
            server: None,
        })
    }

    /// Gives the history a new name, because an operator knows that it has changed; returns the old name.
    pub(crate) async fn bump_epoch(&mut self) -> Result<Epoch, Error> {
        let history = self.probe.history(&mut self.link, true).await?;
        let identity = history.known.updated_by(&history.seen);
        let new = history::rename(&mut self.link, &identity).await?;
        Ok(std::mem::replace(&mut self.began_at.epoch, new))
    }

    /// Writes to no row: a server that takes no writes answers with an error.
    pub(crate) async fn try_write(&mut self) -> Result<(), Error> {
        self.link.execute("UPDATE feed_head SET seq = seq WHERE 1 = 0", values![]).await.map(drop)
    }

    /// The mark of certain time, if this batch has moved it, and the server's clock, if it has read it.
    pub(crate) fn clocks(&self) -> (Option<ClockMark>, Option<i64>) {
        (self.mark, self.server)
    }

    /// True if no cutoff that is known to be late enough can be given.
    pub(crate) fn has_no_cutoff(&self) -> bool {
        self.moment.is_lost()
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

    /// Moves the head over this batch's revocations and changes of keys. This is the last statement before [`Self::commit`].
    pub(crate) async fn move_head(&mut self) -> Result<LogPosition, Error> {
        let lives = std::mem::take(&mut self.rules_until);
        store_lives(&mut self.link, &self.settings.rules, lives).await?;
        if self.seq > self.began_at.seq {
            // The number is added and not set: if the head were not locked after all, two batches would collide and not
            // overwrite each other.
            let new = self.seq.saturating_sub(self.began_at.seq);
            match self.keys_seq {
                None => self.link.execute("UPDATE feed_head SET seq = seq + $1", values![new]).await?,
                Some(keys) => {
                    const MOVE: &str = "UPDATE feed_head SET seq = seq + $1, keys_seq = $2";
                    self.link.execute(MOVE, values![new, keys]).await?
                }
            };
        }
        Ok(LogPosition { seq: self.seq, ..self.began_at })
    }

    /// Makes everything durable. If it fails, it is not known whether anything is.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        // If MariaDB stopped a commit for taking too long, it would not be known whether the commit took place.
        let mysql = "/*M! SET STATEMENT max_statement_time = 0 FOR */ COMMIT";
        // In a transaction in which a statement has failed, PostgreSQL answers a COMMIT with ROLLBACK, which is no error.
        // Any other statement is an error there, and what follows it is not carried out.
        let postgres = "SELECT 1; COMMIT";
        self.link.run(self.link.choose("COMMIT", postgres, mysql)).await
    }

    /// For how long this transaction keeps what it writes: another control plane may have settings that ask for more.
    pub(super) async fn kept(&mut self) -> Result<Kept, Error> {
        if let Some(kept) = self.kept {
            return Ok(kept);
        }
        let kept = kept(&mut self.link, self.settings.retention).await?;
        self.kept = Some(kept);
        Ok(kept)
    }

    /// Notes when an entry of an issuer expires. `kind` is that of the rule by which its key is found.
    pub(super) fn live_until(&mut self, kind: Kind, issuer: &str, until: i64) {
        let latest = self.rules_until.entry((kind.as_str(), issuer.to_owned())).or_insert(until);
        *latest = until.max(*latest);
    }
}

#[cfg(test)]
mod tests {
    use curfew_testbed::servers::Postgres;

    use super::*;
    use crate::log::retention::Retention;
    use crate::store::Database;

    #[tokio::test]
    async fn a_commit_that_postgres_would_answer_with_rollback_is_an_error() {
        let postgres = Postgres::start().unwrap();
        let database = Database::from_url(&postgres.fresh_database("failed").unwrap()).unwrap();
        crate::store::migrate(&database).await.unwrap();
        let settings = Settings { retention: Retention { clock_skew: 0, max_token_ttl: 0, audit: 0 }, rules: vec![] };
        let mut opened = Opened::at_start(&database).await.unwrap();
        let moment = Moment::believed(1);
        let mut batch = Batch::begin(&mut opened, moment, &settings, None).await.unwrap();
        // An error that nobody looks at.
        assert!(batch.link.run("SELECT 1 / 0").await.is_err());
        let refused = batch.commit().await.unwrap_err();
        let state = refused.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
        assert_eq!(state.as_deref(), Some("25P02"), "{refused}");
        assert!(opened.roll_back().await);
        Batch::begin(&mut opened, moment, &settings, None).await.unwrap().commit().await.unwrap();
    }
}
