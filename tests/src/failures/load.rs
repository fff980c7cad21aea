//! The load of a story: clients that log in and out, clients that stay, and tokens that should be dead.
//!
//! Each kind has threads of its own with a pause between its requests, which leaves a small machine to the parts that
//! are looked at. A request that must be refused is sent only when the promise says so at the time of its sending.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::chance;
use super::front::{Front, Verdict};
use super::seen::{Phase, Seen, Spell};

/// Clients that log in, use their token once and log out.
const LEAVERS: usize = 4;

/// Clients that use one token all the time.
const STAYERS: usize = 2;

/// Those who try what was logged out, through Envoy.
const GHOSTS: usize = 2;

const PAUSE: Duration = Duration::from_millis(10);

/// Fewer logouts than this in a calm time are no load.
const ENOUGH: u64 = 20;

/// How long a busy machine may take for that many.
const ENOUGH_LIMIT: Duration = Duration::from_secs(60);

/// What a logout is told that was carried out already: by an attempt whose answer got lost, which Envoy repeated.
const ALREADY: &str = "401 token_revoked";

/// A token whose logout was answered.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) token: String,
    pub(super) question: Value,
    /// When the answer had come.
    pub(super) at: Instant,
}

/// The load, and what it saw.
#[derive(Debug)]
pub(super) struct Load<'a> {
    front: &'a Front,
    seen: Mutex<Seen>,
    /// Told to be dead, in the order of the answers.
    dead: RwLock<Vec<Left>>,
    /// Logouts that were answered in another way.
    untold: Mutex<Vec<Left>>,
    phase: Mutex<Phase>,
    over: AtomicBool,
}

/// What is left of it.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) seen: Seen,
    pub(super) dead: Vec<Left>,
    pub(super) untold: Vec<Left>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Load<'a> {
    pub(super) fn new(front: &'a Front) -> Self {
        Self {
            front,
            seen: Mutex::default(),
            dead: RwLock::default(),
            untold: Mutex::default(),
            phase: Mutex::new(Phase::Before),
            over: AtomicBool::new(false),
        }
    }

    /// Starts all clients.
    pub(super) fn begin<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        for number in 0..LEAVERS {
            scope.spawn(move || self.leave(&format!("leaver-{number}")));
        }
        for number in 0..STAYERS {
            scope.spawn(move || self.stay(&format!("stayer-{number}")));
        }
        for _ in 0..GHOSTS {
            scope.spawn(|| self.haunt());
        }
        for plane in 0..self.front.planes() {
            scope.spawn(move || self.ask(plane));
        }
    }

    /// Ends all clients, each after its request.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) fn into_ended(self) -> Ended {
        let seen = self.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        let dead = self.dead.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ended { seen, dead, untold: self.untold.into_inner().unwrap_or_else(PoisonError::into_inner) }
    }

    pub(super) fn enter(&self, phase: Phase) {
        *lock(&self.phase) = phase;
    }

    /// Lets the load run for a calm time, and for as long as it takes to be a load.
    pub(super) fn wait_for(&self, phase: Phase, calm: Duration) -> Result<()> {
        let began = Instant::now();
        let enough = || {
            let [before, after] = lock(&self.seen).calm_logouts;
            ENOUGH <= if phase == Phase::Before { before } else { after }
        };
        while began.elapsed() < calm || !enough() {
            ensure!(began.elapsed() < ENOUGH_LIMIT, "fewer than {ENOUGH} logouts in {ENOUGH_LIMIT:?}, phase {phase:?}");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn runs(&self) -> bool {
        thread::sleep(PAUSE);
        !self.over.load(Ordering::Relaxed)
    }

    fn phase(&self) -> Phase {
        *lock(&self.phase)
    }

    /// Logs in, comes, and leaves, again and again.
    fn leave(&self, user: &str) {
        let mut spell = Spell::default();
        while self.runs() {
            let Ok(token) = self.front.token(user) else { return };
            let Ok(question) = self.front.question(&token) else { return };
            let told = self.front.use_token(&token);
            lock(&self.seen).good(&told, &mut spell);
            let phase = self.phase();
            let told = self.front.log_out(&token);
            lock(&self.seen).logout(phase, &told);
            let left = Left { token, question, at: told.ended };
            if told.is_ok() || told.answer == ALREADY {
                self.dead.write().unwrap_or_else(PoisonError::into_inner).push(left);
            } else {
                lock(&self.untold).push(left);
            }
        }
    }

    /// Uses one token, which nobody logs out.
    fn stay(&self, user: &str) {
        let Ok(token) = self.front.token(user) else { return };
        let mut spell = Spell::default();
        while self.runs() {
            let told = self.front.use_token(&token);
            lock(&self.seen).good(&told, &mut spell);
        }
    }

    /// Tries tokens that are dead by the promise.
    fn haunt(&self) {
        let mut newest = false;
        while self.runs() {
            newest = !newest;
            let Some(left) = self.dead_for(self.front.promise.bound, newest) else { continue };
            let phase = self.phase();
            let told = self.front.use_token(&left.token);
            let mut seen = lock(&self.seen);
            seen.dead.add(&told);
            if told.is_ok() {
                seen.wrong("admitted by Envoy", told.began - left.at, phase);
            }
        }
    }

    /// Asks a control plane about tokens that it must know to be dead.
    fn ask(&self, plane: usize) {
        let mut newest = false;
        while self.runs() {
            newest = !newest;
            let Some(left) = self.dead_for(Duration::ZERO, newest) else { continue };
            let phase = self.phase();
            let (told, verdict) = self.front.check(plane, &left.question);
            let mut seen = lock(&self.seen);
            seen.checks.add(&told);
            if verdict == Verdict::Active {
                seen.wrong(&format!("called active by control plane {plane}"), told.began - left.at, phase);
            }
        }
    }

    /// A token that was logged out so long ago: the newest one, or any.
    fn dead_for(&self, bound: Duration, newest: bool) -> Option<Left> {
        let dead = self.dead.read().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // Answers are pushed a moment after they came, so the order is nearly theirs: look again below.
        let known = dead.partition_point(|left| left.at + bound <= now);
        let place = if newest { known.checked_sub(1) } else { chance::place(known) };
        dead.get(place?).filter(|left| left.at + bound <= now).cloned()
    }
}
