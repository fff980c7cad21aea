//! The service behind Envoy: it answers every request with what it saw of it.
//!
//! A body is read to its end and answered with its length and SHA-256, so that large uploads can be compared without
//! being held. It also counts the requests that reached it, because "refused" means that the upstream saw nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::{Json, Router};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

type Seen = Arc<AtomicU64>;

/// An echo server on a thread of its own, stopped when dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    seen: Seen,
    _stop: oneshot::Sender<()>,
}

impl Upstream {
    /// Starts to serve on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(address: SocketAddr) -> Result<Self> {
        let listener =
            std::net::TcpListener::bind(address).with_context(|| format!("the upstream cannot listen on {address}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let seen = Seen::default();
        let router = router(seen.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || {
            runtime.block_on(async move {
                let serve = async { axum::serve(TcpListener::from_std(listener)?, router).await };
                tokio::select! {
                    result = serve => result,
                    _ = stopped => Ok(()),
                }
            })
        });
        Ok(Self { address, seen, _stop: stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have reached it.
    pub fn requests_seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }
}

/// Serves until the process ends.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router(Seen::default())).await?)
}

fn router(seen: Seen) -> Router {
    Router::new().fallback(echo).with_state(seen)
}

async fn echo(State(seen): State<Seen>, request: Request) -> (StatusCode, Json<Value>) {
    seen.fetch_add(1, Ordering::SeqCst);
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
