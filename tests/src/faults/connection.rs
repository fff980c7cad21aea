//! A client's connection that stays open, and is made anew when it was lost.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::http::{Answer, connect, read_answer};

/// A connection to one address.
#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    patience: Duration,
    stream: Option<BufReader<TcpStream>>,
}

impl Connection {
    /// Connects when it is first used; `patience` is how long an answer may take.
    pub(super) fn to(address: SocketAddr, patience: Duration) -> Self {
        Self { address, patience, stream: None }
    }

    /// Makes the connection, if there is none.
    ///
    /// # Errors
    /// When nobody listens.
    pub(super) fn open(&mut self) -> Result<()> {
        if self.stream.is_none() {
            let stream = connect(self.address)?;
            stream.set_read_timeout(Some(self.patience))?;
            self.stream = Some(BufReader::new(stream));
        }
        Ok(())
    }

    /// Sends a request over the connection, which must be open.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) fn send(&mut self, request: &[u8]) -> Result<()> {
        let sent = self.stream.as_mut().context("not open")?.get_mut().write_all(request);
        if sent.is_err() {
            self.stream = None;
        }
        Ok(sent?)
    }

    /// Reads the answer to what was sent.
    ///
    /// # Errors
    /// When the connection is lost or patience is; it is then closed.
    pub(super) fn receive(&mut self) -> Result<Answer> {
        let answer = read_answer(self.stream.as_mut().context("not open")?, "GET");
        let lasts = |answer: &Answer| answer.header("connection") != Some("close");
        if !answer.as_ref().is_ok_and(lasts) {
            self.stream = None;
        }
        answer
    }

    /// Sends and reads.
    ///
    /// # Errors
    /// As [`Self::send`] and [`Self::receive`].
    pub(super) fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.send(request)?;
        self.receive()
    }
}
