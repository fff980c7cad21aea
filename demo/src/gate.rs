//! A gate between Envoy and the control plane: closed, it holds every byte; open, it passes them on.
//!
//! It makes an answer late without making it wrong, which is how a control plane on a busy machine looks to the filter.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

use crate::ports::loopback;

/// A forwarder that can hold what passes through it. Its threads end with the process.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    door: Arc<Door>,
}

#[derive(Debug, Default)]
struct Door {
    closed: Mutex<bool>,
    moved: Condvar,
}

impl Door {
    fn set_closed(&self, closed: bool) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = closed;
        self.moved.notify_all();
    }

    fn wait_until_open(&self) {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.moved.wait_while(closed, |closed| *closed));
    }
}

impl Gate {
    /// An open gate in front of `target`.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(loopback(0))?;
        let address = listener.local_addr()?;
        let door = Arc::new(Door::default());
        let shared = door.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A target that is down closes the connection, as it would without the gate.
                if let Ok(server) = TcpStream::connect(target) {
                    let _ = join(client, server, &shared);
                }
            }
        });
        Ok(Self { address, door })
    }

    /// Where to connect instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds everything from now on.
    pub fn close(&self) {
        self.door.set_closed(true);
    }

    /// Passes on what was held, and everything after it.
    pub fn open(&self) {
        self.door.set_closed(false);
    }
}

fn join(client: TcpStream, server: TcpStream, door: &Arc<Door>) -> Result<()> {
    forward(client.try_clone()?, server.try_clone()?, door.clone());
    forward(server, client, door.clone());
    Ok(())
}

fn forward(mut from: TcpStream, mut to: TcpStream, door: Arc<Door>) {
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            door.wait_until_open();
            if buffer.get(..length).is_none_or(|bytes| to.write_all(bytes).is_err()) {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
