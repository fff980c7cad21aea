//! The answers to all requests and logouts of a run, judged by what was known when.
//!
//! - **Stale admit**: a request that started after its token's logout had returned 200 (and after the published bound,
//!   in bounded mode) and was admitted; or a control plane that called such a token active. There may be none.
//! - **Wrong refusal**: a request with a token that no client had begun to log out, refused with 401. There may be
//!   none. Whether a 503 is allowed depends on the fault, so the ledger keeps their times.
//! - A request that overlaps its token's logout may get any decision.
//!
//! A key that is taken away is the logout of all tokens that it signed. They are judged by the same rules, and counted once more
//! by themselves.
//!
//! Each client fills a ledger of its own, so that it can also tell for how long that one client was refused. The
//! ledgers are added up at the end.

mod exchange;
mod reply;
mod spell;

use std::collections::BTreeSet;
use std::time::Duration;

pub use exchange::{Exchange, Judgement, Standing};
pub use reply::{Answers, Reply};

use spell::Spell;

/// Outages are counted in pieces of this length.
const SLICE: Duration = Duration::from_millis(100);

/// How many stale admits are described. All are counted.
const DESCRIBED: usize = 10;

/// The counts of one run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ledger {
    bound: Duration,
    /// The answers to requests with live tokens.
    pub live: Answers,
    /// The answers to requests that overlap the logout of their token.
    pub either: Answers,
    /// The answers to requests with dead tokens.
    pub dead: Answers,
    /// The control planes' answers to questions about dead tokens.
    pub checks: Answers,
    /// The answers to logouts.
    pub logouts: Answers,
    /// How long each logout took that returned 200.
    pub logout_times: Vec<Duration>,
    /// See [`Judgement`]. Questions that a control plane answered "active" count too.
    pub stale_admits: u64,
    /// The first stale admits, in words.
    pub described: Vec<String>,
    /// Those of them whose key had been taken away.
    pub stale_by_key: u64,
    /// Requests with live tokens that were refused with 401.
    pub wrong_refusals: u64,
    /// Requests with dead tokens that were refused with 401.
    pub right_refusals: u64,
    /// Those of them whose key had been taken away.
    pub refusals_by_key: u64,
    /// How long each change of keys took that returned 200.
    pub key_change_times: Vec<Duration>,
    /// Changes of keys that returned something else, or nothing.
    pub failed_key_changes: u64,
    /// Answers that are not expected at all.
    pub strange: u64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// When each request started and ended that was answered with 503 or 504.
    pub unavailable: Vec<(Duration, Duration)>,
    spell: Spell,
}

impl Ledger {
    /// An empty ledger; `bound` is how long after the 200 of its logout a token may still be admitted.
    pub fn with_bound(bound: Duration) -> Self {
        Self { bound, ..Self::default() }
    }

    /// Enters a request.
    pub fn enter(&mut self, exchange: &Exchange) {
        self.judge(exchange, "admitted by Envoy");
    }

    /// Enters a request with a token whose logout is that its key is taken away.
    pub fn enter_of_key(&mut self, exchange: &Exchange) {
        let (stale, right) = (self.stale_admits, self.right_refusals);
        self.judge(exchange, "admitted by Envoy, by a key that was taken away");
        self.stale_by_key += self.stale_admits - stale;
        self.refusals_by_key += self.right_refusals - right;
    }

    fn judge(&mut self, exchange: &Exchange, stale: &str) {
        let (started, ended) = (exchange.started, exchange.ended);
        let answers = match exchange.standing(self.bound) {
            Standing::Live => &mut self.live,
            Standing::Either => &mut self.either,
            Standing::Dead => &mut self.dead,
        };
        answers.add(&exchange.reply, ended.saturating_sub(started));
        if exchange.standing(self.bound) == Standing::Live {
            self.spell.add(exchange.reply.is_ok(), started, ended);
        }
        match exchange.judge(self.bound) {
            Judgement::StaleAdmit => self.stale(stale, exchange),
            Judgement::WrongRefusal => self.wrong_refusals += 1,
            Judgement::Unavailable => self.unavailable.push((started, ended)),
            Judgement::Strange => self.strange += 1,
            Judgement::Unanswered => self.unanswered += 1,
            Judgement::Right => self.right_refusals += u64::from(is_right_refusal(exchange, self.bound)),
        }
    }

    /// Enters a question to a control plane about a token whose logout had returned 200. Such a token must never be
    /// called active; no bound applies to the control plane.
    pub fn enter_check(&mut self, plane: usize, exchange: &Exchange, called_active: bool) {
        self.checks.add(&exchange.reply, exchange.ended.saturating_sub(exchange.started));
        if called_active && exchange.standing(Duration::ZERO) == Standing::Dead {
            self.stale(&format!("called active by control plane {plane}"), exchange);
        }
    }

    /// Enters a logout and the time that it took.
    pub fn enter_logout(&mut self, reply: &Reply, took: Duration) {
        self.logouts.add(reply, took);
        if reply.is_ok() {
            self.logout_times.push(took);
        }
    }

    /// Enters a change of keys and the time that it took.
    pub fn enter_key_change(&mut self, reply: &Reply, took: Duration) {
        if reply.is_ok() {
            self.key_change_times.push(took);
        } else {
            self.failed_key_changes += 1;
        }
    }

    fn stale(&mut self, how: &str, exchange: &Exchange) {
        self.stale_admits += 1;
        if self.described.len() < DESCRIBED {
            let since = exchange.started.saturating_sub(exchange.logout_returned.unwrap_or_default());
            self.described.push(format!("{how}: sent {since:?} after the 200, {:?} after the start", exchange.started));
        }
    }

    /// Adds the counts of another client.
    pub fn add(&mut self, other: Self) {
        self.live.merge(other.live);
        self.either.merge(other.either);
        self.dead.merge(other.dead);
        self.checks.merge(other.checks);
        self.logouts.merge(other.logouts);
        self.logout_times.extend(other.logout_times);
        self.stale_admits += other.stale_admits;
        self.described.extend(other.described);
        self.described.truncate(DESCRIBED);
        self.wrong_refusals += other.wrong_refusals;
        self.right_refusals += other.right_refusals;
        self.stale_by_key += other.stale_by_key;
        self.refusals_by_key += other.refusals_by_key;
        self.key_change_times.extend(other.key_change_times);
        self.failed_key_changes += other.failed_key_changes;
        self.strange += other.strange;
        self.unanswered += other.unanswered;
        self.unavailable.extend(other.unavailable);
        self.spell.merge(&other.spell);
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.live.count() + self.either.count() + self.dead.count()
    }

    /// How many logouts returned something else than 200, or nothing.
    pub fn failed_logouts(&self) -> u64 {
        self.logouts.count() - self.logouts.ok()
    }

    /// The longest time for which one client was not admitted with live tokens.
    pub fn refused_for(&self) -> Duration {
        self.spell.longest()
    }

    /// Seconds with a 503 in them, in tenths.
    pub fn seconds_unavailable(&self) -> f64 {
        let slices: BTreeSet<_> =
            self.unavailable.iter().map(|(_, ended)| ended.as_millis() / SLICE.as_millis()).collect();
        SLICE.saturating_mul(u32::try_from(slices.len()).unwrap_or(u32::MAX)).as_secs_f64()
    }

    /// The requests that got 503 and did not touch the declared outage. A request that began during the outage may be
    /// answered late: if it waited in a VM that died, only Envoy's `stream_idle_timeout` ends it.
    pub fn undeclared(&self, outage: Option<(Duration, Duration)>) -> Vec<(Duration, Duration)> {
        let touches =
            |(started, ended): &(Duration, Duration)| outage.is_some_and(|(from, to)| from <= *ended && *started <= to);
        self.unavailable.iter().copied().filter(|request| !touches(request)).collect()
    }

    /// Of the logouts that returned 200: the slowest, and the 99th percentile.
    pub fn slowest_logouts(&self) -> (Duration, Duration) {
        let mut sorted = self.logout_times.clone();
        sorted.sort();
        let place = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        (sorted.last().copied().unwrap_or_default(), sorted.get(place).copied().unwrap_or_default())
    }
}

fn is_right_refusal(exchange: &Exchange, bound: Duration) -> bool {
    exchange.reply.status() == Some(401) && exchange.standing(bound) == Standing::Dead
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn exchange(status: u16, begun: Option<u64>, returned: Option<u64>) -> Exchange {
        let time = |milliseconds: Option<u64>| milliseconds.map(at);
        let (logout_begun, logout_returned) = (time(begun), time(returned));
        Exchange { started: at(100), ended: at(110), reply: Reply::new(status, ""), logout_begun, logout_returned }
    }

    #[test]
    fn an_outage_is_counted_in_tenths_and_by_whether_it_was_declared() {
        let mut ledger = Ledger::default();
        for ended in [1_010, 1_020, 1_190, 5_000] {
            ledger.enter(&Exchange { started: at(ended - 20), ended: at(ended), ..exchange(503, None, None) });
        }
        assert!((ledger.seconds_unavailable() - 0.3).abs() < 1e-9);
        assert_eq!(ledger.undeclared(None).len(), 4);
        let late = [(at(1_170), at(1_190)), (at(4_980), at(5_000))];
        assert_eq!(ledger.undeclared(Some((at(1_000), at(1_100)))), late);
        assert_eq!(ledger.undeclared(Some((at(1_015), at(1_180)))), [(at(990), at(1_010)), late[1]]);
    }

    #[test]
    fn the_counts_of_clients_add_up() {
        let mut one = Ledger::default();
        one.enter(&exchange(200, Some(50), Some(60)));
        one.enter(&exchange(401, Some(50), Some(60)));
        one.enter(&exchange(401, None, None));
        one.enter(&exchange(200, Some(105), None));
        one.enter_logout(&Reply::new(200, ""), at(3));
        one.enter_logout(&Reply::none(), at(9));
        let mut sum = one.clone();
        sum.add(one);
        assert_eq!((sum.requests(), sum.stale_admits, sum.right_refusals, sum.wrong_refusals), (8, 2, 2, 2));
        assert_eq!((sum.live.count(), sum.either.count(), sum.dead.count()), (2, 2, 4));
        assert_eq!((sum.slowest_logouts(), sum.failed_logouts(), sum.logouts.slowest), ((at(3), at(3)), 2, at(9)));
        assert_eq!((sum.described.len(), sum.refused_for()), (2, at(0)));
    }

    #[test]
    fn tokens_of_a_key_that_was_taken_away_are_judged_as_others_and_counted_by_themselves() {
        let mut ledger = Ledger::default();
        ledger.enter_of_key(&exchange(200, Some(50), Some(60)));
        ledger.enter_of_key(&exchange(401, Some(50), Some(60)));
        ledger.enter_of_key(&exchange(200, Some(105), None));
        ledger.enter_of_key(&exchange(401, None, None));
        ledger.enter(&exchange(200, Some(50), Some(60)));
        ledger.enter_key_change(&Reply::new(200, ""), at(3));
        ledger.enter_key_change(&Reply::new(503, ""), at(9));
        let mut sum = ledger.clone();
        sum.add(ledger);
        assert_eq!((sum.stale_admits, sum.stale_by_key, sum.refusals_by_key, sum.wrong_refusals), (4, 2, 2, 2));
        assert_eq!((sum.key_change_times, sum.failed_key_changes), (vec![at(3), at(3)], 2));
        assert!(sum.described[0].starts_with("admitted by Envoy, by a key"), "{:?}", sum.described);
    }

    #[test]
    fn a_control_plane_that_calls_a_dead_token_active_breaks_the_promise_without_any_bound() {
        let mut ledger = Ledger::with_bound(Duration::from_secs(1));
        ledger.enter_check(1, &exchange(200, Some(50), Some(100)), true);
        ledger.enter_check(1, &exchange(200, Some(50), Some(100)), false);
        assert_eq!((ledger.stale_admits, ledger.checks.count(), ledger.requests()), (1, 2, 0));
        assert!(ledger.described[0].starts_with("called active by control plane 1"), "{:?}", ledger.described);
    }
}
