//! Curfew's database, and the database from which `curfew adopt` takes tokens over.

use std::path::{Path, PathBuf};

use clap::Args;
use curfew_core::Mistakes;

use super::environment::{Environment, read};
use super::frameworks::database_hint;
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
    /// The database. Makes the data directory if the database lies in it.
    pub(super) fn resolve(&self, data_dir: &Path, mistakes: &mut Mistakes) -> Option<Database> {
        self.make_directory(data_dir, mistakes);
        self.named(data_dir, mistakes)
    }

    /// Makes the data directory if the database lies in it.
    pub(super) fn make_directory(&self, data_dir: &Path, mistakes: &mut Mistakes) {
        if self.database_url.is_none()
            && let Err(problem) = make_directory(data_dir)
        {
            mistakes.add("CURFEW_DATA_DIR", problem);
        }
    }

    /// A hint, if the environment names a database for another program only.
    pub(super) fn hint(&self, environment: &Environment) -> Option<String> {
        if self.database_url.is_some() { None } else { database_hint(environment) }
    }

    /// The database, if there is one. Makes no file: nothing serves a new one, and a revocation in it is in force nowhere.
    pub(super) fn existing(&self, data_dir: &Path, mistakes: &mut Mistakes) -> Option<Database> {
        let database = self.named(data_dir, mistakes)?;
        let Some(missing) = database.file().filter(|file| !file.exists()).map(|file| file.display().to_string()) else {
            return Some(database);
        };
        let named = match self.database_url {
            Some(_) => format!("names {missing}, and there is no such file"),
            None => format!("is not set, and there is no {missing}"),
        };
        mistakes.add(NAME, format!("{named}: name the database of `curfew serve`, or make it with `curfew migrate`"));
        None
    }

    /// The database. Makes nothing for it.
    pub(super) fn named(&self, data_dir: &Path, mistakes: &mut Mistakes) -> Option<Database> {
        match &self.database_url {
            Some(url) => Database::from_url(url).map_err(|problem| mistakes.add(NAME, problem)).ok(),
            None => Some(Database::in_file(&data_dir.join("curfew.db"))),
        }
    }
}

impl std::fmt::Debug for DatabaseArgs {
    /// The URL may hold a password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DatabaseArgs").finish_non_exhaustive()
    }
}

const FROM: &str = "CURFEW_ADOPT_FROM";
const FROM_FILE: &str = "CURFEW_ADOPT_FROM_FILE";

/// The application's database. Its URL may hold a password, so it can also come from the environment or from a file.
#[derive(Args)]
#[command(next_help_heading = "Data")]
pub(super) struct AdoptFromArgs {
    /// The application's database: sqlite://PATH, postgres://... or mysql://... Arguments show in the list of
    /// processes: put a URL with a password into the file of --from-file
    #[arg(long, env = "CURFEW_ADOPT_FROM", value_name = "URL", hide_env_values = true)]
    from: Option<String>,
    /// File with the URL of the application's database
    #[arg(long, env = "CURFEW_ADOPT_FROM_FILE", value_name = "FILE", hide_env_values = true)]
    from_file: Option<PathBuf>,
}

impl AdoptFromArgs {
    /// The database.
    pub(super) fn resolve(&self, mistakes: &mut Mistakes) -> Option<Database> {
        let url = match (&self.from, &self.from_file) {
            (Some(url), None) => url.clone(),
            (None, Some(path)) => read(FROM_FILE, path, mistakes)?.trim_end_matches(['\r', '\n']).to_owned(),
            (Some(_), Some(_)) => {
                mistakes.add(FROM, format!("is set, and so is {FROM_FILE}: set one of them"));
                return None;
            }
            (None, None) => {
                mistakes.add(FROM, "must name the application's database, as --from or --from-file do");
                return None;
            }
        };
        Database::from_url(&url).map_err(|problem| mistakes.add(FROM, problem)).ok()
    }
}

impl std::fmt::Debug for AdoptFromArgs {
    /// The URL may hold a password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AdoptFromArgs").finish_non_exhaustive()
    }
}
