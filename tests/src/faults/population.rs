//! The tokens of the clients, and what this process knows of each: whether its logout was begun, and when it returned 200.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::dice::Dice;
use crate::http::Request;
use crate::tokens::{Signer, claims};

/// Tokens whose logout returned 200 and that are still tried: the youngest.
const REMEMBERED: usize = 4_000;

const NEVER: u64 = u64::MAX;

/// The one clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Since the start.
    pub(super) fn now(self) -> Duration {
        self.0.elapsed()
    }
}

/// One token.
#[derive(Debug)]
pub(super) struct Token {
    /// A request with it, as bytes.
    pub(super) request: Vec<u8>,
    /// Its logout, as bytes.
    pub(super) logout: Vec<u8>,
    text: String,
    begun: AtomicU64,
    done: AtomicU64,
}

impl Token {
    fn new(text: String) -> Self {
        let request = Request::get("/").bearer(&text).to_open_connection();
        let logout = Request::post("/api/v2/logout").bearer(&text).to_open_connection();
        Self { request, logout, text, begun: AtomicU64::new(NEVER), done: AtomicU64::new(NEVER) }
    }

    /// A request that has the filter's VM trap, if it is built to.
    pub(super) fn trapping(&self) -> Request {
        Request::get("/").header("x-curfew-trap", "headers").bearer(&self.text)
    }

    /// To be called before the first byte of a logout is sent.
    pub(super) fn logout_begins(&self, now: Duration) {
        // The first attempt counts: from it on nobody knows.
        let _ = self.begun.compare_exchange(NEVER, nanoseconds(now), Ordering::SeqCst, Ordering::SeqCst);
    }

    /// To be called after a whole 200 was read.
    pub(super) fn logout_returned(&self, now: Duration) {
        let _ = self.done.compare_exchange(NEVER, nanoseconds(now), Ordering::SeqCst, Ordering::SeqCst);
    }

    /// When a logout was begun first, and when one returned 200.
    pub(super) fn logout(&self) -> (Option<Duration>, Option<Duration>) {
        let at = |time: &AtomicU64| match time.load(Ordering::SeqCst) {
            NEVER => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        };
        (at(&self.begun), at(&self.done))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER - 1)
}

/// All tokens in use, and those that were logged out last.
#[derive(Debug)]
pub(super) struct Population {
    signer: Signer,
    alive: RwLock<Vec<Arc<Token>>>,
    dead: Mutex<VecDeque<Arc<Token>>>,
}

impl Population {
    pub(super) fn new(signer: Signer, size: usize) -> Result<Self> {
        let alive = (0..size).map(|_| token(&signer)).collect::<Result<Vec<_>>>()?;
        Ok(Self { signer, alive: RwLock::new(alive), dead: Mutex::default() })
    }

    /// A token that nobody has begun to log out, as far as the one who asks can tell.
    pub(super) fn alive(&self, dice: &mut Dice) -> Option<Arc<Token>> {
        let alive = self.alive.read().unwrap_or_else(PoisonError::into_inner);
        alive.get(dice.below(alive.len())).cloned()
    }

    /// One that was logged out, more likely a young one.
    pub(super) fn dead(&self, dice: &mut Dice) -> Option<Arc<Token>> {
        let dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        let within = dice.below(dead.len()) + 1;
        let back = dice.below(within) + 1;
        dead.len().checked_sub(back).and_then(|place| dead.get(place)).cloned()
    }

    /// The youngest that were logged out.
    pub(super) fn youngest_dead(&self, count: usize) -> Vec<Arc<Token>> {
        let dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.iter().rev().take(count).cloned().collect()
    }

    /// Takes a token out of use, for a logout; a new one takes its place.
    pub(super) fn take(&self, dice: &mut Dice) -> Result<Arc<Token>> {
        let new = token(&self.signer)?;
        let mut alive = self.alive.write().unwrap_or_else(PoisonError::into_inner);
        let place = dice.below(alive.len());
        let taken = alive.get_mut(place).map(|token| std::mem::replace(token, new));
        taken.ok_or_else(|| anyhow::anyhow!("there are no tokens"))
    }

    /// The logout of a token has returned 200.
    pub(super) fn bury(&self, token: Arc<Token>) {
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        if dead.len() >= REMEMBERED {
            dead.pop_front();
        }
        dead.push_back(token);
    }
}

fn token(signer: &Signer) -> Result<Arc<Token>> {
    Ok(Arc::new(Token::new(signer.sign(&claims("alice"))?)))
}
