//! The preparation of a database before it is used: its schema, and entries that were made under other settings.

use std::fmt;
use std::time::{Duration, Instant};

use curfew_core::{KeyRule, Kind};

use super::keyspaces::UsedRule;
use super::sql::{self, Batch, Kept, Opened};
use super::trust::Seen;
use super::{Applied, Database, MigrateFailure, Settings};
use crate::clock::Moment;
use crate::log::retention::Retention;
use crate::log::{Epoch, LogPosition};

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailure {
    /// The server cannot be reached, the file cannot be opened or created, or a right is missing.
    #[error("the database cannot be opened: {}", sql::explained(.0))]
    Database(#[from] sqlx::Error),
    /// The schema cannot be brought up to date.
    #[error("{}", explained(.0))]
    Schema(#[from] MigrateFailure),
    /// There is no log in it.
    #[error("it is not a database of Curfew: it has no table feed_head")]
    NoLog,
    /// Tokens that are blocked in another application's table may not be revoked yet.
    #[error(
        "the adoption from {0} has not ended, and tokens that are blocked there may not be revoked yet: run \
         `curfew adopt --apply` again"
    )]
    AdoptionUnfinished(String),
}

fn explained(failure: &MigrateFailure) -> String {
    use sqlx::migrate::MigrateError::{Dirty, Execute, ExecuteMigration};
    match failure {
        MigrateFailure::Failed(Execute(error)) => format!("the schema cannot be made: {}", sql::explained(error)),
        MigrateFailure::Failed(ExecuteMigration(error, version)) => {
            format!("migration {version:04} cannot be applied: {}", sql::explained(error))
        }
        MigrateFailure::Failed(Dirty(version)) => format!(
            "migration {version:04} was interrupted, and MySQL does not take half of one back: restore the database from \
             before, or drop its tables if it is new, and start again"
        ),
        other => other.to_string(),
    }
}

impl OpenFailure {
    /// True if the reason may be that another process starts on the same database.
    fn may_pass(&self) -> bool {
        match self {
            Self::Database(error) => sql::is_locked(error),
            Self::Schema(failure) => sql::is_done_by_another(failure),
            Self::NoLog | Self::AdoptionUnfinished(_) => false,
        }
    }
}

/// How long a start waits for another one that migrates the same database.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Creates an embedded database if none exists, and brings the schema up to date; returns the applied migrations.
///
/// # Errors
///
/// See [`OpenFailure`].
pub async fn migrate(database: &Database) -> Result<Vec<Applied>, OpenFailure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match migrate_once(database).await {
            Err(failure) if failure.may_pass() && Instant::now() < until => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
}

async fn migrate_once(database: &Database) -> Result<Vec<Applied>, OpenFailure> {
    let mut connection = sql::create(database).await?;
    let applied = sql::migrate(&mut connection).await?;
    connection.close().await?;
    Ok(applied)
}

/// A rule whose logouts of all devices, or of sessions, the present settings do not reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphaned(UsedRule);

impl fmt::Display for Orphaned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UsedRule { rule, live_until } = &self.0;
        let issuer = if rule.issuer.is_empty() { "no name" } else { &rule.issuer };
        let KeyRule { claim, issued_at_claim, .. } = rule;
        write!(formatter, "issuer {issuer:?}, ")?;
        match rule.kind {
            Kind::Session => write!(formatter, "CURFEW_SESSION_CLAIM={claim}")?,
            _ => write!(formatter, "CURFEW_USER_CLAIM={claim}, CURFEW_ISSUED_AT_CLAIM={issued_at_claim}")?,
        }
        write!(formatter, ", in force until {live_until}")
    }
}

/// What the preparation found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prepared {
    /// The number of revocations that are now kept for longer.
    pub prolonged: u64,
    /// The rules whose logouts the present settings do not reach.
    pub orphaned: Vec<Orphaned>,
    /// Warnings about the server for the operator.
    pub warnings: Vec<String>,
}

/// Prepares a migrated database for these settings. It checks that the database may be written, and takes over its
/// history. If `max_token_ttl` or `clock_skew` has become longer, it prolongs revocations: tokens are accepted now that
/// would outlive the earlier entries. It looks for logouts that the present settings do not reach, and forgets them if
/// `accept_new_keyspace`. Logouts count as in force if they are at `now`, which must not be ahead of true time.
///
/// # Errors
///
/// See [`OpenFailure`].
pub async fn prepare(
    database: &Database,
    settings: &Settings,
    now: i64,
    accept_new_keyspace: bool,
) -> Result<Prepared, OpenFailure> {
    let mut opened = Opened::at_start(database).await?;
    let mut warnings = sql::server_warnings(&mut opened).await?;
    let moment = Moment::believed(now);
    let mut batch = Batch::begin(&mut opened, moment, settings, None).await?;
    batch.try_rights().await?;
    let kept = batch.stored_kept().await?;
    let is_kept = kept.covers(Kept::asked(settings.retention));
    batch.commit().await?;
    warnings.extend(unfinished_adoptions(&mut opened, kept).await?);
    let (prolonged, subjects_until) = if is_kept { (0, None) } else { prolong(&mut opened, settings, moment).await? };
    let mut batch = Batch::begin(&mut opened, moment, settings, None).await?;
    batch.store_kept(subjects_until).await?;
    let orphaned = batch.orphaned_keyspaces().await?;
    if accept_new_keyspace {
        for used in &orphaned {
            batch.forget_keyspace(&used.rule).await?;
        }
    }
    batch.move_head().await?;
    batch.commit().await?;
    opened.connection.close().await?;
    Ok(Prepared { prolonged, orphaned: orphaned.into_iter().map(Orphaned).collect(), warnings })
}

/// Refuses the first start on a database into which an adoption has begun and has not ended. Later starts only warn:
/// other control planes keep running on the database, and a restart in the middle of a long adoption must not end in an
/// outage.
async fn unfinished_adoptions(opened: &mut Opened, kept: Kept) -> Result<Vec<String>, OpenFailure> {
    let unfinished = sql::unfinished_adoptions(&mut opened.connection.link()).await?;
    let failures = unfinished.into_iter().map(OpenFailure::AdoptionUnfinished);
    if kept == Kept::NOTHING {
        return failures.map(Err).next().unwrap_or(Ok(Vec::new()));
    }
    Ok(failures.map(|failure| failure.to_string()).collect())
}

/// Goes through all revocations in portions; returns how many are kept for longer now, and when the last subject entry
/// expires.
async fn prolong(opened: &mut Opened, settings: &Settings, moment: Moment) -> Result<(u64, Option<i64>), OpenFailure> {
    let (mut after, mut prolonged, mut subjects_until) = (0, 0_u64, None);
    loop {
        let mut batch = Batch::begin(opened, moment, settings, None).await?;
        let portion = batch.prolong(after).await?;
        batch.commit().await?;
        let Some(portion) = portion else { return Ok((prolonged, subjects_until)) };
        after = portion.last;
        prolonged = prolonged.saturating_add(portion.prolonged);
        subjects_until = subjects_until.max(portion.subjects_until);
    }
}

/// The head of the log, for a start after [`prepare`].
///
/// # Errors
///
/// See [`OpenFailure`].
pub async fn head(database: &Database) -> Result<LogPosition, OpenFailure> {
    // The pool is not used, because its connections have to be made within the time of a read.
    let mut opened = Opened::at_start(database).await?;
    let history = opened.probe.history(&mut opened.connection.link(), false).await?;
    history.judge(&Seen::default()).map_err(sqlx::Error::from)?;
    opened.connection.close().await?;
    Ok(history.head)
}

/// Refuses a database without a log. Nothing is changed in it: the connection that writes would change how a file is kept.
pub(super) async fn refuse_without_log(database: &Database) -> Result<(), OpenFailure> {
    let mut connection = sql::look(database).await?;
    let has_log = sql::has_table(&mut connection.link(), "feed_head").await?;
    connection.close().await?;
    if has_log { Ok(()) } else { Err(OpenFailure::NoLog) }
}

/// Gives the history another name, for a restore that leaves no trace in the database; returns the old name and the new
/// one.
///
/// # Errors
///
/// See [`OpenFailure`].
pub async fn bump_epoch(database: &Database) -> Result<(Epoch, Epoch), OpenFailure> {
    let settings = Settings { retention: Retention { clock_skew: 0, max_token_ttl: 0, audit: 0 }, rules: vec![] };
    refuse_without_log(database).await?;
    let mut opened = Opened::at_start(database).await?;
    let mut batch = Batch::begin(&mut opened, Moment::believed(0), &settings, None).await?;
    let old = batch.bump_epoch().await?;
    let new = batch.move_head().await?.epoch;
    batch.commit().await?;
    opened.connection.close().await?;
    Ok((old, new))
}
