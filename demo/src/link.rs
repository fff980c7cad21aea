//! A link that can fail: forwards TCP to a server, late, not at all, or with a reset.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::ports::loopback;

/// Chunks under way in one direction of one connection. With this many under way, a sender has to wait.
const IN_FLIGHT: usize = 1024;

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Answers,
}

#[derive(Clone, Copy, Debug, Default)]
struct Way {
    delay: Duration,
    held: bool,
}

#[derive(Debug, Default)]
struct State {
    requests: Way,
    answers: Way,
    /// The percentage of chunks that are lost on the way and sent again.
    loss: u32,
    cut: bool,
    connections: Vec<TcpStream>,
}

impl State {
    fn way(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::Requests => &mut self.requests,
            Direction::Answers => &mut self.answers,
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until a chunk that came in at `arrived` may go out.
    fn wait_until_due(&self, direction: Direction, arrived: Instant) {
        let mut state = self.lock();
        let again = retransmissions(state.loss);
        loop {
            let way = *state.way(direction);
            let left = (arrived + way.delay + again).saturating_duration_since(Instant::now());
            if state.cut || (!way.held && left.is_zero()) {
                return;
            }
            let left = if way.held { Duration::from_secs(3600) } else { left };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A forwarder between a client and a server. Its threads end with the process.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Link {
    /// A forwarder to `target`, without a fault.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(loopback(0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = shared.clone();
                let _ = accept(client, target, &shared);
            }
        });
        Ok(Self { address, shared: own })
    }

    /// Where to connect instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, everything that goes this way arrives that much later. The rate stays the same.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.shared.change(|state| state.way(direction).delay = delay);
    }

    /// From now on, nothing arrives this way, as when packets are dropped: connections stay, and everything that was
    /// sent arrives once the link is mended. With both ways held the server is a black hole, to new connections too.
    pub fn hold(&self, direction: Direction) {
        self.shared.change(|state| state.way(direction).held = true);
    }

    /// As [`Self::hold`], both ways: an answer comes late without being wrong, as from a control plane on a busy
    /// machine.
    pub fn hold_all(&self) {
        self.shared.change(|state| [Direction::Requests, Direction::Answers].map(|way| state.way(way).held = true));
    }

    /// From now on, `percent` of all chunks are lost, some of them several times. A program that uses TCP sees them
    /// late, and everything that was sent after them.
    pub fn lose(&self, percent: u32) {
        self.shared.change(|state| state.loss = percent);
    }

    /// Resets every connection, and each new one at once.
    pub fn cut(&self) {
        self.shared.change(|state| {
            state.cut = true;
            state.connections.drain(..).for_each(reset);
        });
    }

    /// Ends all faults. Connections that were reset stay reset.
    pub fn mend(&self) {
        self.shared.change(|state| {
            let connections = std::mem::take(&mut state.connections);
            *state = State { connections, ..State::default() };
        });
    }
}

/// The delay of a chunk that may be lost several times. The sender waits for Linux's shortest retransmission timeout,
/// and twice as long each further time.
fn retransmissions(percent: u32) -> Duration {
    let mut sum = Duration::ZERO;
    let mut timeout = Duration::from_millis(200);
    while sum < Duration::from_secs(3) && RandomState::new().build_hasher().finish() % 100 < u64::from(percent) {
        sum += timeout;
        timeout *= 2;
    }
    sum
}

fn accept(client: TcpStream, target: SocketAddr, shared: &Arc<Shared>) -> Result<()> {
    if shared.lock().cut {
        reset(client);
        return Ok(());
    }
    // If the target is down, the client's connection is closed at once.
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    shared.lock().connections.extend([client.try_clone()?, server.try_clone()?]);
    forward(client.try_clone()?, server.try_clone()?, Direction::Requests, shared);
    forward(server, client, Direction::Answers, shared);
    Ok(())
}

/// Closes with RST instead of FIN. The other copies of the socket are closed by it too.
fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

fn forward(from: TcpStream, to: TcpStream, direction: Direction, shared: &Arc<Shared>) {
    let (sender, receiver) = sync_channel(IN_FLIGHT);
    let shared = shared.clone();
    thread::spawn(move || read(from, &sender));
    thread::spawn(move || write(to, &receiver, direction, &shared));
}

fn read(mut from: TcpStream, sender: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let chunk = buffer.get(..length).unwrap_or_default().to_vec();
        if sender.send((Instant::now(), chunk)).is_err() {
            return;
        }
    }
}

fn write(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>, direction: Direction, shared: &Shared) {
    for (arrived, chunk) in receiver {
        shared.wait_until_due(direction, arrived);
        if to.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
