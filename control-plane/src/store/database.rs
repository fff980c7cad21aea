//! A database's kind, its address and credentials, and the part of these that may be logged.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::per_driver::PerDriver;
use crate::secret::{NOT_ENCODED, is_not_encoded};

/// Parameters that a PostgreSQL URL may have. Other parameters would switch off something that a logout relies on, or
/// put a password into a part of the URL that is shown.
const POSTGRES_PARAMETERS: [&str; 7] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "application_name"];

/// Parameters that a MySQL URL may have.
const MYSQL_PARAMETERS: [&str; 5] = ["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket"];

/// How to reach each kind of database.
pub(super) type Options = PerDriver<SqliteConnectOptions, PgConnectOptions, MySqlConnectOptions>;

/// A database. Its `Display` and `Debug` texts hold no password.
#[derive(Clone)]
pub struct Database(pub(super) Options);

impl Database {
    /// The embedded database in a file.
    pub fn in_file(path: &Path) -> Self {
        Self(Options::Sqlite(SqliteConnectOptions::new().filename(path)))
    }

    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without quoting any of it: it may hold a password.
    pub fn from_url(url: &str) -> Result<Self, String> {
        let options = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Options::Sqlite(sqlite(url)?),
            Some("postgres" | "postgresql") => Options::Postgres(postgres(url)?),
            Some("mysql" | "mariadb") => Options::MySql(mysql(url)?),
            _ => return Err("must be sqlite://PATH, postgres://... or mysql://...".to_owned()),
        };
        Ok(Self(options))
    }

    /// Names the database by kind, address and name, without user and password. The name does not depend on the
    /// directory in which the process runs.
    pub fn name(&self) -> String {
        match self.file() {
            // A file that does not exist has no canonical path.
            Some(file) => {
                let absolute = std::fs::canonicalize(file).or_else(|_| std::path::absolute(file));
                format!("sqlite://{}", absolute.as_deref().unwrap_or(file).display())
            }
            None => self.to_string(),
        }
    }

    /// The file of an embedded database.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Options::Sqlite(options) => Some(options.get_filename()),
            Options::Postgres(_) | Options::MySql(_) => None,
        }
    }
}

fn sqlite(url: &str) -> Result<SqliteConnectOptions, String> {
    if url.contains(":memory:") || url.contains("mode=memory") || url.trim_end_matches('/').ends_with(':') {
        return Err("names no file: a database in memory would forget every logout at the next start".to_owned());
    }
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    if !["", "mode=rw", "mode=rwc"].contains(&parameters) {
        // Other parameters switch off something that a logout relies on: locks, durability, writing at all.
        return Err("takes no parameters but mode=rw or mode=rwc".to_owned());
    }
    SqliteConnectOptions::from_str(url).map_err(|_| "must be sqlite://PATH".to_owned())
}

fn postgres(url: &str) -> Result<PgConnectOptions, String> {
    refuse_not_encoded(url)?;
    only_parameters(url, &POSTGRES_PARAMETERS)?;
    let options = PgConnectOptions::from_str(url).map_err(|_| not_a_url("postgres"))?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(not_named("postgres"));
    }
    Ok(options)
}

fn mysql(url: &str) -> Result<MySqlConnectOptions, String> {
    refuse_not_encoded(url)?;
    only_parameters(url, &MYSQL_PARAMETERS)?;
    let options = MySqlConnectOptions::from_str(url).map_err(|_| not_a_url("mysql"))?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(not_named("mysql"));
    }
    Ok(options)
}

fn refuse_not_encoded(url: &str) -> Result<(), String> {
    if is_not_encoded(url) { Err(NOT_ENCODED.to_owned()) } else { Ok(()) }
}

fn only_parameters(url: &str, known: &[&str]) -> Result<(), String> {
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    let mut names = parameters.split('&').filter_map(|parameter| parameter.split('=').next());
    // The name is not quoted either: a password with a question mark in it would look like a parameter.
    if names.all(|name| name.is_empty() || known.contains(&name)) {
        return Ok(());
    }
    Err(format!("takes no parameters but {}; a ? in a password is written %3F", known.join(", ")))
}

fn not_a_url(scheme: &str) -> String {
    format!("must be {scheme}://USER:PASSWORD@HOST:PORT/DATABASE, special characters in it percent-encoded")
}

fn not_named(scheme: &str) -> String {
    format!("names no database: {scheme}://USER:PASSWORD@HOST:PORT/DATABASE")
}

impl fmt::Display for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Options::Sqlite(options) => write!(formatter, "{}", options.get_filename().display()),
            Options::Postgres(options) => {
                let database = options.get_database().unwrap_or_default();
                match options.get_socket() {
                    Some(socket) => write!(formatter, "postgres:///{database} at {}", socket.display()),
                    None => write!(formatter, "postgres://{}:{}/{database}", options.get_host(), options.get_port()),
                }
            }
            Options::MySql(options) => {
                let database = options.get_database().unwrap_or_default();
                match options.get_socket() {
                    Some(socket) => write!(formatter, "mysql:///{database} at {}", socket.display()),
                    None => write!(formatter, "mysql://{}:{}/{database}", options.get_host(), options.get_port()),
                }
            }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Database({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Result<String, String> {
        Database::from_url(url).map(|database| format!("{database}"))
    }

    #[test]
    fn a_file_is_taken() {
        assert_eq!(shown("sqlite:///var/lib/curfew.db"), Ok("/var/lib/curfew.db".into()));
        for url in ["sqlite://curfew.db", "sqlite://curfew.db?mode=rw", "sqlite://curfew.db?mode=rwc"] {
            assert_eq!(shown(url), Ok("curfew.db".into()), "{url}");
        }
    }

    #[test]
    fn a_server_is_shown_without_user_password_and_parameters() {
        for (url, expected) in [
            (
                "postgres://ada:hunter2@db.example.com/curfew?sslmode=verify-full",
                "postgres://db.example.com:5432/curfew",
            ),
            ("postgresql://ada:hunter2@db.example.com:6432/curfew", "postgres://db.example.com:6432/curfew"),
            ("postgres:///curfew?host=/run/postgresql", "postgres:///curfew at /run/postgresql"),
            ("mysql://ada:hunter2@db.example.com/curfew?ssl-mode=REQUIRED", "mysql://db.example.com:3306/curfew"),
            ("mariadb://ada:hunter2@db.example.com:3307/curfew", "mysql://db.example.com:3307/curfew"),
            ("mysql://ada:hunter2@localhost/curfew?socket=/run/my.sock", "mysql:///curfew at /run/my.sock"),
        ] {
            let database = Database::from_url(url).unwrap();
            assert_eq!(database.to_string(), expected);
            assert_eq!(format!("{database:?}"), format!("Database({expected})"));
        }
    }

    #[test]
    fn anything_else_is_refused_without_quoting_it() {
        let memory = "names no file: a database in memory would forget every logout at the next start";
        let scheme = "must be sqlite://PATH, postgres://... or mysql://...";
        let file = "takes no parameters but mode=rw or mode=rwc";
        let postgres = "takes no parameters but sslmode, sslrootcert, sslcert, sslkey, host, port, application_name; \
            a ? in a password is written %3F";
        let mysql = "takes no parameters but ssl-mode, ssl-ca, ssl-cert, ssl-key, socket; \
            a ? in a password is written %3F";
        let form = "must be postgres://USER:PASSWORD@HOST:PORT/DATABASE, special characters in it percent-encoded";
        let wrong = [
            ("sqlite::memory:", memory),
            ("sqlite://curfew.db?mode=memory", memory),
            ("sqlite://", memory),
            ("sqlite://curfew.db?mode=ro", file),
            ("sqlite://curfew.db?immutable=1", file),
            ("sqlite://curfew.db?vfs=unix-none", file),
            ("sqlite://curfew.db?mode=rw&cache=shared", file),
            ("sqlite://curfew.db?password=hunter2", file),
            ("sqlite://%ff", "must be sqlite://PATH"),
            ("oracle://db", scheme),
            ("/var/lib/curfew.db", scheme),
            ("", scheme),
            ("postgres://ada:hunter2@db/curfew?options=-csynchronous_commit=off", postgres),
            ("postgres://ada@db/curfew?password=hunter2", postgres),
            ("postgres://ada:hun?ter2@db/curfew", NOT_ENCODED),
            ("postgres://ada:hun/ter2@db/curfew", NOT_ENCODED),
            ("postgres://ada:hun#ter2@db/curfew", NOT_ENCODED),
            ("mysql://ada:hun/ter2@db/curfew", NOT_ENCODED),
            // These would be taken, with the user as the host and the password's rest as the database.
            ("mysql://ada:1/hunter2@db/curfew", NOT_ENCODED),
            ("postgres://ada:1/hunter2@db", NOT_ENCODED),
            ("postgres://ada:hunter2@db:port/curfew", form),
            ("postgres://ada:hunter2@db/curfew?sslmode=hunter2", form),
            ("postgres://ada:hunter2@db", "names no database: postgres://USER:PASSWORD@HOST:PORT/DATABASE"),
            ("mysql://ada:hunter2@db/", "names no database: mysql://USER:PASSWORD@HOST:PORT/DATABASE"),
            ("mysql://ada:hunter2@db/curfew?charset=latin1", mysql),
        ];
        for (url, problem) in wrong {
            assert_eq!(shown(url), Err(problem.to_owned()), "{url}");
        }
    }
}
