//! One scene from its beginning to its end: clients begin, the fault comes and goes, clients go on, all is counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::clients::{self, Pile, Shared};
use super::dice::Dice;
use super::ledger::Ledger;
use super::mesh::Mesh;
use super::population::{Clock, Population};
use super::scenes::{Outage, Scene};
use crate::tokens::Signer;

/// What clients do.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Tokens in use at any time.
    pub tokens: usize,
    /// Clients that use tokens, at each Envoy.
    pub users: usize,
    /// Clients that log tokens out.
    pub leavers: usize,
    /// Between two requests of a client.
    pub pause: Duration,
    /// Before the fault, and once more after its traces should be gone.
    pub calm: Duration,
}

/// After the end of a fault 503 is no surprise for so long: a lease has to be earned again, by a poll that may just
/// have been put off.
const RECOVERY: Duration = Duration::from_secs(6);

/// What a scene came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The scene's name.
    pub name: &'static str,
    /// All counts.
    pub ledger: Ledger,
    /// 401 or 503 that nothing declared explains.
    pub wrong_refusals: u64,
    /// Requests that reached the protected service.
    pub reached: u64,
    /// How long a logout may have taken.
    pub longest_logout: Option<Duration>,
}

impl Outcome {
    /// Whether some logout took longer than the scene allows.
    pub fn is_late(&self) -> bool {
        self.longest_logout.is_some_and(|longest| self.ledger.slowest_logouts().0 > longest)
    }
}

/// The stage of a scene: what the fault may use beside the mesh.
#[derive(Debug)]
pub struct Stage<'a> {
    shared: &'a Shared,
    piled: Mutex<Ledger>,
}

impl Stage<'_> {
    /// The fault lasts so long, clients go on.
    pub fn wait(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Has a VM of each Envoy trap, on the connection that the request happens to get.
    pub fn trap(&self, mesh: &Mesh) {
        let Some(token) = self.shared.population.alive(&mut Dice::new()) else { return };
        for entrance in mesh.entrances() {
            // Envoy's answer is a bare 503, if the connection lives for it.
            let _ = token.trapping().send(entrance);
        }
    }

    /// The Envoy with this number is frozen until `thaw` is called; requests with tokens that were logged out meanwhile pile up
    /// before it.
    pub fn pile_up(&self, mesh: &Mesh, number: usize, time: Duration, thaw: impl FnOnce()) {
        thread::sleep(time / 2);
        let entrance = mesh.entrances().get(number).copied();
        let pile = entrance.map(|entrance| Pile::send(self.shared, entrance, 100));
        thread::sleep(time / 2);
        thaw();
        let read = pile.map(|pile| pile.read(self.shared)).unwrap_or_default();
        self.piled.lock().unwrap_or_else(PoisonError::into_inner).add(read);
    }
}

/// Plays a scene in the mesh, which is whole again afterwards.
///
/// # Errors
/// When the fault cannot be played, or the mesh is not whole at the end.
pub fn play(mesh: &mut Mesh, scene: &Scene, load: Load) -> Result<Outcome> {
    let population = Population::new(Signer::from_secret(mesh.secret()?), load.tokens)?;
    let shared = Shared { clock: Clock::start(), population, stop: AtomicBool::new(false), pause: load.pause };
    let stage = Stage { shared: &shared, piled: Mutex::default() };
    let (entrances, exits, reached) = (mesh.entrances(), mesh.exits(), mesh.reached());
    let (played, ledgers) = thread::scope(|scope| {
        let users = entrances.iter().flat_map(|entrance| vec![*entrance; load.users]);
        let using = |entrance| {
            let shared = &shared;
            scope.spawn(move || Ok(clients::use_tokens(shared, entrance)))
        };
        let users: Vec<_> = users.map(using).collect();
        let leave = || scope.spawn(|| clients::log_out(&shared, &exits, &entrances, || thread::sleep(load.pause)));
        let leavers: Vec<_> = (0..load.leavers).map(|_| leave()).collect();
        thread::sleep(load.calm);
        let from = shared.clock.now();
        let played = (scene.fault)(mesh, &stage);
        let to = shared.clock.now() + RECOVERY;
        thread::sleep(if scene.outage == Outage::None { load.calm } else { RECOVERY + load.calm });
        shared.stop.store(true, Ordering::SeqCst);
        let ledgers: Vec<_> = users.into_iter().chain(leavers).map(|client| client.join()).collect();
        (played.map(|()| (from, to)), ledgers)
    });
    let window = played?;
    let mut ledger = stage.piled.into_inner().unwrap_or_else(PoisonError::into_inner);
    for client in ledgers {
        ledger.add(client.map_err(|_| anyhow!("a client panicked"))??);
    }
    let declared = (scene.outage == Outage::Declared).then_some(window);
    let undeclared = ledger.undeclared(declared);
    if !undeclared.is_empty() {
        eprintln!("{}: 503 at {undeclared:?}; declared was {declared:?}", scene.name);
    }
    let wrong_refusals = ledger.wrong_refusals + u64::try_from(undeclared.len())?;
    let (reached, longest_logout) = (mesh.reached() - reached, scene.longest_logout);
    Ok(Outcome { name: scene.name, wrong_refusals, reached, longest_logout, ledger })
}
