//! What the room `adopt` needs: access by SQL to a database that is not Curfew's, and Curfew's side of an adoption.
//!
//! No other room outside this one uses SQL. `adopt` reads and blanks the other application's table with the types that
//! are re-exported here. This file writes what follows from the table's rows, in the same transactions as every logout.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use curfew_core::RevocationKey;
use sqlx::Error;

use super::sql::{self, Batch, Kept, Opened};
use super::trust::Distrust;
use super::{Database, OpenFailure, Settings, reckon, start};
use crate::clock::{Clock, since_boot};
use crate::log::LogPosition;

pub(crate) use super::evidence::Known;
pub(crate) use super::sql::{
    Connection, Found, Link, Mark, Row, State, Taken, TextHash, Value, are_of_curfew, columns, explained,
    foreign as open_foreign, is_locked, list, may_pass, values,
};

/// Values of one list in a statement.
pub(crate) const LIST: usize = sql::TOKENS;

/// Curfew's database, for an adoption that writes.
pub(crate) struct AdoptionWriter<'a> {
    database: &'a Database,
    settings: &'a Settings,
    clock: &'a Clock,
    opened: Opened,
    /// The number of the adoption.
    adoption: i64,
    before: Before,
    /// How far the log reached after the newest commit of this run. It stays in the history in which the run began.
    head: LogPosition,
    /// No commit of this run is later, by [`since_boot`].
    committed: Duration,
}

/// What there was before a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    /// An earlier run has ended this adoption.
    pub(crate) has_ended: bool,
    /// `curfew serve` has started on this database.
    pub(crate) has_started: bool,
}

/// What one transaction writes for some rows of the application's table.
pub(crate) struct TakeOver<'f> {
    /// Each token once.
    pub(crate) found: &'f [Found],
    /// The ids of rows that are noted as taken over, with their tokens.
    pub(crate) marks: &'f [(i64, RevocationKey)],
    /// The ids of blocked rows without a token that are accepted, with hashes of their texts.
    pub(crate) accepted: &'f [(i64, TextHash)],
}

impl<'a> AdoptionWriter<'a> {
    /// Brings Curfew's schema up to date, and notes that an adoption from the database `source` has begun, if none has
    /// begun yet.
    pub(crate) async fn begin(
        database: &'a Database,
        settings: &'a Settings,
        clock: &'a Clock,
        source: &str,
    ) -> Result<Self, OpenFailure> {
        start::migrate(database).await?;
        reckon(database, clock).await?;
        let mut opened = Opened::at_start(database).await?;
        sql::server_warnings(&mut opened).await?;
        let mut batch = Batch::begin(&mut opened, clock.moment(), settings, None).await?;
        let adoption = batch.begin_adoption(source).await?;
        let has_started = batch.stored_kept().await? != Kept::NOTHING;
        let head = batch.move_head().await?;
        batch.commit().await?;
        let has_ended = sql::has_finished(&mut opened.connection.link(), adoption).await?;
        let before = Before { has_ended, has_started };
        Ok(Self { database, settings, clock, opened, adoption, before, head, committed: since_boot() })
    }

    /// What there was before this run.
    pub(crate) const fn before(&self) -> Before {
        self.before
    }

    /// Opens another connection, because the old one may be lost or in a transaction.
    pub(crate) async fn reopen(&mut self) -> Result<(), Error> {
        self.opened = Opened::writer(self.database).await?;
        // The answer to a commit may have been lost with the connection.
        self.committed = since_boot();
        Ok(())
    }

    /// The number of seconds after its end until a token has expired by every clock.
    pub(crate) async fn token_rest(&mut self) -> Result<i64, Error> {
        Ok(sql::kept(&mut self.opened.connection.link(), self.settings.retention).await?.token_rest)
    }

    /// The time by the clock that is furthest behind.
    pub(crate) async fn surely_past(&mut self) -> Result<i64, Error> {
        sql::surely_past(&mut self.opened.connection.link(), self.clock.moment()).await
    }

    /// The notes about the application's rows with these ids.
    pub(crate) async fn marks(&mut self, rows: &[i64]) -> Result<HashMap<i64, Mark>, Error> {
        sql::marks(&mut self.opened.connection.link(), self.adoption, rows).await
    }

    /// Those of these rows that were accepted, with the text that each had.
    pub(crate) async fn accepted(&mut self, rows: &[i64]) -> Result<HashMap<i64, TextHash>, Error> {
        sql::accepted(&mut self.opened.connection.link(), self.adoption, rows).await
    }

    /// Takes tokens over in one transaction; returns what became of them, and how long the transaction held others up.
    pub(crate) async fn take_over(&mut self, rows: TakeOver<'_>) -> Result<(Taken, Duration), Error> {
        let mut batch = Batch::begin(&mut self.opened, self.clock.moment(), self.settings, None).await?;
        let began = Instant::now();
        let taken = batch.take_over(rows.found).await?;
        batch.mark(self.adoption, rows.marks).await?;
        batch.accept(self.adoption, rows.accepted).await?;
        let head = batch.move_head().await?;
        batch.commit().await?;
        let held = began.elapsed();
        self.committed = since_boot();
        // A head of another history is not taken over, so that the end of the earlier one shows for good.
        if head.covers(self.head) {
            self.head = head;
        }
        Ok((taken, held))
    }

    /// No commit of this run is later, by [`since_boot`].
    pub(crate) const fn committed(&self) -> Duration {
        self.committed
    }

    /// True if the database still has every commit of this run. Otherwise another one has taken its place, such as a
    /// restored copy, or a standby that lacked the latest commits.
    pub(crate) async fn has_all(&mut self) -> Result<bool, Error> {
        if !self.opened.leads_to_the_database() {
            return Ok(false);
        }
        let history = self.opened.probe.history(&mut self.opened.connection.link(), false).await?;
        if history.follows {
            return Err(Distrust::Follows.into());
        }
        Ok(history.head.covers(self.head) && !history.known.contradicts(&history.seen))
    }

    /// Notes that all tokens that are blocked in the application's table are revoked. False if the database does not have
    /// every commit of this run: nothing is noted then, and this connection must not be used any more.
    pub(crate) async fn finish(&mut self) -> Result<bool, Error> {
        let mut batch = Batch::begin(&mut self.opened, self.clock.moment(), self.settings, None).await?;
        if !batch.began_at().covers(self.head) {
            return Ok(false);
        }
        batch.finish_adoption(self.adoption).await?;
        batch.move_head().await?;
        batch.commit().await?;
        Ok(true)
    }

    /// Closes the connection.
    pub(crate) async fn close(self) -> Result<(), Error> {
        self.opened.connection.close().await
    }
}

/// Curfew's database, for a dry run. It may be empty, absent, or of an older version.
pub(crate) struct AdoptionReader {
    /// `None` if the file does not exist.
    connection: Option<Connection>,
    has_tokens: bool,
    /// The number of the adoption, if one has begun.
    adoption: Option<i64>,
    has_accepted: bool,
    kept: Kept,
}

impl AdoptionReader {
    /// Looks at the database, and changes nothing.
    pub(crate) async fn open(database: &Database, settings: &Settings, source: &str) -> Result<Self, OpenFailure> {
        let kept = Kept::asked(settings.retention);
        if database.file().is_some_and(|file| !file.exists()) {
            return Ok(Self { connection: None, has_tokens: false, adoption: None, has_accepted: false, kept });
        }
        let mut connection = sql::look(database).await?;
        let link = &mut connection.link();
        if sql::has_foreign_tokens(link).await? {
            return Err(OpenFailure::Schema(super::MigrateFailure::ForeignTable));
        }
        let has_tokens = sql::has_table(link, "user_token_logs").await?;
        let has_kept = sql::has_table(link, "retention_kept").await?;
        let kept = if has_kept { sql::kept(link, settings.retention).await? } else { kept };
        let has_adoptions = sql::has_table(link, "adopted_rows").await?;
        let adoption = if has_adoptions { sql::find_adoption(link, source).await? } else { None };
        let has_accepted = sql::has_table(link, "accepted_rows").await?;
        Ok(Self { connection: Some(connection), has_tokens, adoption, has_accepted, kept })
    }

    /// The number of seconds after its end until a token has expired by every clock.
    pub(crate) const fn token_rest(&self) -> i64 {
        self.kept.token_rest
    }

    /// The time by the clock that is furthest behind.
    pub(crate) async fn surely_past(&mut self, clock: &Clock) -> Result<i64, Error> {
        let moment = clock.moment();
        match &mut self.connection {
            Some(connection) => sql::surely_past(&mut connection.link(), moment).await,
            None => Ok(moment.earliest()),
        }
    }

    /// The notes about the application's rows with these ids.
    pub(crate) async fn marks(&mut self, rows: &[i64]) -> Result<HashMap<i64, Mark>, Error> {
        match (&mut self.connection, self.adoption) {
            (Some(connection), Some(adoption)) => sql::marks(&mut connection.link(), adoption, rows).await,
            _ => Ok(HashMap::new()),
        }
    }

    /// Those of these rows that were accepted, with the text that each had.
    pub(crate) async fn accepted(&mut self, rows: &[i64]) -> Result<HashMap<i64, TextHash>, Error> {
        match (&mut self.connection, self.adoption) {
            (Some(connection), Some(adoption)) if self.has_accepted => {
                sql::accepted(&mut connection.link(), adoption, rows).await
            }
            _ => Ok(HashMap::new()),
        }
    }

    /// What Curfew's table says of these tokens, for those that it has.
    pub(crate) async fn states(&mut self, tokens: &[RevocationKey]) -> Result<HashMap<RevocationKey, State>, Error> {
        match &mut self.connection {
            Some(connection) if self.has_tokens => sql::states(&mut connection.link(), tokens).await,
            _ => Ok(HashMap::new()),
        }
    }

    /// Closes the connection.
    pub(crate) async fn close(self) -> Result<(), Error> {
        match self.connection {
            Some(connection) => connection.close().await,
            None => Ok(()),
        }
    }
}
