//! One run from its beginning to its end: clients start, the fault comes and goes, the mesh works again, clients go on,
//! and everything is counted.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::audit::{Audit, audit};
use super::clients::{Load, Pile, Shared, joined};
use super::dice::Dice;
use super::ledger::Ledger;
use super::mesh::Mesh;

/// How long a mesh may take to work again after a fault, on a machine that may be busy.
const WELL_LIMIT: Duration = Duration::from_secs(30);

/// How many requests pile up in front of an Envoy that is frozen.
const PILE: usize = 100;

/// How long the parts of a run take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Before the fault, and once more after its traces should be gone.
    pub calm: Duration,
    /// How long a fault lasts, where the fault itself does not say.
    pub fault: Duration,
    /// How often a part is killed by faults that kill at random moments.
    pub rounds: u32,
    /// How long after its end the fault may still be felt.
    pub traces: Duration,
}

/// What is done to the mesh, from the first harm to the last repair.
pub type Fault = fn(&mut Mesh, &Stage<'_>) -> Result<()>;

/// What a fault may use beside the mesh.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The times of the run.
    pub times: Times,
    shared: &'a Shared,
    piled: Mutex<Ledger>,
}

impl Stage<'_> {
    /// Waits while the clients go on.
    pub fn wait(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Makes a VM of each Envoy trap: the VM of the worker that gets the request.
    pub fn trap(&self) {
        let Some(token) = self.shared.population.live(&mut Dice::new()) else { return };
        for entrance in &self.shared.outside.entrances {
            // Envoy's answer is a bare 503, if the connection lives for it.
            let _ = token.trapping().send(*entrance);
        }
    }

    /// For an Envoy that is frozen until `thaw` is called: requests with dead tokens pile up in front of it, and their
    /// answers are judged.
    pub fn pile_up(&self, envoy: usize, time: Duration, thaw: impl FnOnce()) {
        thread::sleep(time / 2);
        let entrance = self.shared.outside.entrances.get(envoy).copied();
        let pile = entrance.map(|entrance| Pile::send(self.shared, entrance, PILE));
        thread::sleep(time / 2);
        thaw();
        let read = pile.map(|pile| pile.read(self.shared)).unwrap_or_default();
        self.piled.lock().unwrap_or_else(PoisonError::into_inner).add(read);
    }
}

/// The result of a run.
#[derive(Debug, Clone)]
pub struct Played {
    /// All counts.
    pub ledger: Ledger,
    /// When the fault began, and when its traces should be gone.
    pub window: (Duration, Duration),
    /// How long the fault lasted.
    pub fault: Duration,
    /// How long it took after the fault until a token was admitted and logged out everywhere.
    pub recovery: Duration,
    /// The logouts, looked up in the database; only where that was asked for.
    pub audit: Audit,
}

/// Plays a fault in the mesh, which works again afterwards.
///
/// # Errors
/// When the fault cannot be played, or the mesh does not work at the end. The decisions that clients got are no error.
pub fn play(mesh: &mut Mesh, fault: Fault, load: Load, times: Times) -> Result<Played> {
    let (played, _) = run(mesh, fault, load, times)?;
    Ok(played)
}

/// As [`play`]; afterwards Redis is emptied, and every control plane is asked about every logout.
///
/// # Errors
/// As [`play`], and when a control plane gives no verdict.
pub fn play_and_audit(mesh: &mut Mesh, fault: Fault, load: Load, times: Times) -> Result<Played> {
    let (played, shared) = run(mesh, fault, load, times)?;
    mesh.wipe_redis()?;
    Ok(Played { audit: audit(&shared.outside, shared.population)?, ..played })
}

fn run(mesh: &mut Mesh, fault: Fault, load: Load, times: Times) -> Result<(Played, Shared)> {
    let shared = Shared::new(mesh.outside()?, load)?;
    let stage = Stage { times, shared: &shared, piled: Mutex::default() };
    let (played, ledger) = thread::scope(|scope| {
        let clients = shared.begin(scope, load);
        let played = act(mesh, fault, load, &stage);
        shared.end();
        (played, joined(clients))
    });
    let played = played.with_context(|| mesh.output())?;
    let mut sum = stage.piled.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.add(ledger?);
    Ok((Played { ledger: sum, ..played }, shared))
}

/// A calm time, the fault, and a calm time after the mesh works again.
fn act(mesh: &mut Mesh, fault: Fault, load: Load, stage: &Stage<'_>) -> Result<Played> {
    let (shared, times) = (stage.shared, stage.times);
    shared.wait_for_load(times.calm)?;
    let from = shared.clock.now();
    fault(mesh, stage)?;
    let mended = shared.clock.now();
    let recovery = wait_until_well(shared)?;
    let traces_gone = mended + times.traces;
    thread::sleep(traces_gone.saturating_sub(shared.clock.now()));
    shared.wait_for_load(times.calm + load.bound)?;
    let (window, fault) = ((from, traces_gone), mended - from);
    Ok(Played { ledger: Ledger::default(), window, fault, recovery, audit: Audit::default() })
}

fn wait_until_well(shared: &Shared) -> Result<Duration> {
    let began = Instant::now();
    while !shared.outside.is_well() {
        ensure!(began.elapsed() < WELL_LIMIT, "the mesh does not work {WELL_LIMIT:?} after the fault");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(began.elapsed())
}
