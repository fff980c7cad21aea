//! A key is replaced by another one while requests come to every worker of two Envoys.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use curfew_testbed::envoy::Envoy;
use curfew_testbed::http::{Request, connect, read_answer};
use curfew_testbed::tokens::{Signer, claims, jwks};

use super::scene::{Scene, WORKERS};

/// Connections to each Envoy: so many that each worker has some.
const CONNECTIONS: usize = 12;

/// Between two requests of a connection.
const PAUSE: Duration = Duration::from_millis(10);

/// Load before the first rotation. Envoy compiles the module once more while it runs, which takes the processor from the
/// workers for some seconds.
const WARM_UP: Duration = Duration::from_secs(10);

/// Before each rotation, with requests all the while.
const BEFORE: Duration = Duration::from_millis(500);

/// So many refusals of the old token in a row, and admissions of the new one, end a round.
const ENOUGH: u32 = 20;

const PATIENCE: Duration = Duration::from_secs(15);

/// The times of all rounds.
#[derive(Default)]
pub(super) struct Rotations {
    pub(super) refused: Vec<Duration>,
    pub(super) admitted: Vec<Duration>,
    pub(super) answered: Vec<Duration>,
    /// Requests with a token of a new key.
    pub(super) new_requests: u64,
    /// Those of them that were refused.
    pub(super) early_refusals: u64,
    /// Requests with an old token that got neither 200 nor 401.
    pub(super) unavailable: u64,
}

pub(super) fn measure(scene: &Scene, rounds: usize) -> Result<Rotations> {
    let second = scene.another(scene.stack.control_plane.internal(), |_| {})?;
    let envoys = [&scene.stack.envoy, &second.envoy];
    let mut clients = Vec::new();
    for envoy in envoys {
        for _ in 0..CONNECTIONS {
            clients.push(Client::connect(envoy.address())?);
        }
    }
    let mut rotations = Rotations::default();
    let mut old = scene.first.sign(&claims("alice"))?;
    use_for(&mut clients, &old, WARM_UP)?;
    for envoy in envoys {
        ensure_all_workers_are_reached(envoy)?;
    }
    for round in 0..rounds {
        let signer = Signer::es256(&format!("round-{round}"))?;
        let new = signer.sign(&claims("alice"))?;
        use_for(&mut clients, &old, BEFORE)?;
        rotate(scene, &mut clients, &signer, [&old, &new], &mut rotations)?;
        old = new;
    }
    Ok(rotations)
}

fn rotate(
    scene: &Scene,
    clients: &mut [Client],
    signer: &Signer,
    [old, new]: [&str; 2],
    rotations: &mut Rotations,
) -> Result<()> {
    // From here on no client takes the last set's time for that of the next one.
    scene.publisher.forget();
    let (refreshed, seen) = thread::scope(|scope| {
        let clients: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(move || client.watch(scene, old, new))).collect();
        thread::sleep(BEFORE);
        let refreshed = scene.change_keys(jwks([signer])).map(|()| Instant::now());
        let seen = clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?);
        (refreshed, seen.collect::<Result<Vec<_>>>())
    });
    let (refreshed, seen) = (refreshed?, seen?);
    let handed_out = scene.publisher.handed_out().ok_or_else(|| anyhow!("the changed set was not fetched"))?;
    let after = |moment: Instant| moment.saturating_duration_since(handed_out);
    let last_began = seen.iter().filter_map(|seen| seen.old_began).max();
    ensure!(last_began.is_none_or(|began| began < refreshed), "admitted by a dropped key after the answer");
    rotations.answered.push(after(refreshed));
    rotations.refused.push(seen.iter().filter_map(|seen| seen.old_admitted).map(after).max().unwrap_or_default());
    rotations.admitted.push(seen.iter().filter_map(|seen| seen.new_admitted).map(after).max().unwrap_or_default());
    rotations.new_requests += seen.iter().map(|seen| seen.new_requests).sum::<u64>();
    rotations.early_refusals += seen.iter().map(|seen| seen.early_refusals).sum::<u64>();
    rotations.unavailable += seen.iter().map(|seen| seen.unavailable).sum::<u64>();
    Ok(())
}

/// What one client has seen of a rotation.
#[derive(Default)]
struct Seen {
    /// When the last request with the old token that was admitted began, and when it was answered.
    old_began: Option<Instant>,
    old_admitted: Option<Instant>,
    /// When the new token was admitted for the first time after its last refusal.
    new_admitted: Option<Instant>,
    new_requests: u64,
    early_refusals: u64,
    unavailable: u64,
}

/// A connection that stays open, and so stays with one worker.
struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(stream.try_clone()?), stream })
    }

    fn get(&mut self, token: &str) -> Result<u16> {
        self.stream.write_all(&Request::get("/orders").bearer(token).to_open_connection())?;
        Ok(read_answer(&mut self.reader, "GET")?.status)
    }

    /// Uses the old token, and the new one once it is published, until the one is refused and the other is admitted.
    fn watch(&mut self, scene: &Scene, old: &str, new: &str) -> Result<Seen> {
        let (mut seen, began, mut refused, mut admitted) = (Seen::default(), Instant::now(), 0, 0);
        while refused < ENOUGH || admitted < ENOUGH {
            ensure!(began.elapsed() < PATIENCE, "{refused} refusals and {admitted} admissions in a row");
            let before = Instant::now();
            match self.get(old)? {
                200 => (seen.old_began, seen.old_admitted, refused) = (Some(before), Some(Instant::now()), 0),
                401 => refused += 1,
                _ => seen.unavailable += 1,
            }
            if scene.publisher.handed_out().is_some() {
                seen.new_requests += 1;
                if self.get(new)? == 200 {
                    seen.new_admitted.get_or_insert_with(Instant::now);
                    admitted += 1;
                } else {
                    (seen.new_admitted, admitted) = (None, 0);
                    seen.early_refusals += 1;
                }
            }
            thread::sleep(PAUSE);
        }
        Ok(seen)
    }
}

/// All clients use a token that is to be admitted.
fn use_for(clients: &mut [Client], token: &str, time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    thread::scope(|scope| {
        let using = |client| {
            scope.spawn(move || {
                let client: &mut Client = client;
                while Instant::now() < until {
                    let status = client.get(token)?;
                    ensure!(status == 200, "a good token got {status}");
                    thread::sleep(PAUSE);
                }
                Ok(())
            })
        };
        let clients: Vec<_> = clients.iter_mut().map(using).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
    })
}

/// Each worker has connections, by what Envoy itself counts for each.
fn ensure_all_workers_are_reached(envoy: &Envoy) -> Result<()> {
    let page = Request::get("/stats?filter=worker_[0-9]+.downstream_cx_active").send(envoy.admin())?.text();
    let of_listeners = page.lines().filter(|line| !line.contains("admin"));
    let reached = of_listeners.filter(|line| !line.ends_with(": 0")).count();
    ensure!(reached == WORKERS as usize, "not every worker has a connection:\n{page}");
    Ok(())
}
