//! What each request and each logout came to, judged by what was known when.
//!
//! - **Stale admit**: a request that started after its token's logout had returned 200, and was admitted. There may be none.
//! - **Wrong refusal**: a request with a token that nobody had begun to log out, and that was refused with 401; or that was
//!   told 503 while no outage was declared. There may be none.
//! - A request that overlaps its token's logout may be told anything.

use std::collections::BTreeSet;
use std::time::Duration;

/// What is counted as one piece of an outage.
const SLICE: Duration = Duration::from_millis(100);

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// Before the first byte was sent.
    pub started: Duration,
    /// After the answer was read, or given up.
    pub ended: Duration,
    /// The answer's status; `None` if the connection was lost or patience was.
    pub status: Option<u16>,
    /// When the first logout of its token was begun, as known after the end.
    pub logout_begun: Option<Duration>,
    /// When a logout of its token had returned 200, as known after the end.
    pub logout_returned: Option<Duration>,
}

/// What a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Admitted, though its token's logout had returned before it started.
    StaleAdmit,
    /// Refused, though nobody had begun to log its token out.
    WrongRefusal,
    /// Admitted or refused as it may be.
    Right,
    /// 503.
    Unavailable,
    /// Any other answer, which has no place here.
    Strange,
    /// No answer.
    Unanswered,
}

impl Exchange {
    /// Judges.
    pub fn judge(&self) -> Judgement {
        match self.status {
            Some(200) if self.logout_returned.is_some_and(|returned| returned <= self.started) => Judgement::StaleAdmit,
            Some(401) if self.logout_begun.is_none_or(|begun| begun > self.ended) => Judgement::WrongRefusal,
            Some(200 | 401) => Judgement::Right,
            Some(503 | 504) => Judgement::Unavailable,
            Some(_) => Judgement::Strange,
            None => Judgement::Unanswered,
        }
    }
}

/// The counts of one scene.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Requests in all.
    pub requests: u64,
    /// See [`Judgement`].
    pub stale_admits: u64,
    /// Of tokens that nobody had begun to log out, refused with 401.
    pub wrong_refusals: u64,
    /// Requests that started after their token's logout had returned, and were refused with 401.
    pub right_refusals: u64,
    /// Answers that have no place here.
    pub strange: u64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Requests that were told 503: when they started and when they ended.
    pub unavailable: Vec<(Duration, Duration)>,
    /// How long each logout took that returned 200.
    pub logouts: Vec<Duration>,
    /// Logouts that returned something else, or nothing.
    pub failed_logouts: u64,
}

impl Ledger {
    /// Enters a request.
    pub fn enter(&mut self, exchange: &Exchange) {
        self.requests += 1;
        match exchange.judge() {
            Judgement::StaleAdmit => self.stale_admits += 1,
            Judgement::WrongRefusal => self.wrong_refusals += 1,
            Judgement::Unavailable => self.unavailable.push((exchange.started, exchange.ended)),
            Judgement::Strange => self.strange += 1,
            Judgement::Unanswered => self.unanswered += 1,
            Judgement::Right => {
                let was_dead = exchange.logout_returned.is_some_and(|returned| returned <= exchange.started);
                self.right_refusals += u64::from(was_dead && exchange.status == Some(401));
            }
        }
    }

    /// Enters a logout: its status, and how long it took.
    pub fn enter_logout(&mut self, status: Option<u16>, took: Duration) {
        if status == Some(200) {
            self.logouts.push(took);
        } else {
            self.failed_logouts += 1;
        }
    }

    /// Adds another thread's counts.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.stale_admits += other.stale_admits;
        self.wrong_refusals += other.wrong_refusals;
        self.right_refusals += other.right_refusals;
        self.strange += other.strange;
        self.unanswered += other.unanswered;
        self.unavailable.extend(other.unavailable);
        self.logouts.extend(other.logouts);
        self.failed_logouts += other.failed_logouts;
    }

    /// Seconds with a 503 in them, in tenths.
    pub fn seconds_unavailable(&self) -> f64 {
        let slices: BTreeSet<_> =
            self.unavailable.iter().map(|(_, ended)| ended.as_millis() / SLICE.as_millis()).collect();
        SLICE.saturating_mul(u32::try_from(slices.len()).unwrap_or(u32::MAX)).as_secs_f64()
    }

    /// The requests that were told 503 and were at no time in the declared outage. One that began in it may be told late: where
    /// it waited in a VM that died, only Envoy's `stream_idle_timeout` ends it.
    pub fn undeclared(&self, outage: Option<(Duration, Duration)>) -> Vec<(Duration, Duration)> {
        let touches =
            |(started, ended): &(Duration, Duration)| outage.is_some_and(|(from, to)| from <= *ended && *started <= to);
        self.unavailable.iter().copied().filter(|request| !touches(request)).collect()
    }

    /// The slowest logout and the one that a hundredth was slower than.
    pub fn slowest_logouts(&self) -> (Duration, Duration) {
        let mut sorted = self.logouts.clone();
        sorted.sort();
        let place = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        (sorted.last().copied().unwrap_or_default(), sorted.get(place).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn exchange(status: Option<u16>, begun: Option<u64>, returned: Option<u64>) -> Exchange {
        let time = |milliseconds: Option<u64>| milliseconds.map(at);
        let (logout_begun, logout_returned) = (time(begun), time(returned));
        Exchange { started: at(100), ended: at(110), status, logout_begun, logout_returned }
    }

    #[test]
    fn admitted_after_the_logout_returned_is_stale_and_beside_it_is_not() {
        let judged = |begun, returned| exchange(Some(200), Some(begun), returned).judge();
        assert_eq!(judged(50, Some(100)), Judgement::StaleAdmit);
        assert_eq!(judged(50, Some(101)), Judgement::Right);
        assert_eq!(judged(50, None), Judgement::Right);
        assert_eq!(exchange(Some(200), None, None).judge(), Judgement::Right);
    }

    #[test]
    fn refused_before_anybody_logged_it_out_is_wrong() {
        assert_eq!(exchange(Some(401), None, None).judge(), Judgement::WrongRefusal);
        assert_eq!(exchange(Some(401), Some(111), Some(120)).judge(), Judgement::WrongRefusal);
        assert_eq!(exchange(Some(401), Some(110), None).judge(), Judgement::Right);
    }

    #[test]
    fn a_failure_is_no_refusal_and_no_admission() {
        assert_eq!(exchange(Some(503), None, Some(50)).judge(), Judgement::Unavailable);
        assert_eq!(exchange(None, None, Some(50)).judge(), Judgement::Unanswered);
        assert_eq!(exchange(Some(404), None, None).judge(), Judgement::Strange);
    }

    #[test]
    fn an_outage_is_counted_in_tenths_and_by_whether_it_was_declared() {
        let mut ledger = Ledger::default();
        for ended in [1_010, 1_020, 1_190, 5_000] {
            let times = Exchange { started: at(ended - 20), ended: at(ended), ..exchange(Some(503), None, None) };
            ledger.enter(&times);
        }
        assert!((ledger.seconds_unavailable() - 0.3).abs() < 1e-9);
        assert_eq!(ledger.undeclared(None).len(), 4);
        let late = [(at(1_170), at(1_190)), (at(4_980), at(5_000))];
        assert_eq!(ledger.undeclared(Some((at(1_000), at(1_100)))), late);
        assert_eq!(ledger.undeclared(Some((at(1_015), at(1_180)))), [(at(990), at(1_010)), late[1]]);
    }

    #[test]
    fn the_counts_of_threads_add_up() {
        let mut one = Ledger::default();
        one.enter(&exchange(Some(200), Some(50), Some(60)));
        one.enter(&exchange(Some(401), Some(50), Some(60)));
        one.enter(&exchange(Some(401), None, None));
        one.enter_logout(Some(200), at(3));
        one.enter_logout(None, at(9));
        let mut sum = one.clone();
        sum.add(one);
        assert_eq!((sum.requests, sum.stale_admits, sum.right_refusals, sum.wrong_refusals), (6, 2, 2, 2));
        assert_eq!((sum.slowest_logouts(), sum.failed_logouts), ((at(3), at(3)), 2));
    }
}
