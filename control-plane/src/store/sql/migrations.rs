//! The files of `migrations/`, embedded in the binary: one list for each kind of database, with the same names.
//!
//! They are not embedded by `sqlx::migrate!`: for that macro, cargo would compile sqlx and all its drivers a second
//! time, for the compiler.

use std::sync::LazyLock;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

pub(super) static SQLITE: LazyLock<Migrator> = LazyLock::new(|| migrator(FILES.map(|file| (file.name, file.sqlite))));
pub(super) static POSTGRES: LazyLock<Migrator> =
    LazyLock::new(|| migrator(FILES.map(|file| (file.name, file.postgres))));
pub(super) static MYSQL: LazyLock<Migrator> = LazyLock::new(|| migrator(FILES.map(|file| (file.name, file.mysql))));

/// A migration with its text for each kind of database.
struct File {
    /// The number, and what the migration is for.
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
    mysql: &'static str,
}

macro_rules! file {
    ($name:literal) => {
        File {
            name: $name,
            sqlite: include_str!(concat!("../../../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../../../migrations/postgres/", $name, ".sql")),
            mysql: include_str!(concat!("../../../../migrations/mysql/", $name, ".sql")),
        }
    };
}

/// All migrations, oldest first. A new one is a file for each kind of database, and a line here.
const FILES: [File; 10] = [
    file!("0001_logout_state"),
    file!("0002_history_and_keyspaces"),
    file!("0003_retention_kept"),
    file!("0004_control_planes"),
    file!("0005_adoptions"),
    file!("0006_clock_mark"),
    file!("0007_accepted_rows"),
    file!("0008_key_sets"),
    file!("0009_asked_sources"),
    file!("0010_sessions"),
];

/// Names the migrations as sqlx does, so that databases recognise the ones that are applied. Their checksums are those
/// of the files.
fn migrator<const N: usize>(files: [(&'static str, &'static str); N]) -> Migrator {
    let migrations = files.map(|(name, sql)| {
        let (number, description) = name.split_once('_').unwrap_or((name, ""));
        let version = number.parse().unwrap_or_default();
        Migration::new(version, description.replace('_', " ").into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// sqlx reads the directories by itself here, as `sqlx::migrate!` did for the databases that are in use.
    #[tokio::test]
    async fn the_lists_are_those_that_sqlx_reads_from_the_directories() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
        for (database, embedded) in [("sqlite", &SQLITE), ("postgres", &POSTGRES), ("mysql", &MYSQL)] {
            let read = Migrator::new(root.join(database)).await.unwrap();
            let facts = |migration: &Migration| {
                let Migration { version, description, migration_type, checksum, no_tx, .. } = migration.clone();
                (version, description, migration_type, checksum, no_tx)
            };
            let (embedded, read): (Vec<_>, Vec<_>) =
                (embedded.iter().map(facts).collect(), read.iter().map(facts).collect());
            assert_eq!(embedded, read, "{database}");
        }
    }
}
