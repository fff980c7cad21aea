//! Which database.

use std::path::Path;
use std::str::FromStr;

use clap::Args;
use curfew_core::Mistakes;
use sqlx::sqlite::SqliteConnectOptions;

use super::generated::make_directory;

const NAME: &str = "DATABASE_URL";

/// Which database to use.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub struct DatabaseArgs {
    /// The database, sqlite://PATH [default: curfew.db in the data directory]
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(super) database_url: Option<String>,
}

impl DatabaseArgs {
    /// The database; its data directory is made where it is the default.
    pub(super) fn resolve(&self, data_dir: &Path, mistakes: &mut Mistakes) -> Option<SqliteConnectOptions> {
        let Some(url) = &self.database_url else {
            return make_directory(data_dir)
                .map(|()| SqliteConnectOptions::new().filename(data_dir.join("curfew.db")))
                .map_err(|problem| mistakes.add("CURFEW_DATA_DIR", problem))
                .ok();
        };
        // The URL may hold a password, so no message quotes it.
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => {}
            Some("postgres" | "postgresql" | "mysql" | "mariadb") => {
                mistakes.add(NAME, "this version stores in SQLite only: sqlite://PATH");
                return None;
            }
            _ => {
                mistakes.add(NAME, "must be sqlite://PATH");
                return None;
            }
        }
        if url.contains(":memory:") || url.contains("mode=memory") || url.trim_end_matches('/').ends_with(':') {
            mistakes.add(NAME, "names no file: a database in memory would forget every logout at the next start");
            return None;
        }
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        if !["", "mode=rw", "mode=rwc"].contains(&parameters) {
            // The others switch off what a logout relies on: locks, durability, writing at all.
            mistakes.add(NAME, "takes no parameters but mode=rw or mode=rwc");
            return None;
        }
        SqliteConnectOptions::from_str(url).map_err(|_| mistakes.add(NAME, "must be sqlite://PATH")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(url: &str) -> Result<std::path::PathBuf, String> {
        let mut mistakes = Mistakes::default();
        let args = DatabaseArgs { database_url: Some(url.to_owned()) };
        match args.resolve(Path::new("unused"), &mut mistakes) {
            Some(options) => Ok(options.get_filename().to_owned()),
            None => Err(mistakes.to_string()),
        }
    }

    #[test]
    fn a_file_is_taken() {
        assert_eq!(resolve("sqlite:///var/lib/curfew.db"), Ok("/var/lib/curfew.db".into()));
        for url in ["sqlite://curfew.db", "sqlite://curfew.db?mode=rw", "sqlite://curfew.db?mode=rwc"] {
            assert_eq!(resolve(url), Ok("curfew.db".into()), "{url}");
        }
    }

    #[test]
    fn anything_else_is_refused_without_quoting_it() {
        let only = "DATABASE_URL: this version stores in SQLite only: sqlite://PATH";
        let memory = "DATABASE_URL: names no file: a database in memory would forget every logout at the next start";
        let scheme = "DATABASE_URL: must be sqlite://PATH";
        let parameters = "DATABASE_URL: takes no parameters but mode=rw or mode=rwc";
        let wrong = [
            ("postgres://user:hunter2@db/curfew", only),
            ("mysql://db/curfew", only),
            ("sqlite::memory:", memory),
            ("sqlite://curfew.db?mode=memory", memory),
            ("sqlite://", memory),
            ("sqlite://curfew.db?mode=ro", parameters),
            ("sqlite://curfew.db?immutable=1", parameters),
            ("sqlite://curfew.db?vfs=unix-none", parameters),
            ("sqlite://curfew.db?mode=rw&cache=shared", parameters),
            ("sqlite://curfew.db?password=hunter2", parameters),
            ("sqlite://%ff", scheme),
            ("oracle://db", scheme),
            ("/var/lib/curfew.db", scheme),
            ("", scheme),
        ];
        for (url, problem) in wrong {
            assert_eq!(resolve(url), Err(problem.to_owned()), "{url}");
        }
    }
}
