//! The result of a story, held against its claims.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Claims, Conditions, Story};
use crate::faults::Played;
use crate::faults::ledger::{Answers, Ledger};

/// Fewer requests with dead tokens, or questions about them, prove nothing.
const WATCHED: u64 = 50;

/// One story, played.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// The counts and times.
    pub played: Played,
    claims: Claims,
    spared: Option<u64>,
}

impl Report {
    pub(super) fn new(story: &Story, conditions: Conditions, played: Played) -> Self {
        Self { name: story.name, played, claims: story.claims, spared: conditions.spared }
    }

    /// What clients saw.
    pub fn ledger(&self) -> &Ledger {
        &self.played.ledger
    }

    /// Logouts that returned 200 and are forgotten.
    pub fn lost(&self) -> u64 {
        self.played.audit.lost
    }

    /// Requests that were admitted, and questions that were answered "active", though the token was dead by the promise
    /// when they began.
    pub fn wrong(&self) -> u64 {
        self.ledger().stale_admits
    }

    /// Every claim that does not hold, in words.
    pub fn broken(&self) -> Vec<String> {
        let ledger = self.ledger();
        let mut broken = Vec::new();
        let mut claim = |holds: bool, what: String| {
            if !holds {
                broken.push(what);
            }
        };
        claim(self.lost() == 0, format!("{} lost logouts", self.lost()));
        claim(self.wrong() == 0, format!("{} wrong admits: {:#?}", self.wrong(), ledger.described));
        claim(only(&ledger.logouts, self.claims.logouts), format!("logouts: {}", texts(&ledger.logouts)));
        claim(self.requests_are_as_claimed(), format!("requests: {}", texts(&ledger.live)));
        let slowest = ledger.logouts.slowest;
        claim(slowest <= self.claims.slowest_logout, format!("a logout took {slowest:?}"));
        let longest = self.played.fault + self.claims.refused_after;
        let refused = ledger.refused_for();
        claim(refused <= longest, format!("a client was refused for {refused:?}"));
        claim(ledger.failed_logouts() > 0 || !self.claims.felt, "no logout failed: was there a fault?".to_owned());
        let watched = ledger.dead.count().min(ledger.checks.count());
        claim(watched >= WATCHED, format!("only {watched} looks at dead tokens"));
        broken
    }

    fn requests_are_as_claimed(&self) -> bool {
        let live = &self.ledger().live;
        let few = |count: u64| self.spared.is_some_and(|of| count.saturating_mul(of) <= live.count());
        let claimed = |answer: &str| self.claims.requests.contains(&answer);
        live.by_reply.iter().all(|(reply, count)| {
            let answer = reply.to_string();
            claimed(&answer) || (answer == "503 unavailable" && few(*count))
        })
    }

    /// As JSON, in seconds.
    pub fn json(&self) -> Value {
        let ledger = self.ledger();
        json!({
            "name": self.name,
            "lost_logouts": self.lost(), "wrong_admits": self.wrong(),
            "unconfirmed_and_done": self.played.audit.done_all_the_same,
            "fault_s": seconds(self.played.fault), "recovery_s": seconds(self.played.recovery),
            "refused_for_s": seconds(ledger.refused_for()),
            "logouts": answers(&ledger.logouts), "requests": answers(&ledger.live),
            "dead_tokens": answers(&ledger.dead), "checks": answers(&ledger.checks),
            "broken": self.broken(),
        })
    }
}

fn only(answers: &Answers, allowed: &[&str]) -> bool {
    answers.by_reply.keys().all(|reply| allowed.contains(&reply.to_string().as_str()))
}

/// Such as `{"200":9,"503 unavailable":1}`.
fn texts(answers: &Answers) -> Value {
    answers.by_reply.iter().map(|(reply, count)| (reply.to_string(), json!(count))).collect()
}

fn answers(answers: &Answers) -> Value {
    json!({"by_answer": texts(answers), "slowest_s": seconds(answers.slowest)})
}

/// To a hundredth.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failures::stories;
    use crate::faults::Audit;
    use crate::faults::ledger::{Exchange, Reply};

    fn answers_of(list: &[(u16, &str, u64)]) -> Answers {
        let by_reply = list.iter().map(|(status, code, count)| (Reply::new(*status, code), *count)).collect();
        Answers { by_reply, slowest: Duration::from_millis(40) }
    }

    fn report(name: &str, change: impl FnOnce(&mut Played)) -> Report {
        let story = *stories().iter().find(|story| story.name == name).unwrap();
        let mut ledger = Ledger::default();
        ledger.logouts = answers_of(&[(200, "", 300)]);
        ledger.live = answers_of(&[(200, "", 900)]);
        ledger.dead = answers_of(&[(401, "token_revoked", 400)]);
        ledger.checks = answers_of(&[(200, "", 500)]);
        let (fault, window) = (Duration::from_secs(3), (Duration::ZERO, Duration::from_secs(3)));
        let mut played = Played { ledger, window, fault, recovery: Duration::ZERO, audit: Audit::default() };
        change(&mut played);
        Report::new(&story, Conditions::SHORT, played)
    }

    #[test]
    fn what_clients_do_not_notice_breaks_nothing() {
        assert_eq!(report("redis-killed", |_| {}).broken(), Vec::<String>::new());
    }

    #[test]
    fn one_lost_logout_or_one_wrong_admit_is_too_many() {
        assert_eq!(report("redis-killed", |played| played.audit.lost = 1).broken(), ["1 lost logouts"]);
        let wrong = report("redis-killed", |played| played.ledger.stale_admits = 1).broken();
        assert!(wrong[0].starts_with("1 wrong admits"), "{wrong:?}");
    }

    #[test]
    fn an_answer_that_was_not_claimed_is_reported() {
        let requests = |ok, unavailable| answers_of(&[(200, "", ok), (503, "unavailable", unavailable)]);
        let broken = report("redis-killed", |played| played.ledger.live = requests(9, 1)).broken();
        assert!(broken[0].starts_with("requests: "), "{broken:?}");
        let spared = report("redis-killed", |played| played.ledger.live = requests(98, 2));
        assert_eq!(spared.broken(), Vec::<String>::new());
        let logouts = answers_of(&[(200, "", 9), (500, "", 1)]);
        let broken = report("redis-killed", |played| played.ledger.logouts = logouts).broken();
        assert!(broken[0].starts_with("logouts: "), "{broken:?}");
    }

    #[test]
    fn a_fault_that_no_client_felt_is_reported() {
        assert_eq!(report("postgres-killed", |_| {}).broken(), ["no logout failed: was there a fault?"]);
    }

    #[test]
    fn slow_answers_and_a_missing_load_are_reported() {
        let at = Duration::from_secs;
        let broken = report("redis-killed", |played| {
            played.ledger.logouts.slowest = at(3);
            played.ledger.checks = answers_of(&[(200, "", 49)]);
            for (status, started, ended) in [(503, 1, 2), (200, 4, 5)] {
                let reply = Reply::new(status, if status == 503 { "unavailable" } else { "" });
                let (started, ended) = (at(started), at(ended));
                played.ledger.enter(&Exchange { started, ended, reply, logout_begun: None, logout_returned: None });
            }
        });
        assert_eq!(
            broken.broken(),
            ["a logout took 3s", "a client was refused for 4s", "only 49 looks at dead tokens"]
        );
    }
}
