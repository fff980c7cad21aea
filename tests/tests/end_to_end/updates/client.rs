//! A client whose connection stays open over a change of the listener, and that knows which configuration serves it.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result};
use curfew_testbed::http::{Answer, Request, connect, read_answer};
use curfew_testbed::http2;
use serde_json::Value;

/// The beginning of a header that the upstream gets from the filter; the number of its configuration follows.
pub(super) const ROUND: &str = "x-round-";

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// An open connection. Envoy serves it by one listener, also after another one has taken its place.
struct Connection {
    wire: Wire,
    round: u64,
}

enum Wire {
    Http1(BufReader<TcpStream>),
    Http2(http2::Connection),
}

/// An answer, and the number of the configuration that gave it.
pub(super) struct Told {
    pub(super) answer: Answer,
    pub(super) round: u64,
}

/// One connection at a time. When Envoy says that it takes no more requests on it, the next one is opened.
pub(super) struct Client {
    address: SocketAddr,
    version: Version,
    /// A request that every configuration admits.
    admitted: Request,
    connection: Option<Connection>,
}

impl Client {
    pub(super) fn new(address: SocketAddr, version: Version, admitted: &Request) -> Self {
        Self { address, version, admitted: admitted.clone(), connection: None }
    }

    /// Opens the connection, if there is none. Returns the number of the configuration that serves it.
    pub(super) fn open(&mut self) -> Result<u64> {
        loop {
            if let Some(connection) = &self.connection {
                return Ok(connection.round);
            }
            let mut wire = match self.version {
                Version::Http1 => Wire::Http1(BufReader::new(connect(self.address)?)),
                Version::Http2 => Wire::Http2(http2::Connection::open(self.address)?),
            };
            let Some(answer) = wire.send(&self.admitted)? else { continue };
            let round = round_of(&answer).with_context(|| format!("{} {}", answer.status, answer.text()))?;
            self.connection = lasts(&answer).then_some(Connection { wire, round });
        }
    }

    /// Sends a request. An answer that does not come is an error: Envoy ends no connection with a request on it.
    pub(super) fn send(&mut self, request: &Request) -> Result<Told> {
        loop {
            self.open()?;
            let Some(mut connection) = self.connection.take() else { continue };
            if let Some(answer) = connection.wire.send(request)? {
                let round = connection.round;
                self.connection = lasts(&answer).then_some(connection);
                return Ok(Told { answer, round });
            }
        }
    }
}

impl Wire {
    /// `None` if the server takes no more requests on this connection.
    fn send(&mut self, request: &Request) -> Result<Option<Answer>> {
        match self {
            Self::Http1(reader) => {
                reader.get_mut().write_all(&request.to_open_connection())?;
                read_answer(reader, &request.method).map(Some)
            }
            Self::Http2(connection) => connection.send(request),
        }
    }
}

/// True if Envoy takes another request on the connection. HTTP/2 says that otherwise.
fn lasts(answer: &Answer) -> bool {
    answer.header("connection") != Some("close")
}

/// The number in the header that the upstream got: the highest, because each configuration has that of the first one too.
fn round_of(answer: &Answer) -> Option<u64> {
    let echo = answer.json();
    let names = echo.get("headers")?.as_array()?.iter().filter_map(|pair| pair.get(0).and_then(Value::as_str));
    names.filter_map(|name| name.strip_prefix(ROUND)?.parse().ok()).max()
}
