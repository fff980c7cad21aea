//! Brings the schema up to date with the embedded migrations.

use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::connection::Connection;
use super::migrations::{MYSQL, POSTGRES, SQLITE};
use super::tables::{Layout, Tables, layout};
use super::value::values;

/// A migration that has just been applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub version: i64,
    /// What it is for.
    pub description: String,
}

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateFailure {
    /// A newer version of Curfew has migrated this database.
    #[error("the schema has migration {found}, this binary knows {known} and older: use the newer binary")]
    SchemaNewer {
        /// The newest migration in the database.
        found: i64,
        /// The newest migration in the binary.
        known: i64,
    },
    /// There is a table of another application where Curfew's own belongs.
    #[error(
        "its table user_token_logs is another application's: `curfew migrate --adopt` tells what it would take to bring it \
         into use, and with --apply does it"
    )]
    NotAdopted,
    /// Such a table is being brought into use, and what was blocked there may not be revoked yet.
    #[error("the adoption of its table user_token_logs has not ended: run `curfew migrate --adopt --apply` again")]
    AdoptionUnfinished,
    /// A statement failed, or an applied migration is not the one this binary carries.
    #[error(transparent)]
    Failed(#[from] MigrateError),
}

/// Applies what is missing and returns it, oldest first. Where nothing is missing nothing is written, so that an account
/// that may not change the schema can start.
pub(crate) async fn migrate(connection: &mut Connection) -> Result<(Tables, Vec<Applied>), MigrateFailure> {
    let tables = match layout(&mut connection.link()).await.map_err(MigrateError::from)? {
        Layout::Own => Tables::Own,
        Layout::Foreign => return Err(MigrateFailure::NotAdopted),
        Layout::Unfinished => return Err(MigrateFailure::AdoptionUnfinished),
        Layout::Adopted => Tables::Beside,
    };
    Ok((tables, apply(connection, tables).await?))
}

/// The same, whoever else has a table there.
pub(crate) async fn apply(connection: &mut Connection, tables: Tables) -> Result<Vec<Applied>, MigrateFailure> {
    let migrations = &named(connection.choose(&SQLITE, &POSTGRES, &MYSQL), tables);
    wait_for_others(connection).await?;
    let before = applied(migrations, connection).await?;
    let known = migrations.iter().map(|migration| migration.version).max();
    if let (Some(found), Some(known)) = (before.iter().map(|applied| applied.version).max(), known)
        && found > known
    {
        return Err(MigrateFailure::SchemaNewer { found, known });
    }
    if !is_complete(migrations, &before) {
        match connection {
            Connection::Sqlite(connection) => migrations.run(connection).await?,
            Connection::Postgres(connection) => migrations.run(connection).await?,
            Connection::MySql(connection) => migrations.run(connection).await?,
        }
    }
    let missing =
        migrations.iter().filter(|migration| !before.iter().any(|applied| applied.version == migration.version));
    Ok(missing
        .map(|migration| Applied { version: migration.version, description: migration.description.to_string() })
        .collect())
}

/// The migrations with the names that the tables have here. Their checksums stay those of the files.
fn named(migrations: &Migrator, tables: Tables) -> Migrator {
    let named = migrations.iter().map(|migration| Migration {
        sql: AssertSqlSafe(tables.name_in(migration.sql.as_str())).into_sql_str(),
        ..migration.clone()
    });
    Migrator::with_migrations(named.collect())
}

/// sqlx keeps others out by a lock that MariaDB does not grant for as long as sqlx asks, and it does not look at the answer.
/// This one ends with the connection.
async fn wait_for_others(connection: &mut Connection) -> Result<(), MigrateError> {
    const LOCK: &str = "SELECT GET_LOCK(MD5(CONCAT('curfew migrates ', DATABASE())), 30) AS granted";
    let Connection::MySql(_) = connection else { return Ok(()) };
    match connection.link().fetch_one(LOCK, values![]).await?.optional_integer("granted")? {
        Some(1) => Ok(()),
        _ => Err(sqlx::Error::Configuration("somebody else has been migrating it for too long".into()).into()),
    }
}

/// What has been applied, as far as that is finished.
async fn applied(migrations: &Migrator, connection: &mut Connection) -> Result<Vec<AppliedMigration>, MigrateError> {
    let table = migrations.table_name.as_ref();
    let connection: &mut (dyn Migrate + Send) = match connection {
        Connection::Sqlite(connection) => connection,
        Connection::Postgres(connection) => connection,
        Connection::MySql(connection) => connection,
    };
    // A table that is not there has no rows; whatever else is wrong shows again when the migrations run.
    let mut applied = connection.list_applied_migrations(table).await.unwrap_or_default();
    if !applied.is_empty()
        && let Some(unfinished) = connection.dirty_version(table).await?
    {
        applied.retain(|applied| applied.version != unfinished);
    }
    Ok(applied)
}

/// Whether each migration is there as this binary has it.
fn is_complete(migrations: &Migrator, applied: &[AppliedMigration]) -> bool {
    let as_applied = |version, checksum: &[u8]| {
        applied.iter().any(|applied| applied.version == version && &*applied.checksum == checksum)
    };
    migrations.iter().all(|migration| as_applied(migration.version, &migration.checksum))
}

/// Whether a failure is that of a process which migrates what another one is just migrating: it waits for a lock in
/// vain, or finds made what it wanted to make. A statement that can never work looks the same for a while.
pub(crate) fn is_done_by_another(failure: &MigrateFailure) -> bool {
    use MigrateError::{Execute, ExecuteMigration};
    matches!(failure, MigrateFailure::Failed(Execute(_) | ExecuteMigration(..)))
}
