//! The clients of a run: some use tokens, some log them out, some try dead tokens. Each has a thread, with a pause
//! between its requests.

mod leaving;
mod pile;
mod rotating;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::connection::{Connection, Connections};
use super::dice::Dice;
use super::keyring::Keyring;
use super::ledger::{Exchange, Ledger, Reply};
use super::outside::{Outside, Verdict};
use super::population::{Clock, Population, Token};

pub(super) use leaving::{leave_until_done, log_one_out_at};
pub(super) use pile::Pile;

/// How long clients wait for an answer: longer than any fault lasts, so that late answers are judged too.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long a client that has just logged out waits for the refusal. Other clients judge answers that come later.
const LOOK: Duration = Duration::from_secs(3);

/// Fewer logouts than this in a calm time are no load.
const ENOUGH: u64 = 20;

/// How long a busy machine may take for that many.
const ENOUGH_LIMIT: Duration = Duration::from_secs(60);

/// How logouts are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// Through an Envoy, each token new; a failed logout is not repeated.
    OnceThroughEnvoy,
    /// At the control planes, of tokens that other clients use; a failed logout is repeated, and after each 200 the
    /// client looks at every Envoy.
    UntilDoneAtControlPlanes,
}

/// What clients do.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Tokens in use at any time.
    pub tokens: usize,
    /// Dead tokens that are still tried: the youngest.
    pub remembered: usize,
    /// Clients at each Envoy that use tokens: every other request is with a dead token.
    pub users: usize,
    /// Clients at each Envoy that use one token each, which is never logged out.
    pub stayers: usize,
    /// Clients at each Envoy that try dead tokens.
    pub ghosts: usize,
    /// Clients for each control plane that ask it about dead tokens.
    pub askers: usize,
    /// Clients at each Envoy that use tokens of keys which one more client changes all the time.
    pub key_users: usize,
    /// Clients that log tokens out: for each Envoy where they go through it, else in all.
    pub leavers: usize,
    /// How they do that.
    pub leaving: Leaving,
    /// Between two requests of a client.
    pub pause: Duration,
    /// How long after the 200 of its logout a token may be admitted.
    pub bound: Duration,
}

impl Load {
    /// Requests with tokens of one population, logouts at the control planes, and keys that change.
    pub const MESH: Self = Self {
        tokens: 500,
        remembered: 4_000,
        users: 2,
        stayers: 0,
        ghosts: 0,
        askers: 0,
        key_users: 1,
        leavers: 8,
        leaving: Leaving::UntilDoneAtControlPlanes,
        pause: Duration::from_millis(5),
        bound: Duration::ZERO,
    };

    /// Every kind of client on its own, with pauses that leave a small machine to the parts that are looked at; all
    /// logouts are remembered for the audit.
    pub const SMALL: Self = Self {
        tokens: 0,
        remembered: usize::MAX,
        users: 0,
        stayers: 2,
        ghosts: 2,
        askers: 1,
        key_users: 0,
        leavers: 4,
        leaving: Leaving::OnceThroughEnvoy,
        pause: Duration::from_millis(10),
        bound: Duration::ZERO,
    };
}

/// What all clients share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) outside: Outside,
    pub(super) clock: Clock,
    pub(super) population: Population,
    /// If keys are to change.
    ring: Option<Keyring>,
    pub(super) pause: Duration,
    bound: Duration,
    over: AtomicBool,
    logouts: AtomicU64,
}

type Client<'scope> = ScopedJoinHandle<'scope, Result<Ledger>>;

impl Shared {
    pub(super) fn new(outside: Outside, load: Load) -> Result<Self> {
        let population = Population::new(&outside, load.tokens, load.remembered)?;
        let (pause, bound, clock) = (load.pause, load.bound, Clock::start());
        let ring = match load.key_users {
            0 => None,
            _ => {
                let issuer = outside.issuer.clone().context("the mesh has no issuer whose keys can change")?;
                Some(Keyring::new(issuer, load.remembered))
            }
        };
        let (over, logouts) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { outside, clock, population, ring, pause, bound, over, logouts })
    }

    /// Starts all clients.
    pub(super) fn begin<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, load: Load) -> Vec<Client<'scope>> {
        let mut clients = Vec::new();
        for entrance in self.outside.entrances.iter().copied() {
            clients.extend((0..load.users).map(|_| scope.spawn(move || Ok(use_tokens(self, entrance)))));
            clients.extend((0..load.stayers).map(|_| scope.spawn(move || stay(self, entrance))));
            clients.extend((0..load.ghosts).map(|_| scope.spawn(move || Ok(haunt(self, entrance)))));
            let leavers = if load.leaving == Leaving::OnceThroughEnvoy { load.leavers } else { 0 };
            clients.extend((0..leavers).map(|_| scope.spawn(move || leaving::leave_once(self, entrance))));
        }
        for plane in 0..self.outside.planes() {
            clients.extend((0..load.askers).map(|_| scope.spawn(move || Ok(ask(self, plane)))));
        }
        if let Some(ring) = &self.ring {
            clients.push(scope.spawn(move || rotating::rotate(self, ring)));
            let entrances = self.outside.entrances.iter().flat_map(|entrance| vec![*entrance; load.key_users]);
            clients.extend(entrances.map(|entrance| scope.spawn(move || Ok(rotating::use_keys(self, ring, entrance)))));
        }
        let leavers = if load.leaving == Leaving::UntilDoneAtControlPlanes { load.leavers } else { 0 };
        let leave = move || leave_until_done(self, &self.outside.entrances, || thread::sleep(self.pause));
        clients.extend((0..leavers).map(|_| scope.spawn(leave)));
        clients
    }

    /// Ends all clients, each after its request.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Lets the clients run for a calm time, and for as long as it takes until they are a load.
    pub(super) fn wait_for_load(&self, calm: Duration) -> Result<()> {
        let (began, before) = (Instant::now(), self.logouts.load(Ordering::SeqCst));
        let enough = || self.logouts.load(Ordering::SeqCst) - before >= ENOUGH;
        while began.elapsed() < calm || !enough() {
            ensure!(began.elapsed() < ENOUGH_LIMIT, "fewer than {ENOUGH} logouts in {ENOUGH_LIMIT:?} without a fault");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }

    fn count_logout(&self) {
        self.logouts.fetch_add(1, Ordering::SeqCst);
    }

    fn ledger(&self) -> Ledger {
        Ledger::with_bound(self.bound)
    }

    fn dead(&self, dice: &mut Dice, bound: Duration) -> Option<Arc<Token>> {
        self.population.dead(dice, self.clock.now(), bound)
    }

    /// One request on a connection.
    fn request(&self, connection: &mut Connection, token: &Token) -> Exchange {
        let opened = connection.open();
        let started = self.clock.now();
        let reply = opened.map_or(Reply::none(), |()| connection.exchange(&token.request));
        self.exchange(started, reply, token)
    }

    /// A request that was sent at `started` and has ended just now, with what is known of its token at its end.
    fn exchange(&self, started: Duration, reply: Reply, token: &Token) -> Exchange {
        let ended = self.clock.now();
        let (logout_begun, logout_returned) = token.logout();
        Exchange { started, ended, reply, logout_begun, logout_returned }
    }
}

/// Waits for all clients and adds up their ledgers.
///
/// # Errors
/// When a client failed.
pub(super) fn joined(clients: Vec<Client<'_>>) -> Result<Ledger> {
    let mut sum = Ledger::default();
    let ledgers: Vec<_> = clients.into_iter().map(ScopedJoinHandle::join).collect();
    for ledger in ledgers {
        sum.add(ledger.map_err(|_| anyhow!("a client panicked"))??);
    }
    Ok(sum)
}

/// Uses tokens at one Envoy: live and dead ones in equal parts.
pub(super) fn use_tokens(shared: &Shared, entrance: SocketAddr) -> Ledger {
    request_on(shared, entrance, Ledger::enter, |dice| {
        let dead = if dice.flip() { shared.dead(dice, shared.bound) } else { None };
        dead.or_else(|| shared.population.live(dice))
    })
}

/// Uses one token, which is never logged out.
fn stay(shared: &Shared, entrance: SocketAddr) -> Result<Ledger> {
    let token = Arc::new(shared.outside.token()?);
    Ok(request_on(shared, entrance, Ledger::enter, |_| Some(token.clone())))
}

/// Tries dead tokens.
fn haunt(shared: &Shared, entrance: SocketAddr) -> Ledger {
    request_on(shared, entrance, Ledger::enter, |dice| shared.dead(dice, shared.bound))
}

/// Sends requests to one Envoy with the tokens that `choose` returns, and enters them, until the run ends.
fn request_on(
    shared: &Shared,
    entrance: SocketAddr,
    enter: impl Fn(&mut Ledger, &Exchange),
    mut choose: impl FnMut(&mut Dice) -> Option<Arc<Token>>,
) -> Ledger {
    let (mut ledger, mut dice) = (shared.ledger(), Dice::new());
    let mut connections = Connections::to(entrance, PATIENCE);
    while shared.goes_on() {
        if let (Some(token), Some(connection)) = (choose(&mut dice), connections.any(&mut dice)) {
            let exchange = shared.request(connection, &token);
            if exchange.reply.status().is_none() {
                // Perhaps nothing listens: no reason to spin.
                thread::sleep(Duration::from_millis(20));
            }
            enter(&mut ledger, &exchange);
        }
        thread::sleep(shared.pause);
    }
    ledger
}

/// Asks one control plane about tokens that it must know to be dead.
fn ask(shared: &Shared, plane: usize) -> Ledger {
    let (mut ledger, mut dice) = (shared.ledger(), Dice::new());
    while shared.goes_on() {
        if let Some(token) = shared.dead(&mut dice, Duration::ZERO) {
            let started = shared.clock.now();
            let (reply, verdict) = shared.outside.check(plane, &token.question);
            let exchange = shared.exchange(started, reply, &token);
            ledger.enter_check(plane, &exchange, verdict == Verdict::Active);
        }
        thread::sleep(shared.pause);
    }
    ledger
}

/// Uses a token on one connection until it is refused: when the last request began that was admitted.
///
/// # Errors
/// When there was an answer of another kind, or none.
pub(super) fn use_until_refused(shared: &Shared, entrance: SocketAddr, token: &Token) -> Result<Duration> {
    let mut connection = Connection::to(entrance, PATIENCE);
    let mut last = Duration::ZERO;
    loop {
        let exchange = shared.request(&mut connection, token);
        match exchange.reply.status() {
            Some(200) => last = exchange.started,
            Some(401) => return Ok(last),
            _ => bail!("a request got {}", exchange.reply),
        }
        if !shared.goes_on() && exchange.logout_begun.is_none() {
            bail!("the logout was never begun");
        }
    }
}
