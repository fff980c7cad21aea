//! A client's connection, which stays open and is made again after it was lost.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::dice::Dice;
use super::ledger::Reply;
use crate::http::{Answer, connect, read_answer};

/// Connections of a client to one Envoy: several, so that each worker gets some.
const CONNECTIONS: usize = 4;

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

    /// Connects, unless the connection is open.
    ///
    /// # Errors
    /// When nothing listens at the address.
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

    /// Reads the answer to the last request. Without an answer in time the connection is closed.
    pub(super) fn receive(&mut self) -> Reply {
        Reply::of(&self.read())
    }

    /// Sends a request over the connection, which must be open, and reads the answer.
    pub(super) fn exchange(&mut self, request: &[u8]) -> Reply {
        self.send(request).map_or(Reply::none(), |()| self.receive())
    }

    fn read(&mut self) -> Result<Answer> {
        let answer = read_answer(self.stream.as_mut().context("not open")?, "GET");
        let lasts = |answer: &Answer| answer.header("connection") != Some("close");
        if !answer.as_ref().is_ok_and(lasts) {
            self.stream = None;
        }
        answer
    }
}

/// Several connections to one address.
#[derive(Debug)]
pub(super) struct Connections(Vec<Connection>);

impl Connections {
    /// As [`Connection::to`].
    pub(super) fn to(address: SocketAddr, patience: Duration) -> Self {
        Self((0..CONNECTIONS).map(|_| Connection::to(address, patience)).collect())
    }

    /// One of them, by chance.
    pub(super) fn any(&mut self, dice: &mut Dice) -> Option<&mut Connection> {
        let place = dice.below(self.0.len());
        self.0.get_mut(place)
    }
}
