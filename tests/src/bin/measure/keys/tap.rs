//! A relay before the control plane's internal listener that notes when an answer with keys has passed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::Result;
use curfew_testbed::ports::loopback;

/// How a call for keys begins on a connection of HTTP/1.1, which carries one call at a time.
const CALL: &[u8] = b"POST /internal/v1/keys ";

const ANY_CALL: &[u8] = b"POST ";

/// More than any part of an answer has.
const PART_BYTES: usize = 64 << 10;

pub(super) struct Tap {
    address: SocketAddr,
    passed: Passed,
}

/// When the last part of an answer with keys has passed.
type Passed = Arc<Mutex<Option<Instant>>>;

impl Tap {
    /// Relays each connection to this address, for as long as the process lives.
    pub(super) fn to(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(loopback(0))?;
        let tap = Self { address: listener.local_addr()?, passed: Passed::default() };
        let passed = Arc::clone(&tap.passed);
        thread::spawn(move || {
            for envoy in listener.incoming().flatten() {
                // A connection that cannot be relayed is closed.
                let _ = relay(envoy, address, &passed);
            }
        });
        Ok(tap)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the time that was noted last.
    pub(super) fn take(&self) -> Option<Instant> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn relay(envoy: TcpStream, address: SocketAddr, passed: &Passed) -> Result<()> {
    let plane = TcpStream::connect(address)?;
    envoy.set_nodelay(true)?;
    plane.set_nodelay(true)?;
    let about_keys = Arc::new(AtomicBool::new(false));
    let (from_envoy, to_plane) = (envoy.try_clone()?, plane.try_clone()?);
    let asked = Arc::clone(&about_keys);
    thread::spawn(move || {
        copy(from_envoy, to_plane, |part| {
            if part.starts_with(ANY_CALL) {
                asked.store(part.starts_with(CALL), Ordering::SeqCst);
            }
        });
    });
    let passed = Arc::clone(passed);
    thread::spawn(move || {
        copy(plane, envoy, |_| {
            if about_keys.load(Ordering::SeqCst) {
                *passed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
        });
    });
    Ok(())
}

/// Passes on what comes until one side closes. `note` sees each part before it is passed on.
fn copy(mut from: TcpStream, mut to: TcpStream, note: impl Fn(&[u8])) {
    let mut part = vec![0; PART_BYTES];
    while let Ok(length @ 1..) = from.read(&mut part) {
        let part = part.get(..length).unwrap_or_default();
        note(part);
        if to.write_all(part).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
