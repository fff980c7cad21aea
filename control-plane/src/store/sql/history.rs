//! The head of the log together with the database's identity, read in one statement.
//!
//! What can be asked depends on the kind of the database and on the account's rights. It is found out once for each
//! connection, outside a transaction: in PostgreSQL, a statement that fails would end the transaction. Whether the
//! database is believed is decided elsewhere ([`crate::store::trust`]).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use sqlx::Error;

use super::driver::{Link, Row, values};
use super::log_rows::head;
use super::mysql_server::{mysql_server, noted_run};
use crate::log::Epoch;
use crate::store::database::{Database, Options};
use crate::store::identity::{Identity, RUN};
use crate::store::trust::{History, Trust};

/// What can be asked about the place where a history is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HistoryProbe {
    /// The file's metadata, not the database in the file.
    File(PathBuf),
    /// Server, timeline, table and run.
    Postgres,
    /// Table and run: the account may not see more, or the service does not show more.
    PostgresTable,
    /// Server, table and run.
    MySql,
}

/// Two statements: one reads the head, the other locks it as well.
macro_rules! head {
    ($place:expr, $read_run:expr, $locked_run:expr) => {
        [
            concat!("SELECT epoch, seq, identity, ", $place, ", ", $read_run, " FROM feed_head"),
            concat!("SELECT epoch, seq, identity, ", $place, ", ", $locked_run, " FROM feed_head FOR UPDATE"),
        ]
    };
}

/// The run of a PostgreSQL server: when it started, in microseconds of Unix time.
macro_rules! postgres_run {
    () => {
        "CAST(CAST(extract(epoch FROM pg_postmaster_start_time()) * 1000000 AS bigint) AS text) AS run"
    };
}
pub(in crate::store::sql) use postgres_run;

/// True if the account has no right to the functions, or the service does not have them. Any other error says nothing
/// about what may be asked, and a probe that asks less than it could would miss a failover.
fn is_not_allowed(error: &Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["42501", "42883", "0A000"].contains(&code.as_ref()))
}

impl HistoryProbe {
    /// Finds out what can be asked, and asks it. This must be outside a transaction.
    pub(crate) async fn find(database: &Database, link: &mut Link<'_>) -> Result<(Self, History), Error> {
        let all = match &database.0 {
            Options::Sqlite(options) => Self::File(options.get_filename().to_owned()),
            Options::Postgres(_) => Self::Postgres,
            Options::MySql(_) => Self::MySql,
        };
        match all.history(link, false).await {
            // By default every account may ask for all of it. Services that separate their storage have taken this
            // right away.
            Err(error) if all == Self::Postgres && is_not_allowed(&error) => {
                let history = Self::PostgresTable.history(link, false).await?;
                Ok((Self::PostgresTable, history))
            }
            found => Ok((all, found?)),
        }
    }

    /// The statement that reads the head, and the one that locks it as well.
    const fn statements(&self) -> [&'static str; 2] {
        match self {
            Self::File(_) => {
                let read = "SELECT epoch, seq, identity, 0 AS follows FROM feed_head";
                // In SQLite the transaction began with the lock.
                [read, read]
            }
            Self::Postgres => head!(
                "CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END AS follows, tableoid::text AS made, \
                 (SELECT system_identifier::text FROM pg_control_system()) AS server, \
                 CASE WHEN pg_is_in_recovery() THEN NULL \
                 ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS timeline",
                postgres_run!(),
                postgres_run!()
            ),
            Self::PostgresTable => head!(
                "CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END AS follows, tableoid::text AS made, \
                 NULL::text AS server, NULL::text AS timeline",
                postgres_run!(),
                postgres_run!()
            ),
            Self::MySql => head!(
                concat!(
                    mysql_server!(),
                    ", NULL AS timeline, (SELECT CAST(create_time AS CHAR) FROM information_schema.tables \
                     WHERE table_schema = DATABASE() AND table_name = 'feed_head') AS made"
                ),
                noted_run!(),
                noted_run!()
            ),
        }
    }

    /// Reads the head. If `lock` is true, locks it until the end of the transaction.
    pub(crate) async fn history(&self, link: &mut Link<'_>, lock: bool) -> Result<History, Error> {
        let [read, locked] = self.statements();
        let row = if lock { link.fetch_one(locked, values![]).await? } else { link.fetch_once(read).await? };
        let file = match self {
            Self::File(path) => Some(of_file(path)?),
            _ => None,
        };
        history(&row, file)
    }
}

/// The history in a row of a trusted statement. For a file the row has no identity, and `file` takes its place.
pub(super) fn history(row: &Row, file: Option<Identity>) -> Result<History, Error> {
    let seen = match file {
        Some(file) => file,
        None => Identity::seen([
            ("server", row.optional_text("server")?),
            ("timeline", row.optional_text("timeline")?),
            ("table", row.optional_text("made")?),
            (RUN, row.optional_text("run")?),
        ]),
    };
    let (follows, known) = (row.integer("follows")? != 0, Identity::parse(&row.text("identity")?));
    Ok(History { head: head(row)?, follows, known, seen })
}

/// The identity of a file. An inode's number alone is not enough: it is reused for another file as soon as the file is
/// gone. The run is that of the machine's kernel. What a process has written there stays when the process dies.
pub(super) fn of_file(path: &Path) -> Result<Identity, Error> {
    let metadata = std::fs::metadata(path)?;
    let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(Identity::seen([
        ("inode", Some(metadata.ino().to_string())),
        ("born", born.map(|time| time.as_nanos().to_string())),
        (RUN, run_of_the_kernel()),
    ]))
}

/// A name that the kernel gives itself at each start. Containers see that of their host. `None` on a system without
/// one.
fn run_of_the_kernel() -> Option<String> {
    static RUN: LazyLock<Option<String>> = LazyLock::new(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(name.trim().to_owned()).filter(|name| !name.is_empty())
    });
    RUN.clone()
}

/// Gives the history a new name. The caller has locked its head.
///
/// A restored copy may lack the rows of control planes that have granted leases from the old history. So a row is added
/// that belongs to no control plane, confirms nothing and never changes. Logouts of the new history wait for this row
/// as for a control plane that has died, until the leases of the old history are over. The first control plane that
/// sees this removes the row.
pub(super) async fn rename(link: &mut Link<'_>, identity: &Identity) -> Result<Epoch, Error> {
    let (epoch, dead) = (random()?, random()?);
    // The place of a change of keys in a log that went back would be a promise that the log cannot keep.
    const RENAME: &str = "UPDATE feed_head SET epoch = $1, identity = $2, \
        keys_seq = CASE WHEN keys_seq > seq THEN seq ELSE keys_seq END";
    link.execute(RENAME, values![&epoch, identity.to_string().as_str()]).await?;
    link.execute("INSERT INTO replicas (id, beat) VALUES ($1, 0)", values![&dead]).await?;
    Ok(Epoch::from_bytes(epoch))
}

/// Refuses to read a history that the writer has not taken over yet: its seqs could be confused with those of another
/// history, and its latest revocations may be missing.
pub(super) async fn refuse_unknown(database: &Database, trust: &Trust, mut link: Link<'_>) -> Result<(), Error> {
    let seen = trust.seen();
    let (_, history) = HistoryProbe::find(database, &mut link).await?;
    history.judge(&seen).map_err(|distrust| {
        trust.fence(distrust);
        distrust.into()
    })
}

pub(super) fn random() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Io(std::io::Error::other(error)))?;
    Ok(bytes)
}

/// Stores the identity that was seen of the place of this history. The caller has locked its head.
pub(super) async fn remember(link: &mut Link<'_>, identity: &Identity) -> Result<(), Error> {
    link.execute("UPDATE feed_head SET identity = $1", values![identity.to_string().as_str()]).await.map(drop)
}
