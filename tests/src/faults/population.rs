//! The tokens of the clients, and what this process knows of each: whether its logout was begun, and when it returned
//! 200.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::dice::Dice;
use super::outside::Outside;
use crate::http::Request;

const NEVER: u64 = u64::MAX;

/// The one clock of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
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
    /// The question that the filter would ask about it.
    pub(super) question: Value,
    text: String,
    begun: AtomicU64,
    returned: AtomicU64,
}

impl Token {
    pub(super) fn new(text: String, question: Value) -> Self {
        let request = Request::get("/orders").bearer(&text).to_open_connection();
        let logout = Request::post("/api/v2/logout").bearer(&text).to_open_connection();
        let [begun, returned] = [AtomicU64::new(NEVER), AtomicU64::new(NEVER)];
        Self { request, logout, question, text, begun, returned }
    }

    /// A request that makes the filter's VM trap, if the filter is built to.
    pub(super) fn trapping(&self) -> Request {
        Request::get("/").header("x-curfew-trap", "headers").bearer(&self.text)
    }

    /// To be called before the first byte of a logout is sent.
    pub(super) fn logout_begins(&self, now: Duration) {
        // Only the first attempt counts: from then on the token may be dead.
        let _ = self.begun.compare_exchange(NEVER, nanoseconds(now), Ordering::SeqCst, Ordering::SeqCst);
    }

    /// To be called after a whole 200 was read.
    pub(super) fn logout_returned(&self, now: Duration) {
        let _ = self.returned.compare_exchange(NEVER, nanoseconds(now), Ordering::SeqCst, Ordering::SeqCst);
    }

    /// When the first logout was begun, and when one returned 200.
    pub(super) fn logout(&self) -> (Option<Duration>, Option<Duration>) {
        let at = |time: &AtomicU64| match time.load(Ordering::SeqCst) {
            NEVER => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        };
        (at(&self.begun), at(&self.returned))
    }

    fn is_dead_at(&self, now: Duration, bound: Duration) -> bool {
        self.logout().1.is_some_and(|returned| returned + bound <= now)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER - 1)
}

/// All tokens in use, and those that were logged out.
#[derive(Debug)]
pub(super) struct Population {
    live: RwLock<Vec<Arc<Token>>>,
    /// In the order of their logouts, except some that returned at nearly the same time.
    dead: RwLock<VecDeque<Arc<Token>>>,
    unconfirmed: Mutex<Vec<Arc<Token>>>,
    remembered: usize,
}

impl Population {
    /// So many tokens in use; of the dead ones the youngest `remembered` are kept.
    pub(super) fn new(outside: &Outside, size: usize, remembered: usize) -> Result<Self> {
        let live = (0..size).map(|_| Ok(Arc::new(outside.token()?))).collect::<Result<Vec<_>>>()?;
        Ok(Self { live: RwLock::new(live), ..Self::empty(remembered) })
    }

    /// Without any token; of the dead ones the youngest `remembered` are kept.
    pub(super) fn empty(remembered: usize) -> Self {
        Self { live: RwLock::default(), dead: RwLock::default(), unconfirmed: Mutex::default(), remembered }
    }

    /// Takes tokens into use.
    pub(super) fn admit(&self, tokens: Vec<Arc<Token>>) {
        self.live.write().unwrap_or_else(PoisonError::into_inner).extend(tokens);
    }

    /// To be called when tokens are dead that have been in use until now.
    pub(super) fn retire(&self, tokens: &[Arc<Token>]) {
        let is_among = |token: &Arc<Token>| tokens.iter().any(|dead| Arc::ptr_eq(dead, token));
        self.live.write().unwrap_or_else(PoisonError::into_inner).retain(|token| !is_among(token));
        tokens.iter().for_each(|token| self.bury(Arc::clone(token)));
    }

    /// A token in use. Another client may begin to log it out at any moment.
    pub(super) fn live(&self, dice: &mut Dice) -> Option<Arc<Token>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.get(dice.below(live.len())).cloned()
    }

    /// A token whose logout returned at least `bound` before `now`, so that it must be refused. Half of the time it is
    /// the youngest, otherwise any of them, more likely a young one.
    pub(super) fn dead(&self, dice: &mut Dice, now: Duration, bound: Duration) -> Option<Arc<Token>> {
        let dead = self.dead.read().unwrap_or_else(PoisonError::into_inner);
        let known = dead.partition_point(|token| token.is_dead_at(now, bound));
        let within = dice.below(known) + 1;
        let back = if dice.flip() { 1 } else { dice.below(within) + 1 };
        // The order is nearly that of the logouts, so look again.
        dead.get(known.checked_sub(back)?).filter(|token| token.is_dead_at(now, bound)).cloned()
    }

    /// The tokens that were logged out last.
    pub(super) fn youngest_dead(&self, count: usize) -> Vec<Arc<Token>> {
        let dead = self.dead.read().unwrap_or_else(PoisonError::into_inner);
        dead.iter().rev().take(count).cloned().collect()
    }

    /// Takes a token out of use, for a logout; a new one takes its place.
    pub(super) fn take(&self, outside: &Outside, dice: &mut Dice) -> Result<Arc<Token>> {
        let new = Arc::new(outside.token()?);
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let place = dice.below(live.len());
        let taken = live.get_mut(place).map(|token| std::mem::replace(token, new));
        taken.ok_or_else(|| anyhow::anyhow!("there are no tokens"))
    }

    /// To be called when the logout of a token has returned 200.
    pub(super) fn bury(&self, token: Arc<Token>) {
        let mut dead = self.dead.write().unwrap_or_else(PoisonError::into_inner);
        if dead.len() >= self.remembered {
            dead.pop_front();
        }
        dead.push_back(token);
    }

    /// To be called for a logout that failed and is not repeated.
    pub(super) fn leave_unconfirmed(&self, token: Arc<Token>) {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner).push(token);
    }

    /// The dead tokens, and those whose logout failed.
    pub(super) fn into_logged_out(self) -> [Vec<Arc<Token>>; 2] {
        let dead = self.dead.into_inner().unwrap_or_else(PoisonError::into_inner);
        [dead.into(), self.unconfirmed.into_inner().unwrap_or_else(PoisonError::into_inner)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn only_tokens_whose_bound_is_over_count_as_dead() {
        let (dead, mut dice) = (RwLock::default(), Dice::new());
        let population = Population { live: RwLock::default(), dead, unconfirmed: Mutex::default(), remembered: 2 };
        for returned in [10, 20, 30] {
            let token = Arc::new(Token::new(returned.to_string(), Value::Null));
            token.logout_begins(at(returned - 1));
            token.logout_returned(at(returned));
            population.bury(token);
        }
        assert_eq!(
            population.youngest_dead(9).iter().map(|token| token.text.as_str()).collect::<Vec<_>>(),
            ["30", "20"]
        );
        assert!(population.dead(&mut dice, at(29), at(10)).is_none());
        for _ in 0..20 {
            assert_eq!(population.dead(&mut dice, at(30), at(10)).unwrap().text, "20");
        }
        let met = (0..200).map(|_| population.dead(&mut dice, at(40), at(10)).unwrap().text.clone());
        assert_eq!(met.collect::<std::collections::BTreeSet<_>>().len(), 2);
    }
}
