//! The service behind Envoy: it describes every request in the answer.
//!
//! It reads a body to its end and answers with its length and SHA-256, so that a test can compare a large upload without
//! keeping it. Answers to [`SLOW`] come late. It also counts the requests that reach it, because "refused" means that
//! the upstream saw nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::{Json, Router};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::local_server::LocalServer;

/// How many requests have come for each path.
#[derive(Debug, Default)]
struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    fn count(&self, path: &str) {
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *paths.entry(path.to_owned()).or_default() += 1;
    }

    fn sum(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        let paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paths.iter().filter(|(path, _)| wanted(path)).map(|(_, count)| count).sum()
    }
}

/// A path whose answers take [`SLOWNESS`].
pub const SLOW: &str = "/slow";

/// How long an answer to [`SLOW`] takes.
pub const SLOWNESS: Duration = Duration::from_secs(10);

type Seen = Arc<Tally>;

/// An echo server on a thread of its own, stopped when dropped.
#[derive(Debug)]
pub struct Upstream {
    server: LocalServer,
    seen: Seen,
}

impl Upstream {
    /// Starts to serve on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn start(address: SocketAddr) -> Result<Self> {
        let seen = Seen::default();
        Ok(Self { server: LocalServer::start(address, router(seen.clone()))?, seen })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many requests have reached it.
    pub fn requests_seen(&self) -> u64 {
        self.seen.sum(|_| true)
    }

    /// How many requests have reached it for this path, whatever their query.
    pub fn requests_to(&self, path: &str) -> u64 {
        self.seen.sum(|seen| seen == path)
    }
}

/// Serves until the process ends.
///
/// # Errors
/// If the address cannot be bound.
pub async fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router(Seen::default())).await?)
}

fn router(seen: Seen) -> Router {
    Router::new().fallback(echo).with_state(seen)
}

async fn echo(State(seen): State<Seen>, request: Request) -> (StatusCode, Json<Value>) {
    seen.count(request.uri().path());
    if request.uri().path() == SLOW {
        tokio::time::sleep(SLOWNESS).await;
    }
    let (head, body) = request.into_parts();
    let headers = head.headers.iter();
    let headers: Vec<Value> =
        headers.map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])).collect();
    let Some((length, sha256)) = digest(body).await else {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "the body ended early"})));
    };
    let answer = json!({
        "method": head.method.as_str(),
        "path": head.uri.to_string(),
        "headers": headers,
        "body_bytes": length,
        "body_sha256": sha256,
    });
    (StatusCode::OK, Json(answer))
}

async fn digest(mut body: Body) -> Option<(usize, String)> {
    let mut hash = hmac_sha256::Hash::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            length += data.len();
            hash.update(&data);
        }
    }
    Some((length, hex(&hash.finalize())))
}

/// The lower-case hexadecimal SHA-256 of `bytes`, as the echo reports it for a body.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&hmac_sha256::Hash::hash(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first value of a header in an echoed answer; `name` in lower case.
pub fn echoed_header(echo: &Value, name: &str) -> Option<String> {
    let headers = echo.get("headers")?.as_array()?;
    let found = headers.iter().find(|pair| pair.get(0).and_then(Value::as_str) == Some(name))?;
    found.get(1)?.as_str().map(str::to_owned)
}
