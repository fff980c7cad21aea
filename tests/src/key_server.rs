//! An issuer's endpoints for keys that follow a script: the JWK Set at `/keys`, and the OpenID configuration that names it.
//!
//! A story says what is listed, what is answered instead, and how long that takes. It can hold answers back until it lets
//! them go: a held answer has the list of the moment at which it was asked for. Questions for the set are counted.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::ports::loopback;
use crate::tokens::sha256;

/// The path of the set.
const KEYS: &str = "/keys";

/// How the OpenID configuration's path ends.
const DOCUMENT: &str = "/.well-known/openid-configuration";

/// A server of keys on threads of its own, stopped when dropped.
#[derive(Debug)]
pub struct KeyServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    script: Mutex<Script>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Script {
    issuer: String,
    url: String,
    list: String,
    /// Answered instead of the list: the status line's end, and lines of the head.
    instead: Option<(String, Vec<String>)>,
    /// More lines of the head of each list.
    head: Vec<String>,
    /// How long the head of an answer takes, and after it the body.
    pauses: (Duration, Duration),
    is_down: bool,
    is_stopped: bool,
    /// How many of the next answers are held back, and how many are now.
    to_hold: u64,
    held: u64,
    /// How often answers were let go.
    let_go: u64,
    /// The query of each question for the set.
    queries: Vec<String>,
    unchanged: u64,
}

/// An answer, as it is sent.
struct Answer {
    head: String,
    body: String,
    pauses: (Duration, Duration),
}

impl KeyServer {
    /// Starts on a free port, with a list without keys.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(loopback(0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        shared.script().issuer = format!("http://{address}");
        shared.script().url = format!("http://{address}{KEYS}");
        shared.script().list = json!({"keys": []}).to_string();
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if own.script().is_stopped {
                    return;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&own)) else { continue };
                // A client that goes away is its own affair.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Ok(Self { address, shared })
    }

    /// The issuer's name, which is a URL at which discovery works.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL of the set.
    pub fn url(&self) -> String {
        self.shared.script().url.clone()
    }

    /// The OpenID configuration names this issuer from now on.
    pub fn describes(&self, issuer: &str) {
        self.shared.script().issuer = issuer.to_owned();
    }

    /// Lists these keys from now on.
    pub fn lists(&self, jwks: &Value) {
        let mut script = self.shared.script();
        (script.list, script.instead, script.is_down) = (jwks.to_string(), None, false);
    }

    /// Answers with this status and these lines of the head instead, until it lists keys again.
    pub fn answers(&self, status: &str, head: &[&str]) {
        let head = head.iter().map(|line| (*line).to_owned()).collect();
        self.shared.script().instead = Some((status.to_owned(), head));
    }

    /// Closes each connection without an answer, until it lists keys again.
    pub fn goes_down(&self) {
        self.shared.script().is_down = true;
    }

    /// Adds lines to the head of each list, such as `cache-control`.
    pub fn adds(&self, head: &[&str]) {
        self.shared.script().head = head.iter().map(|line| (*line).to_owned()).collect();
    }

    /// Sends the head of an answer so much later, and then the body.
    pub fn takes(&self, head: Duration, body: Duration) {
        self.shared.script().pauses = (head, body);
    }

    /// Holds the answer to the next question back.
    pub fn holds_next(&self) {
        self.shared.script().to_hold += 1;
    }

    /// How many answers are held back.
    pub fn held(&self) -> u64 {
        self.shared.script().held
    }

    /// Sends the answers that are held back.
    pub fn lets_go(&self) {
        let mut script = self.shared.script();
        (script.held, script.let_go) = (0, script.let_go + 1);
        drop(script);
        self.shared.changed.notify_all();
    }

    /// How often the set was asked for.
    pub fn fetches(&self) -> usize {
        self.shared.script().queries.len()
    }

    /// The query of each of these questions. Control planes can be told apart by it.
    pub fn queries(&self) -> Vec<String> {
        self.shared.script().queries.clone()
    }

    /// How many of these questions were answered with 304.
    pub fn unchanged(&self) -> u64 {
        self.shared.script().unchanged
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.shared.script().is_stopped = true;
        self.lets_go();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut request, mut known) = (String::new(), None);
        reader.read_line(&mut request)?;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            let etag = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("if-none-match"));
            known = etag.map(|(_, etag)| etag.trim().to_owned()).or(known);
        }
        let target = request.split(' ').nth(1).unwrap_or_default();
        let Some(answer) = self.answer(target, known.as_deref()) else { return Ok(()) };
        thread::sleep(answer.pauses.0);
        stream.write_all(answer.head.as_bytes())?;
        thread::sleep(answer.pauses.1);
        Ok(stream.write_all(answer.body.as_bytes())?)
    }

    /// The answer, when it is let go; `None` while the server is down.
    fn answer(&self, target: &str, known: Option<&str>) -> Option<Answer> {
        let mut script = self.script();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_for_keys = path == KEYS;
        if is_for_keys {
            script.queries.push(query.to_owned());
        }
        if script.is_down {
            return None;
        }
        if path.ends_with(DOCUMENT) {
            let document = json!({"issuer": script.issuer, "jwks_uri": script.url});
            return Some(script.whole("200 OK", &[], &document.to_string()));
        }
        if !is_for_keys {
            return Some(script.whole("404 Not Found", &[], ""));
        }
        let answer = script.list_for(known);
        if script.to_hold > 0 {
            (script.to_hold, script.held) = (script.to_hold - 1, script.held + 1);
            let before = script.let_go;
            let _gone = self.changed.wait_while(script, |script| script.let_go == before);
        }
        Some(answer)
    }
}

impl Script {
    fn list_for(&mut self, known: Option<&str>) -> Answer {
        if let Some((status, head)) = &self.instead {
            return self.whole(status, head, "");
        }
        let digest = sha256(self.list.as_bytes());
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let etag = format!("\"{hex}\"");
        let head: Vec<_> = self.head.iter().cloned().chain([format!("etag: {etag}")]).collect();
        if known == Some(etag.as_str()) {
            self.unchanged += 1;
            return self.whole("304 Not Modified", &head, "");
        }
        self.whole("200 OK", &head, &self.list)
    }

    fn whole(&self, status: &str, head: &[String], body: &str) -> Answer {
        let lines: String = head.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{lines}content-length: {length}\r\nconnection: close\r\n\r\n");
        Answer { head, body: body.to_owned(), pauses: self.pauses }
    }
}
