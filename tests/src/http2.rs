//! An HTTP/2 client with prior knowledge (no TLS).

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::http::{Answer, Request};

/// Sends one request over an HTTP/2 connection of its own.
///
/// # Errors
/// When the connection fails or the request is not one that HTTP/2 can carry.
pub fn send(address: SocketAddr, request: &Request) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(exchange(address, request))
}

/// Sends one request with trailers.
///
/// # Errors
/// As [`send`]; also when a trailer is not one that HTTP/2 can carry.
pub fn send_with_trailers(address: SocketAddr, request: &Request, trailers: &[(&str, &str)]) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut map = hyper::HeaderMap::new();
    for (name, value) in trailers {
        map.append(hyper::header::HeaderName::try_from(*name)?, hyper::header::HeaderValue::try_from(*value)?);
    }
    let request = to_hyper(address, request)?.map(|body| body.with_trailers(async { Some(Ok(map)) }).boxed());
    runtime.block_on(async { ask(connect(address).await?, request).await })
}

/// True if this client can send the request over HTTP/2: valid field values and no fields of the connection (RFC 9113
/// section 8.2.2).
pub fn can_say(address: SocketAddr, request: &Request) -> bool {
    let of_connection = |name: &str| ["transfer-encoding", "connection", "upgrade"].contains(&name);
    let plain = !request.headers.iter().any(|(name, _)| of_connection(&name.to_ascii_lowercase()));
    plain
        && to_hyper(address, request)
            .is_ok_and(|said| said.uri().path_and_query().is_some_and(|p| p.as_str() == request.target))
}

/// Sends the same request `streams` times at once over each of `connections` connections, and waits for all answers.
///
/// # Errors
/// When one of the connections fails, or one of the requests gets no answer.
pub fn send_crowd(address: SocketAddr, request: &Request, connections: usize, streams: usize) -> Result<Vec<Answer>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let sender = connect(address).await?;
            for _ in 0..streams {
                requests.spawn(ask(sender.clone(), boxed(to_hyper(address, request)?)));
            }
        }
        requests.join_all().await.into_iter().collect()
    })
}

/// A connection that stays open, for one request after the other.
#[derive(Debug)]
pub struct Connection {
    runtime: tokio::runtime::Runtime,
    sender: Sender,
    address: SocketAddr,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nothing that speaks HTTP/2 listens there.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sender = runtime.block_on(connect(address))?;
        Ok(Self { runtime, sender, address })
    }

    /// Sends a request and reads the answer; `None` if the server takes no more requests on this connection, so that this one
    /// was not sent.
    ///
    /// # Errors
    /// When the connection ends before the answer is whole.
    pub fn send(&mut self, request: &Request) -> Result<Option<Answer>> {
        let (sender, request) = (&mut self.sender, boxed(to_hyper(self.address, request)?));
        self.runtime.block_on(async {
            if sender.ready().await.is_err() {
                return Ok(None);
            }
            match sender.try_send_request(request).await {
                Ok(response) => Ok(Some(whole(response).await?)),
                Err(mut error) => match error.take_message() {
                    Some(_unsent) => Ok(None),
                    None => Err(error.into_error().into()),
                },
            }
        })
    }
}

async fn exchange(address: SocketAddr, request: &Request) -> Result<Answer> {
    ask(connect(address).await?, boxed(to_hyper(address, request)?)).await
}

type Body = BoxBody<Bytes, Infallible>;
type Sender = hyper::client::conn::http2::SendRequest<Body>;

/// Opens a connection. It ends with its last sender.
async fn connect(address: SocketAddr) -> Result<Sender> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.context("no HTTP/2 handshake")?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn ask(mut sender: Sender, request: hyper::Request<Body>) -> Result<Answer> {
    sender.ready().await?;
    whole(sender.send_request(request).await?).await
}

async fn whole(response: hyper::Response<hyper::body::Incoming>) -> Result<Answer> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    Ok(Answer { status: head.status.as_u16(), headers: headers.collect(), body })
}

fn boxed(request: hyper::Request<Full<Bytes>>) -> hyper::Request<Body> {
    request.map(|body| body.boxed())
}

fn to_hyper(address: SocketAddr, request: &Request) -> Result<hyper::Request<Full<Bytes>>> {
    let target = format!("http://{address}{}", request.target);
    let mut builder = hyper::Request::builder().method(request.method.as_str()).uri(target);
    for (name, value) in &request.headers {
        builder = builder.header(name, value.as_slice());
    }
    Ok(builder.body(Full::new(Bytes::from(request.body.clone())))?)
}
