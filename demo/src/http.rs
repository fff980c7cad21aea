//! A small HTTP/1.1 client that sends exactly the bytes it is given.
//!
//! An ordinary client refuses or repairs the requests that matter here: bytes above 0x7f in a value, repeated
//! credentials, odd targets. One connection per request, blocking, with a deadline.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// Far longer than any answer takes, so that only a request that hangs reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as it is sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// The request target, unchanged.
    pub target: String,
    /// Header lines in order; names and values unchanged.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; a `content-length` is added unless it is empty.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers or body.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: vec![], body: vec![] }
    }

    /// `GET target`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// `POST target`.
    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    /// Adds one more header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Adds `authorization: Bearer token`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a JSON body and its content type.
    #[must_use]
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Sends the request to `address` and reads the whole answer.
    ///
    /// # Errors
    /// If the connection fails or the answer is not HTTP/1.1.
    pub fn send(&self, address: SocketAddr) -> Result<Answer> {
        exchange(address, &self.to_bytes(), &self.method)
            .with_context(|| format!("{} http://{address}{}", self.method, self.target))
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.clone().header("connection", "close").to_open_connection()
    }

    /// The bytes of this request for a connection that stays open.
    pub fn to_open_connection(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        let named = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !named("host") {
            bytes.extend_from_slice(b"host: localhost\r\n");
        }
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if !named("transfer-encoding") && !named("content-length") && !self.body.is_empty() {
            bytes.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header lines in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, with any chunked framing removed.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text, with replacement characters for what is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, or null if it is something else.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The `code` of a problem document (RFC 9457), empty if there is none.
    pub fn code(&self) -> String {
        self.json().get("code").and_then(|code| code.as_str()).unwrap_or_default().to_owned()
    }
}

/// Sends raw bytes and reads one answer; `method` says whether that answer can have a body.
///
/// # Errors
/// If the connection fails or the answer is not HTTP/1.1.
pub fn exchange(address: SocketAddr, request: &[u8], method: &str) -> Result<Answer> {
    let mut stream = connect(address)?;
    // A server may answer and close the connection before it has read a large body. Then the answer counts, not the error.
    let written = stream.write_all(request);
    read_answer(&mut BufReader::new(stream), method).or_else(|error| written.map_err(Into::into).and(Err(error)))
}

/// A connection with deadlines.
///
/// # Errors
/// If nothing listens there.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one answer, leaving interim ones (1xx) out.
///
/// # Errors
/// If the answer is not HTTP/1.1 or ends early.
pub fn read_answer(reader: &mut impl BufRead, method: &str) -> Result<Answer> {
    loop {
        let status = read_status(reader)?;
        let headers = read_headers(reader)?;
        if status >= 200 {
            let body = read_body(reader, method, status, &headers)?;
            return Ok(Answer { status, headers, body });
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        bail!("the connection ended inside the head of the answer");
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn read_status(reader: &mut impl BufRead) -> Result<u16> {
    let line = read_line(reader)?;
    let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    let code = code.with_context(|| format!("not an HTTP/1.x status line: {line:?}"))?;
    Ok(code.parse()?)
}

fn read_headers(reader: &mut impl BufRead) -> Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            return Ok(headers);
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_body(reader: &mut impl BufRead, method: &str, status: u16, headers: &[(String, String)]) -> Result<Vec<u8>> {
    let value = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let mut body = Vec::new();
    if method == "HEAD" || matches!(status, 204 | 304) {
        return Ok(body);
    }
    if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return read_chunks(reader);
    }
    match value("content-length") {
        Some(length) => {
            body.resize(length.parse()?, 0);
            reader.read_exact(&mut body).context("the connection ended inside the body")?;
        }
        None => {
            reader.read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

fn read_chunks(reader: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader)?;
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).with_context(|| format!("chunk size {line:?}"))?;
        let mut chunk = vec![0; size];
        reader.read_exact(&mut chunk).context("the connection ended inside a chunk")?;
        read_line(reader)?;
        if size == 0 {
            return Ok(body);
        }
        body.append(&mut chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Answer {
        read_answer(&mut text.as_bytes(), "GET").unwrap()
    }

    #[test]
    fn chunked_bodies_are_joined() {
        let answer = read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        assert_eq!((answer.status, answer.text().as_str()), (200, "abcde"));
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let answer = read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
        assert_eq!((answer.status, answer.text().as_str()), (401, "no"));
    }

    #[test]
    fn a_truncated_body_is_an_error() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort";
        assert!(read_answer(&mut text.as_bytes(), "GET").is_err());
    }
}
