//! A key is replaced by another one while requests come to every worker of two Envoys.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use curfew_testbed::envoy::Envoy;
use curfew_testbed::http::{Request, connect, read_answer};
use curfew_testbed::tokens::{Signer, claims, jwks};

use super::scene::{Scene, WORKERS};

/// Connections to each Envoy for each kind of token: so many that each worker has some of each.
const CONNECTIONS: usize = 12;

/// Between two requests of a connection.
const PAUSE: Duration = Duration::from_millis(10);

/// Between two looks of a client that waits for the new key's publication.
const LOOK: Duration = Duration::from_millis(1);

/// Load before the first rotation. Envoy compiles the module once more while it runs, which takes the processor from the
/// workers for some seconds.
const WARM_UP: Duration = Duration::from_secs(10);

/// Before each rotation, with requests all the while.
const BEFORE: Duration = Duration::from_millis(500);

/// So many refusals of the old token in a row end a client's round, and so many admissions of the new one.
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
    let mut clients = Clients::connect([&scene.stack.envoy, &second.envoy])?;
    let mut rotations = Rotations::default();
    let mut old = scene.first.sign(&claims("alice"))?;
    use_for(&mut clients.of_old, &old, WARM_UP)?;
    println!("{:>5}{:>10}{:>10}{:>10}{:>16}", "round", "refused", "admitted", "answered", "early refusals");
    for round in 0..rounds {
        let signer = Signer::es256(&format!("round-{round}"))?;
        let new = signer.sign(&claims("alice"))?;
        use_for(&mut clients.of_old, &old, BEFORE)?;
        let early = rotate(scene, &mut clients, &signer, [&old, &new], &mut rotations)?;
        let last = |times: &[Duration]| times.last().copied().unwrap_or_default().as_secs_f64() * 1e3;
        let [refused, admitted, answered] =
            [&rotations.refused, &rotations.admitted, &rotations.answered].map(|times| last(times));
        println!("{round:>5}{refused:>10.1}{admitted:>10.1}{answered:>10.1}{early:>16}");
        old = new;
    }
    Ok(rotations)
}

/// Changes the key while the clients send requests. Returns how many requests with the new token were refused.
fn rotate(
    scene: &Scene,
    clients: &mut Clients,
    signer: &Signer,
    [old, new]: [&str; 2],
    rotations: &mut Rotations,
) -> Result<u64> {
    // From here on no client takes the last set's time for that of the next one.
    scene.publisher.forget();
    let (refreshed, of_old, of_new) = thread::scope(|scope| {
        let of_old: Vec<_> =
            clients.of_old.iter_mut().map(|client| scope.spawn(move || client.watch_old(old))).collect();
        let of_new: Vec<_> =
            clients.of_new.iter_mut().map(|client| scope.spawn(move || client.watch_new(scene, new))).collect();
        thread::sleep(BEFORE);
        let refreshed = scene.change_keys(jwks([signer])).map(|()| Instant::now());
        (refreshed, joined(of_old), joined(of_new))
    });
    let (refreshed, of_old, of_new) = (refreshed?, of_old?, of_new?);
    let handed_out = scene.publisher.handed_out().ok_or_else(|| anyhow!("the changed set was not fetched"))?;
    let after = |moment: Instant| moment.saturating_duration_since(handed_out);
    let last_began = of_old.iter().filter_map(|seen| seen.began).max();
    ensure!(last_began.is_none_or(|began| began < refreshed), "admitted by a dropped key after the answer");
    let early = of_new.iter().map(|seen| seen.early_refusals).sum::<u64>();
    rotations.answered.push(after(refreshed));
    rotations.refused.push(of_old.iter().filter_map(|seen| seen.admitted).map(after).max().unwrap_or_default());
    rotations.admitted.push(of_new.iter().filter_map(|seen| seen.admitted).map(after).max().unwrap_or_default());
    rotations.unavailable += of_old.iter().map(|seen| seen.unavailable).sum::<u64>();
    rotations.new_requests += of_new.iter().map(|seen| seen.requests).sum::<u64>();
    rotations.early_refusals += early;
    Ok(early)
}

fn joined<T>(clients: Vec<ScopedJoinHandle<'_, Result<T>>>) -> Result<Vec<T>> {
    clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?).collect()
}

/// The clients at all Envoys. Each has one kind of token: a request with a new token may wait for the new key, and a client that
/// waits for it would send no request that the old key still admits.
struct Clients {
    of_old: Vec<Client>,
    of_new: Vec<Client>,
}

impl Clients {
    fn connect(envoys: [&Envoy; 2]) -> Result<Self> {
        let mut clients = Self { of_old: Vec::new(), of_new: Vec::new() };
        for envoy in envoys {
            let mut before = vec![0; WORKERS as usize];
            for kind in [&mut clients.of_old, &mut clients.of_new] {
                for _ in 0..CONNECTIONS {
                    let mut client = Client::connect(envoy.address())?;
                    // A worker has the connection when it has answered.
                    client.get("")?;
                    kind.push(client);
                }
                let connections = connections(envoy)?;
                let reached = connections.iter().zip(&before).filter(|(now, before)| now > before).count();
                ensure!(reached == WORKERS as usize, "not every worker has a connection: {connections:?}, {before:?}");
                before = connections;
            }
        }
        Ok(clients)
    }
}

/// What a client with an old token has seen of a rotation.
#[derive(Default)]
struct OldSeen {
    /// When the last request that was admitted began, and when it was answered.
    began: Option<Instant>,
    admitted: Option<Instant>,
    unavailable: u64,
}

/// What a client with a new token has seen of a rotation.
#[derive(Default)]
struct NewSeen {
    /// When the token was admitted for the first time after its last refusal.
    admitted: Option<Instant>,
    requests: u64,
    early_refusals: u64,
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

    /// Uses the old token until it is refused.
    fn watch_old(&mut self, token: &str) -> Result<OldSeen> {
        let (mut seen, since, mut refused) = (OldSeen::default(), Instant::now(), 0);
        while refused < ENOUGH {
            ensure!(since.elapsed() < PATIENCE, "{refused} refusals in a row");
            let began = Instant::now();
            match self.get(token)? {
                200 => (seen.began, seen.admitted, refused) = (Some(began), Some(Instant::now()), 0),
                401 => refused += 1,
                _ => seen.unavailable += 1,
            }
            thread::sleep(PAUSE);
        }
        Ok(seen)
    }

    /// Uses the new token, once it is published, until it is admitted.
    fn watch_new(&mut self, scene: &Scene, token: &str) -> Result<NewSeen> {
        let (mut seen, since, mut admitted) = (NewSeen::default(), Instant::now(), 0);
        while admitted < ENOUGH {
            ensure!(since.elapsed() < PATIENCE, "{admitted} admissions in a row");
            if scene.publisher.handed_out().is_none() {
                thread::sleep(LOOK);
                continue;
            }
            seen.requests += 1;
            if self.get(token)? == 200 {
                seen.admitted.get_or_insert_with(Instant::now);
                admitted += 1;
            } else {
                (seen.admitted, admitted) = (None, 0);
                seen.early_refusals += 1;
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

/// How many connections each worker has, by what Envoy itself counts.
fn connections(envoy: &Envoy) -> Result<Vec<u64>> {
    let page = Request::get("/stats?filter=worker_[0-9]+.downstream_cx_active").send(envoy.admin())?.text();
    let of_listeners = page.lines().filter(|line| !line.contains("admin"));
    of_listeners.map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)).collect()
}
