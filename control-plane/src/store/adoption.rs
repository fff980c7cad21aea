//! What the room `adopt` needs: a way to speak SQL to a database that is not Curfew's, and Curfew's side of an
//! adoption.
//!
//! Nothing else outside this room speaks SQL. The other application's table is read and blanked there, with the types
//! that are passed on here; what follows from its rows is written here, in the same transactions as every logout.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use curfew_core::RevocationKey;
use sqlx::Error;

use super::sql::{self, Batch, Kept, Opened};
use super::{Database, OpenFailure, Settings, start};
use crate::clock::Clock;

pub(crate) use super::evidence::Known;
pub(crate) use super::sql::{
    Connection, Found, Link, Mark, Row, State, Taken, Value, are_of_curfew, columns, explained,
    foreign as open_foreign, is_locked, list, may_pass, values,
};

/// Values of one list in a statement.
pub(crate) const LIST: usize = sql::TOKENS;

/// Curfew's database, as an adoption writes to it.
pub(crate) struct AdoptionWriter<'a> {
    database: &'a Database,
    settings: &'a Settings,
    clock: &'a Clock,
    opened: Opened,
    /// The number of the adoption.
    adoption: i64,
}

/// What is written for some rows of the application's table, in one transaction.
pub(crate) struct TakeOver<'f> {
    /// Each token once.
    pub(crate) found: &'f [Found],
    /// The ids of rows that are noted as taken over, with their tokens.
    pub(crate) marks: &'f [(i64, RevocationKey)],
}

impl<'a> AdoptionWriter<'a> {
    /// Brings Curfew's schema up to date, and notes that an adoption from the database `source` has begun, if none has.
    pub(crate) async fn begin(
        database: &'a Database,
        settings: &'a Settings,
        clock: &'a Clock,
        source: &str,
    ) -> Result<Self, OpenFailure> {
        start::migrate(database).await?;
        let mut opened = Opened::at_start(database).await?;
        sql::server_warnings(&mut opened).await?;
        let mut batch = Batch::begin(&mut opened, clock.moment(), settings, None).await?;
        let adoption = batch.begin_adoption(source).await?;
        batch.move_head().await?;
        batch.commit().await?;
        Ok(Self { database, settings, clock, opened, adoption })
    }

    /// Opens another connection: the one before may be lost, or in a transaction.
    pub(crate) async fn reopen(&mut self) -> Result<(), Error> {
        self.opened = Opened::writer(self.database).await?;
        Ok(())
    }

    /// How many seconds after its end a token is surely dead.
    pub(crate) async fn token_rest(&mut self) -> Result<i64, Error> {
        Ok(sql::kept(&mut self.opened.connection.link(), self.settings.retention).await?.token_rest)
    }

    /// The time by the clock that is furthest behind.
    pub(crate) async fn surely_past(&mut self) -> Result<i64, Error> {
        sql::surely_past(&mut self.opened.connection.link(), self.clock.moment()).await
    }

    /// What was noted of the application's rows with these ids.
    pub(crate) async fn marks(&mut self, rows: &[i64]) -> Result<HashMap<i64, Mark>, Error> {
        sql::marks(&mut self.opened.connection.link(), self.adoption, rows).await
    }

    /// Takes tokens over in one transaction; returns what became of them, and for how long others had to wait.
    pub(crate) async fn take_over(&mut self, rows: TakeOver<'_>) -> Result<(Taken, Duration), Error> {
        let mut batch = Batch::begin(&mut self.opened, self.clock.moment(), self.settings, None).await?;
        let began = Instant::now();
        let taken = batch.take_over(rows.found).await?;
        batch.mark(self.adoption, rows.marks).await?;
        batch.move_head().await?;
        batch.commit().await?;
        Ok((taken, began.elapsed()))
    }

    /// Notes that everything is revoked that is blocked in the application's table.
    pub(crate) async fn finish(&mut self) -> Result<(), Error> {
        let mut batch = Batch::begin(&mut self.opened, self.clock.moment(), self.settings, None).await?;
        batch.finish_adoption(self.adoption).await?;
        batch.move_head().await?;
        batch.commit().await
    }

    /// Ends the connection.
    pub(crate) async fn close(self) -> Result<(), Error> {
        self.opened.connection.close().await
    }
}

/// Curfew's database, as a dry run sees it. It may be empty, absent, or of an older version.
pub(crate) struct AdoptionReader {
    /// None for a file that is not there.
    connection: Option<Connection>,
    has_tokens: bool,
    /// The number of the adoption, if one has begun.
    adoption: Option<i64>,
    kept: Kept,
}

impl AdoptionReader {
    /// Looks at the database, and changes nothing.
    pub(crate) async fn open(database: &Database, settings: &Settings, source: &str) -> Result<Self, OpenFailure> {
        let kept = Kept::asked(settings.retention);
        if database.file().is_some_and(|file| !file.exists()) {
            return Ok(Self { connection: None, has_tokens: false, adoption: None, kept });
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
        Ok(Self { connection: Some(connection), has_tokens, adoption, kept })
    }

    /// How many seconds after its end a token is surely dead.
    pub(crate) const fn token_rest(&self) -> i64 {
        self.kept.token_rest
    }

    /// The time by the clock that is furthest behind.
    pub(crate) async fn surely_past(&mut self, clock: &Clock) -> Result<i64, Error> {
        let moment = clock.moment();
        match &mut self.connection {
            Some(connection) => sql::surely_past(&mut connection.link(), moment).await,
            None => Ok(moment.steady.map_or(moment.now, |steady| steady.min(moment.now))),
        }
    }

    /// What was noted of the application's rows with these ids.
    pub(crate) async fn marks(&mut self, rows: &[i64]) -> Result<HashMap<i64, Mark>, Error> {
        match (&mut self.connection, self.adoption) {
            (Some(connection), Some(adoption)) => sql::marks(&mut connection.link(), adoption, rows).await,
            _ => Ok(HashMap::new()),
        }
    }

    /// What Curfew's table says of those among the tokens that it has.
    pub(crate) async fn states(&mut self, tokens: &[RevocationKey]) -> Result<HashMap<RevocationKey, State>, Error> {
        match &mut self.connection {
            Some(connection) if self.has_tokens => sql::states(&mut connection.link(), tokens).await,
            _ => Ok(HashMap::new()),
        }
    }

    /// Ends the connection.
    pub(crate) async fn close(self) -> Result<(), Error> {
        match self.connection {
            Some(connection) => connection.close().await,
            None => Ok(()),
        }
    }
}
