//! A MariaDB for one test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sqlx::mysql::MySqlConnection;

use super::authority::Authority;
use super::install::Wanted;
use super::place::Place;
use super::server::{Launch, Server};
use super::sql;

const USER: &str = "curfew";
const PASSWORD: &str = "only-for-tests";

const MARIADBD: Wanted = Wanted {
    program: "mariadbd",
    variable: "MARIADBD",
    // The second package has a program that the script of the first calls.
    debian: "mariadb-server-core mariadb-client-core",
    directories: &["/usr/sbin"],
    wheel: None,
};

pub(super) fn find() -> Result<PathBuf> {
    MARIADBD.find()
}

/// A running MariaDB with one user, who has a password and all rights.
#[derive(Debug)]
pub struct Mariadb {
    server: Server,
    port: u16,
}

impl Mariadb {
    /// Starts an empty one.
    ///
    /// # Errors
    /// When it cannot be found, installed or started; the message has its output.
    pub fn start() -> Result<Self> {
        Self::start_with(&[], None)
    }

    /// Starts one with settings such as `max_connections=5`, and with TLS offered where an authority signs for it.
    ///
    /// # Errors
    /// As [`Mariadb::start`].
    pub fn start_with(settings: &[&str], authority: Option<&Authority>) -> Result<Self> {
        let program = find()?;
        let place = Place::new(None)?;
        initialise(&program, &place)?;
        let mut settings: Vec<String> = settings.iter().map(|setting| format!("--{setting}")).collect();
        if let Some(authority) = authority {
            settings.push(format!("--ssl-cert={}", place.write("server.crt", authority.certificate())?.display()));
            settings.push(format!("--ssl-key={}", place.write("server.key", authority.key())?.display()));
        }
        let users = place.write(
            "users.sql",
            &format!(
                "CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n\
                 GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
            ),
        )?;
        let (server, port) = Server::start(place, |place, port| {
            let directory = place.path().display();
            let mut arguments: Vec<OsString> = vec!["--no-defaults".into()];
            arguments.push(format!("--datadir={directory}/data").into());
            arguments.push(format!("--socket={directory}/mariadb.sock").into());
            arguments.push(format!("--pid-file={directory}/mariadb.pid").into());
            arguments.push(format!("--init-file={}", users.display()).into());
            arguments.push(format!("--port={port}").into());
            arguments.extend(["--bind-address=127.0.0.1".into(), "--skip-name-resolve".into()]);
            arguments.extend(as_root());
            arguments.extend(settings.iter().map(OsString::from));
            let url = url(port, "mysql");
            let ready = Box::new(move || sql::execute::<MySqlConnection>(&url, "SELECT 1").is_ok());
            Ok(Launch { name: "mariadb", program: program.clone(), arguments, ready })
        })?;
        Ok(Self { server, port })
    }

    /// For `DATABASE_URL`: the database that every MariaDB has.
    pub fn url(&self) -> String {
        url(self.port, "mysql")
    }

    /// For `DATABASE_URL`: a new, empty database of this name (letters, digits and `_`). One that was there is dropped.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn fresh_database(&self, name: &str) -> Result<String> {
        self.execute(&format!("DROP DATABASE IF EXISTS {name}"))?;
        self.execute(&format!("CREATE DATABASE {name}"))?;
        Ok(url(self.port, name))
    }

    /// Runs statements as the user with all rights.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn execute(&self, statements: &str) -> Result<()> {
        sql::execute::<MySqlConnection>(&self.url(), statements)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.server.place().path().join("mariadb.sock")
    }

    /// To kill, freeze and restart it.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}

fn url(port: u16, database: &str) -> String {
    format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}")
}

/// MariaDB runs as root only with this argument.
fn as_root() -> Option<OsString> {
    rustix::process::geteuid().is_root().then(|| "--user=root".into())
}

/// Makes the system tables, with the script in Debian's package of the server.
fn initialise(mariadbd: &Path, place: &Place) -> Result<()> {
    let beside = mariadbd.with_file_name("mariadb-install-db");
    let script = if beside.is_file() { beside } else { PathBuf::from("mariadb-install-db") };
    let mut command = Command::new(script);
    // A directory of its own for temporary tables, because several servers may be made at the same time.
    command.env("TMPDIR", place.path());
    command.arg("--no-defaults").arg(format!("--datadir={}", place.path().join("data").display()));
    command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]).args(as_root());
    let output = command.output().context("mariadb-install-db does not run")?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("mariadb-install-db:\n{}", String::from_utf8_lossy(&text));
    }
    Ok(())
}
