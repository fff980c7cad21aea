//! Brings the schema up to date with the embedded migrations.

use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migrator};

use super::driver::{Connection, values};
use super::migrations::{MYSQL, POSTGRES, SQLITE};
use super::schema::has_foreign_tokens;

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
    /// Another application's table has the name of Curfew's own.
    #[error(
        "its table user_token_logs is another application's: give Curfew a database of its own, and run `curfew adopt --from` \
         with the URL of this one to take over what is blocked there"
    )]
    ForeignTable,
    /// A statement failed, or an applied migration is not the one this binary carries.
    #[error(transparent)]
    Failed(#[from] MigrateError),
}

/// Applies the migrations that are missing and returns them, oldest first. If none is missing, nothing is written, so
/// that an account that may not change the schema can start.
pub(crate) async fn migrate(connection: &mut Connection) -> Result<Vec<Applied>, MigrateFailure> {
    if has_foreign_tokens(&mut connection.link()).await.map_err(MigrateError::from)? {
        return Err(MigrateFailure::ForeignTable);
    }
    let migrations = connection.choose(&SQLITE, &POSTGRES, &MYSQL);
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

/// Takes Curfew's own lock, which ends with the connection. sqlx asks for its lock with a longer time than MariaDB
/// allows, and does not look at the answer.
async fn wait_for_others(connection: &mut Connection) -> Result<(), MigrateError> {
    const LOCK: &str = "SELECT GET_LOCK(MD5(CONCAT('curfew migrates ', DATABASE())), 30) AS granted";
    let Connection::MySql(_) = connection else { return Ok(()) };
    match connection.link().fetch_one(LOCK, values![]).await?.optional_integer("granted")? {
        Some(1) => Ok(()),
        _ => Err(sqlx::Error::Configuration("another process has been migrating it for too long".into()).into()),
    }
}

/// The migrations that have been applied completely.
async fn applied(migrations: &Migrator, connection: &mut Connection) -> Result<Vec<AppliedMigration>, MigrateError> {
    let table = migrations.table_name.as_ref();
    let connection: &mut (dyn Migrate + Send) = match connection {
        Connection::Sqlite(connection) => connection,
        Connection::Postgres(connection) => connection,
        Connection::MySql(connection) => connection,
    };
    // A missing table has no rows. Any other error shows again when the migrations run.
    let mut applied = connection.list_applied_migrations(table).await.unwrap_or_default();
    if !applied.is_empty()
        && let Some(unfinished) = connection.dirty_version(table).await?
    {
        applied.retain(|applied| applied.version != unfinished);
    }
    Ok(applied)
}

/// True if each migration was applied in the form that this binary has.
fn is_complete(migrations: &Migrator, applied: &[AppliedMigration]) -> bool {
    let as_applied = |version, checksum: &[u8]| {
        applied.iter().any(|applied| applied.version == version && &*applied.checksum == checksum)
    };
    migrations.iter().all(|migration| as_applied(migration.version, &migration.checksum))
}

/// True if the failure may come from another process that migrates at the same time: a lock was not granted in time, or
/// a table exists already. A statement that can never work looks the same for a while.
pub(crate) fn is_done_by_another(failure: &MigrateFailure) -> bool {
    use MigrateError::{Execute, ExecuteMigration};
    matches!(failure, MigrateFailure::Failed(Execute(_) | ExecuteMigration(..)))
}
