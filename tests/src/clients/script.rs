//! A stand-in for Curfew's endpoints that follows a script: what each attempt with a token or for a user is told.
//!
//! The real control plane gives such answers too, but not on demand: it is busy, it hangs up, another program stands in its
//! place.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::ports::loopback;

/// Longer than any client waits.
const SILENCE: Duration = Duration::from_secs(30);

/// What an attempt is told.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// The status line's end, lines of the head with their ends, and the body.
    Answer(&'static str, &'static str, &'static str),
    /// Such an answer that breaks off inside the body.
    Broken(&'static str, &'static str, &'static str),
    /// The connection is closed without an answer.
    HangUp,
    /// There is no answer, and the connection stays open.
    Silence,
}

/// A server on threads of its own, stopped when dropped.
#[derive(Debug)]
pub struct Script {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// By token or user. The last reply is repeated.
    replies: BTreeMap<&'static str, Vec<Reply>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    attempts: BTreeMap<String, Vec<Instant>>,
    targets: BTreeMap<String, BTreeSet<String>>,
    is_stopped: bool,
}

impl Script {
    /// Starts on a free port.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start(replies: impl IntoIterator<Item = (&'static str, Vec<Reply>)>) -> Result<Self> {
        let listener = TcpListener::bind(loopback(0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { replies: replies.into_iter().collect(), state: Mutex::default() });
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if own.state().is_stopped {
                    return;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&own)) else { continue };
                // A client that goes away is its own affair.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Ok(Self { address, shared })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// When the attempts with this token or for this user came.
    pub fn attempts(&self, subject: &str) -> Vec<Instant> {
        self.shared.state().attempts.get(subject).cloned().unwrap_or_default()
    }

    /// Where they were sent to: the path, with the query if there is one.
    pub fn targets(&self, subject: &str) -> BTreeSet<String> {
        self.shared.state().targets.get(subject).cloned().unwrap_or_default()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.shared.state().is_stopped = true;
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        let (target, subject) = target_and_subject(&stream)?;
        let reply = {
            let mut state = self.state();
            state.targets.entry(subject.clone()).or_default().insert(target);
            let attempts = state.attempts.entry(subject.clone()).or_default();
            attempts.push(Instant::now());
            let replies = self.replies.get(subject.as_str()).map_or(&[][..], Vec::as_slice);
            replies.get(attempts.len() - 1).or(replies.last()).copied()
        };
        let (answer, missing) = match reply {
            Some(Reply::HangUp) => return Ok(()),
            Some(Reply::Silence) => {
                // Until the client gives up.
                stream.set_read_timeout(Some(SILENCE))?;
                let _ = stream.read(&mut [0]);
                return Ok(());
            }
            Some(Reply::Answer(status, head, body)) => ((status, head, body), 0),
            Some(Reply::Broken(status, head, body)) => ((status, head, body), 100),
            None => (("500 Not In The Script", "", ""), 0),
        };
        let (status, head, body) = answer;
        let length = body.len() + missing;
        let head = format!("HTTP/1.1 {status}\r\n{head}content-length: {length}\r\nconnection: close\r\n\r\n");
        Ok(stream.write_all(format!("{head}{body}").as_bytes())?)
    }
}

/// Where a request is sent to, and the token or the user that it is about: in a body, or else in `Authorization`.
fn target_and_subject(stream: &TcpStream) -> Result<(String, String)> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    // Some clients connect ahead of a request that they never send.
    ensure!(!first.is_empty(), "the client has sent nothing");
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut bearer, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { continue };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => bearer = value.strip_prefix("Bearer ").unwrap_or(value).to_owned(),
            "content-length" => length = value.parse()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let named = [body.pointer("/tokens/0/token"), body.pointer("/user_id")].into_iter().flatten().next();
    Ok((target, named.and_then(Value::as_str).map_or(bearer, str::to_owned)))
}
