//! Questions to the control plane: which are under way, who waits for them, and which answers are still good.
//!
//! One question per token however many requests wait for it. It belongs to the VM and not to the request that caused
//! it, so a client that goes away takes nobody else's answer along.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use curfew_core::RevocationKey;
use curfew_core::wire::CheckVerdict;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::gate::Now;
use crate::proofs::Facts;

/// The host's name for a request's stream.
pub type StreamId = u32;

/// The host's name for a callout.
pub type CallId = u32;

/// What an answer costs: key, value, two table slots.
const ANSWER_BYTES: u64 = 96;

/// A question without an answer is taken for lost when the host should have reported its timeout this many times over.
/// That never happens by the host's rules; it keeps one lost callback from barring a token for ever.
const LOST_AFTER_TIMEOUTS: u32 = 4;

/// The answers that are known and the questions that are under way.
pub struct Checks {
    answers: Cache<RevocationKey, Answer, ByCount>,
    pending: HashMap<RevocationKey, Pending>,
    calls: HashMap<CallId, RevocationKey>,
    waiting: HashMap<StreamId, RevocationKey>,
    max_staleness: Duration,
    lost_after: Duration,
}

/// What is known about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Good until this monotonic time.
    Active { until: Duration },
    /// For ever; it is dropped when it would need the space, and then asked again.
    Revoked,
}

#[derive(Clone)]
struct ByCount;

impl Weighter<RevocationKey, Answer> for ByCount {
    fn weight(&self, _: &RevocationKey, _: &Answer) -> u64 {
        ANSWER_BYTES
    }
}

/// A question under way.
struct Pending {
    facts: Rc<Facts>,
    sent_at: Duration,
    call: Option<CallId>,
    waiters: Vec<Waiter>,
}

#[derive(Clone, Copy)]
struct Waiter {
    stream: StreamId,
    arrived_at: Duration,
}

/// What a request finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A good answer.
    Known(CheckVerdict),
    /// Nobody has asked: ask now. The request waits.
    Ask,
    /// Somebody has asked: the request waits with the others.
    Joined,
}

/// What became of those who waited for an answer.
#[derive(Default)]
pub struct Settled {
    /// Each may be decided now.
    pub streams: Vec<StreamId>,
    /// The answer for them; `None` if there was none.
    pub verdict: Option<CheckVerdict>,
    /// The answer was too old for some: ask again, for them.
    pub ask_again: Option<Rc<Facts>>,
}

impl Checks {
    /// No answers yet, within a budget of bytes. `max_staleness` bounds an "active" answer's life from the sending of
    /// its question; `timeout` is the callouts' own.
    pub fn new(budget: u64, max_staleness: Duration, timeout: Duration) -> Self {
        let entries = usize::try_from(budget / ANSWER_BYTES).unwrap_or(usize::MAX);
        Self {
            answers: Cache::with_weighter(entries, budget, ByCount),
            pending: HashMap::new(),
            calls: HashMap::new(),
            waiting: HashMap::new(),
            max_staleness,
            lost_after: timeout.saturating_mul(LOST_AFTER_TIMEOUTS),
        }
    }

    /// Looks for an answer about a proven token, or makes `stream` wait for one.
    pub fn look(&mut self, facts: &Rc<Facts>, stream: StreamId, now: Now) -> Found {
        let token = facts.check.token;
        match self.answers.get(&token) {
            Some(Answer::Revoked) => return Found::Known(CheckVerdict::Revoked),
            Some(Answer::Active { until }) if now.monotonic < *until => return Found::Known(CheckVerdict::Active),
            _ => {}
        }
        let waiter = Waiter { stream, arrived_at: now.monotonic };
        self.waiting.insert(stream, token);
        match self.pending.get_mut(&token) {
            Some(pending) if now.monotonic.saturating_sub(pending.sent_at) <= self.lost_after => {
                pending.waiters.push(waiter);
                Found::Joined
            }
            _ => {
                self.ask(facts, vec![waiter], now);
                Found::Ask
            }
        }
    }

    /// Opens a question; whoever waited for a lost one waits for this one instead.
    fn ask(&mut self, facts: &Rc<Facts>, mut waiters: Vec<Waiter>, now: Now) {
        let token = facts.check.token;
        if let Some(lost) = self.pending.remove(&token) {
            lost.call.and_then(|call| self.calls.remove(&call));
            waiters.extend(lost.waiters);
        }
        let pending = Pending { facts: Rc::clone(facts), sent_at: now.monotonic, call: None, waiters };
        self.pending.insert(token, pending);
    }

    /// The host took the question and will report under this name.
    pub fn sent(&mut self, token: RevocationKey, call: CallId) {
        if let Some(pending) = self.pending.get_mut(&token) {
            pending.call = Some(call);
            self.calls.insert(call, token);
        }
    }

    /// The host did not take the question.
    pub fn not_sent(&mut self, token: RevocationKey) -> Settled {
        let pending = self.pending.remove(&token);
        pending.map_or_else(Settled::default, |pending| self.settle(pending.waiters, None))
    }

    /// The host reports the end of a callout: an answer, or none that could be used. A callout that nobody knows (any
    /// more) settles nothing.
    pub fn answered(&mut self, call: CallId, verdict: Option<CheckVerdict>, now: Now) -> Settled {
        let token = self.calls.remove(&call);
        let Some(pending) = token.and_then(|token| self.pending.remove(&token)) else {
            return Settled::default();
        };
        let until = pending.sent_at.saturating_add(self.max_staleness);
        let answer = match verdict {
            Some(CheckVerdict::Active) if now.monotonic < until => Some(Answer::Active { until }),
            Some(CheckVerdict::Revoked) => Some(Answer::Revoked),
            _ => None,
        };
        if let Some(answer) = answer {
            self.answers.insert(pending.facts.check.token, answer);
        }
        // Whoever was there before the question was sent is served by any answer. Who came later is served only while
        // the answer is good for newcomers: an "active" from before a logout must not admit a request from after it.
        let fresh = verdict != Some(CheckVerdict::Active) || now.monotonic < until;
        let (served, late): (Vec<_>, Vec<_>) =
            pending.waiters.iter().copied().partition(|waiter| fresh || waiter.arrived_at <= pending.sent_at);
        let mut settled = self.settle(served, verdict);
        if !late.is_empty() {
            self.ask(&pending.facts, late, now);
            settled.ask_again = Some(pending.facts);
        }
        settled
    }

    fn settle(&mut self, waiters: Vec<Waiter>, verdict: Option<CheckVerdict>) -> Settled {
        let streams: Vec<_> = waiters.into_iter().map(|waiter| waiter.stream).collect();
        for stream in &streams {
            self.waiting.remove(stream);
        }
        Settled { streams, verdict, ask_again: None }
    }

    /// The stream is gone. Its question goes on: the answer is good for others and for the cache.
    pub fn forget(&mut self, stream: StreamId) {
        let token = self.waiting.remove(&stream);
        if let Some(pending) = token.and_then(|token| self.pending.get_mut(&token)) {
            pending.waiters.retain(|waiter| waiter.stream != stream);
        }
    }

    /// Whether a question is under way as this callout.
    pub fn asked(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    /// How many streams wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The bytes that answers use, as the budget counts them.
    pub fn bytes(&self) -> u64 {
        self.answers.weight()
    }
}

#[cfg(test)]
mod tests {
    use curfew_core::wire::CheckRequest;
    use curfew_core::{Keyspace, Times};

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(500);

    fn facts(byte: u8) -> Rc<Facts> {
        Rc::new(Facts {
            check: CheckRequest {
                keyspace: Keyspace::from_bytes([0; 16]),
                token: RevocationKey::from_bytes([byte; 16]),
                jti: None,
                session: None,
                subject: None,
                issued_at: None,
            },
            times: Times { issued_at: None, cutoff_time: None, not_before: None, expires_at: 1 },
            identity: Vec::new(),
        })
    }

    fn at(milliseconds: u64) -> Now {
        Now { monotonic: Duration::from_millis(milliseconds), unix: 0 }
    }

    fn checks() -> Checks {
        Checks::new(1 << 20, Duration::from_secs(5), TIMEOUT)
    }

    fn asked(checks: &mut Checks, facts: &Rc<Facts>, stream: StreamId, call: CallId, now: Now) {
        assert_eq!(checks.look(facts, stream, now), Found::Ask);
        checks.sent(facts.check.token, call);
    }

    #[test]
    fn an_active_answer_is_good_from_the_sending_of_its_question() {
        let (mut checks, facts) = (checks(), facts(1));
        asked(&mut checks, &facts, 1, 7, at(0));
        let settled = checks.answered(7, Some(CheckVerdict::Active), at(400));
        assert_eq!((settled.streams, settled.verdict), (vec![1], Some(CheckVerdict::Active)));
        assert_eq!(checks.look(&facts, 2, at(4_999)), Found::Known(CheckVerdict::Active));
        assert_eq!(checks.look(&facts, 3, at(5_000)), Found::Ask);
    }

    #[test]
    fn a_revoked_answer_stays() {
        let (mut checks, facts) = (checks(), facts(1));
        asked(&mut checks, &facts, 1, 7, at(0));
        checks.answered(7, Some(CheckVerdict::Revoked), at(1));
        assert_eq!(checks.look(&facts, 2, at(3_600_000)), Found::Known(CheckVerdict::Revoked));
    }

    #[test]
    fn many_wait_for_one_question() {
        let (mut checks, facts) = (checks(), facts(1));
        asked(&mut checks, &facts, 1, 7, at(0));
        assert_eq!(checks.look(&facts, 2, at(10)), Found::Joined);
        assert_eq!(checks.look(&facts, 3, at(20)), Found::Joined);
        assert_eq!(checks.answered(7, Some(CheckVerdict::Active), at(30)).streams, [1, 2, 3]);
        assert_eq!(checks.waiting(), 0);
    }

    #[test]
    fn no_answer_settles_without_a_verdict_and_is_not_kept() {
        let (mut checks, facts) = (checks(), facts(1));
        asked(&mut checks, &facts, 1, 7, at(0));
        let settled = checks.answered(7, None, at(500));
        assert_eq!((settled.streams, settled.verdict), (vec![1], None));
        assert_eq!(checks.look(&facts, 2, at(501)), Found::Ask);
        let settled = checks.not_sent(facts.check.token);
        assert_eq!((settled.streams, settled.verdict), (vec![2], None));
        assert_eq!(checks.look(&facts, 3, at(502)), Found::Ask);
    }

    #[test]
    fn a_stream_that_goes_leaves_the_answer_to_the_others() {
        let (mut checks, facts) = (checks(), facts(1));
        asked(&mut checks, &facts, 1, 7, at(0));
        assert_eq!(checks.look(&facts, 2, at(10)), Found::Joined);
        checks.forget(1);
        assert_eq!(checks.answered(7, Some(CheckVerdict::Active), at(30)).streams, [2]);
        assert_eq!(checks.look(&facts, 3, at(40)), Found::Known(CheckVerdict::Active));
    }

    #[test]
    fn an_answer_comes_once() {
        let (mut checks, facts) = (checks(), facts(1));
        asked(&mut checks, &facts, 1, 7, at(0));
        checks.answered(7, Some(CheckVerdict::Revoked), at(10));
        for _ in 0..2 {
            let settled = checks.answered(7, Some(CheckVerdict::Active), at(20));
            assert!(settled.streams.is_empty() && settled.ask_again.is_none());
        }
        assert_eq!(checks.look(&facts, 2, at(30)), Found::Known(CheckVerdict::Revoked));
    }

    #[test]
    fn an_old_answer_does_not_serve_who_came_after_its_question() {
        let facts = facts(1);
        let mut checks = Checks::new(1 << 20, Duration::from_millis(100), TIMEOUT);
        asked(&mut checks, &facts, 1, 7, at(0));
        assert_eq!(checks.look(&facts, 2, at(50)), Found::Joined);
        let settled = checks.answered(7, Some(CheckVerdict::Active), at(400));
        assert_eq!(settled.streams, [1]);
        assert_eq!(settled.ask_again.as_ref(), Some(&facts));
        checks.sent(facts.check.token, 8);
        assert_eq!(checks.answered(8, Some(CheckVerdict::Revoked), at(410)).streams, [2]);
    }

    #[test]
    fn without_staleness_each_request_asks_for_itself() {
        let facts = facts(1);
        let mut checks = Checks::new(1 << 20, Duration::ZERO, TIMEOUT);
        asked(&mut checks, &facts, 1, 7, at(0));
        assert_eq!(checks.answered(7, Some(CheckVerdict::Active), at(1)).streams, [1]);
        assert_eq!(checks.look(&facts, 2, at(2)), Found::Ask);
    }

    #[test]
    fn a_lost_question_is_asked_again_for_all_who_wait() {
        let (mut checks, facts) = (checks(), facts(1));
        asked(&mut checks, &facts, 1, 7, at(0));
        assert_eq!(checks.look(&facts, 2, at(2_000)), Found::Joined);
        asked(&mut checks, &facts, 3, 8, at(2_001));
        assert!(checks.answered(7, Some(CheckVerdict::Active), at(2_002)).streams.is_empty());
        assert_eq!(checks.answered(8, Some(CheckVerdict::Revoked), at(2_003)).streams, [3, 1, 2]);
    }

    #[test]
    fn answers_stay_within_their_budget() {
        let mut checks = Checks::new(9_600, Duration::from_secs(5), TIMEOUT);
        for index in 0..=255 {
            let facts = facts(index);
            asked(&mut checks, &facts, 1, 7, at(0));
            checks.answered(7, Some(CheckVerdict::Revoked), at(0));
            assert!(checks.bytes() <= 9_600);
        }
    }
}
