//! Which database.

use std::path::Path;

use clap::Args;
use curfew_core::Mistakes;

use super::generated::make_directory;
use crate::store::Database;

const NAME: &str = "DATABASE_URL";

/// Which database to use.
#[derive(Args)]
#[command(next_help_heading = "Data")]
pub struct DatabaseArgs {
    /// The database: sqlite://PATH, postgres://... or mysql://... [default: curfew.db in the data directory]
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(super) database_url: Option<String>,
}

impl DatabaseArgs {
    /// The database; its data directory is made where it is the default.
    pub(super) fn resolve(&self, data_dir: &Path, mistakes: &mut Mistakes) -> Option<Database> {
        match &self.database_url {
            Some(url) => Database::from_url(url).map_err(|problem| mistakes.add(NAME, problem)).ok(),
            None => make_directory(data_dir)
                .map(|()| Database::in_file(&data_dir.join("curfew.db")))
                .map_err(|problem| mistakes.add("CURFEW_DATA_DIR", problem))
                .ok(),
        }
    }
}

impl std::fmt::Debug for DatabaseArgs {
    /// The URL may hold a password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DatabaseArgs").finish_non_exhaustive()
    }
}
