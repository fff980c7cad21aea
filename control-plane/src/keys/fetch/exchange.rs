//! One request and its answer, over a connection of its own.
//!
//! Fetches are minutes apart, so connections are not kept. The connection goes to one of the given addresses and to no
//! other, and the certificate must be for the URL's host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, HeaderMap, IF_NONE_MATCH, USER_AGENT,
};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::MAX_BODY_BYTES;
use super::failure::{Cause, shown};
use crate::keys::source::KeyUrl;

/// The most bytes of an answer's head.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// An answer. The body is empty for every status but 200.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Connects to the first of the addresses that takes a connection. Each has its share of the time that is left, so that
/// one which does not answer leaves time for the next.
pub(super) async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Cause> {
    let mut last = Cause::Connect("it has no address".to_owned());
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let waiting = u32::try_from(addresses.len().saturating_sub(index)).unwrap_or(u32::MAX);
        let share = left.checked_div(waiting).unwrap_or_default().max(Duration::from_millis(1));
        let share_ends = Instant::now().checked_add(share).unwrap_or(deadline);
        match timeout_at(share_ends, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Cause::Connect(shown(error)),
            Err(_) => last = Cause::Connect("it does not answer in time".to_owned()),
        }
    }
    Err(last)
}

/// Asks for the URL over TLS.
pub(super) async fn ask_encrypted(
    stream: TcpStream,
    settings: Arc<ClientConfig>,
    url: &KeyUrl,
    etag: Option<&str>,
) -> Result<Reply, Cause> {
    let name = ServerName::try_from(url.name()).map_err(|_| Cause::Tls("the host is no name".to_owned()))?;
    let stream = TlsConnector::from(settings).connect(name, stream).await;
    ask(stream.map_err(|error| Cause::Tls(shown(error)))?, url, etag).await
}

/// Asks for the URL over this stream.
pub(super) async fn ask<S>(stream: S, url: &KeyUrl, etag: Option<&str>) -> Result<Reply, Cause>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http = |error: hyper::Error| Cause::Http(shown(error));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(http)?;
    // Dropped with this call, whether it ends or is given up.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = sender.send_request(request(url, etag)?).await.map_err(http)?;
    let (head, body) = answer.into_parts();
    let body = if head.status == StatusCode::OK { read(body, &head.headers).await? } else { Vec::new() };
    Ok(Reply { status: head.status, headers: head.headers, body })
}

fn request(url: &KeyUrl, etag: Option<&str>) -> Result<Request<Empty<Bytes>>, Cause> {
    let mut request = Request::get(url.target())
        .header(HOST, url.host())
        .header(USER_AGENT, concat!("curfew/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/jwk-set+json, application/json, */*;q=0.1")
        // A small compressed answer could become a large one.
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close");
    if let Some(etag) = etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    request.body(Empty::new()).map_err(|error| Cause::Http(shown(error)))
}

async fn read(mut body: Incoming, headers: &HeaderMap) -> Result<Vec<u8>, Cause> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Cause::Compressed);
    }
    let limit = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX);
    if body.size_hint().lower() > limit {
        return Err(Cause::TooLarge(MAX_BODY_BYTES));
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Cause::Http(shown(error)))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len().saturating_add(data.len()) > MAX_BODY_BYTES {
            return Err(Cause::TooLarge(MAX_BODY_BYTES));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}
