//! The schema's migrations, embedded in the binary.

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::sqlite::SqliteConnection;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

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
    /// A statement failed, or an applied migration is not the one this binary carries.
    #[error(transparent)]
    Failed(#[from] MigrateError),
}

/// Applies what is missing and returns it, oldest first.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<Vec<Applied>, MigrateFailure> {
    let before = applied_versions(connection).await?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max();
    if let (Some(&found), Some(known)) = (before.iter().max(), known)
        && found > known
    {
        return Err(MigrateFailure::SchemaNewer { found, known });
    }
    MIGRATIONS.run(&mut *connection).await?;
    let applied = MIGRATIONS
        .iter()
        .filter(|migration| !before.contains(&migration.version))
        .map(|migration| Applied { version: migration.version, description: migration.description.to_string() });
    Ok(applied.collect())
}

/// Whether a failure is that of a process which migrates what another one is just migrating: it waits for a lock in
/// vain, or finds made what it wanted to make. A statement that can never work looks the same for a while.
pub(crate) fn is_done_by_another(failure: &MigrateFailure) -> bool {
    use MigrateError::{Execute, ExecuteMigration};
    matches!(failure, MigrateFailure::Failed(Execute(_) | ExecuteMigration(..)))
}

async fn applied_versions(connection: &mut SqliteConnection) -> Result<Vec<i64>, MigrateError> {
    let table = MIGRATIONS.table_name.as_ref();
    connection.ensure_migrations_table(table).await?;
    let applied = connection.list_applied_migrations(table).await?;
    Ok(applied.iter().map(|migration| migration.version).collect())
}
