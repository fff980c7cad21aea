//! What came of a story, held against its claims.

use std::time::Duration;

use serde_json::{Value, json};

use super::audit::Audit;
use super::seen::Answers;
use super::{Claims, Conditions, Story};

/// Fewer requests with dead tokens, or questions about them, show nothing.
const WATCHED: u64 = 50;

/// One story, played.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// How long the fault lasted.
    pub fault: Duration,
    /// How long it took until all was well after that.
    pub recovery: Duration,
    /// What clients saw, and what was left.
    pub audit: Audit,
    claims: Claims,
    spared: Option<u64>,
}

impl Report {
    pub(super) fn new(
        story: &Story,
        conditions: Conditions,
        fault: Duration,
        recovery: Duration,
        audit: Audit,
    ) -> Self {
        Self { name: story.name, fault, recovery, audit, claims: story.claims, spared: conditions.spared }
    }

    /// Logouts that were answered with 200 and are forgotten.
    pub fn lost(&self) -> u64 {
        self.audit.lost
    }

    /// Requests that were admitted, and questions that were answered "active", though the token was dead by the promise
    /// when they began.
    pub fn wrong(&self) -> u64 {
        self.audit.seen.wrong
    }

    /// Every claim that does not hold, in words.
    pub fn broken(&self) -> Vec<String> {
        let seen = &self.audit.seen;
        let mut broken = Vec::new();
        let mut claim = |holds: bool, what: String| {
            if !holds {
                broken.push(what);
            }
        };
        claim(self.lost() == 0, format!("{} lost logouts", self.lost()));
        claim(self.wrong() == 0, format!("{} wrong admits: {:#?}", self.wrong(), seen.described));
        claim(answered(&seen.logouts, self.claims.logouts), format!("logouts: {:?}", seen.logouts));
        claim(self.requests_are_as_claimed(), format!("requests: {:?}", seen.good));
        let slowest = seen.logouts.slowest;
        claim(slowest <= self.claims.slowest_logout, format!("a logout took {slowest:?}"));
        let longest = self.fault + self.claims.refused_after;
        claim(seen.refused_for <= longest, format!("a client was refused for {:?}", seen.refused_for));
        let failed = seen.logouts.count() - seen.logouts.ok();
        claim(failed > 0 || !self.claims.felt, "no logout failed: what was the fault?".to_owned());
        let watched = seen.dead.count().min(seen.checks.count());
        claim(watched >= WATCHED, format!("only {watched} looks at dead tokens"));
        broken
    }

    fn requests_are_as_claimed(&self) -> bool {
        let good = &self.audit.seen.good;
        let few = |count: u64| self.spared.is_some_and(|of| count.saturating_mul(of) <= good.count());
        let claimed = |answer: &str| self.claims.requests.contains(&answer);
        good.by_answer.iter().all(|(answer, count)| claimed(answer) || (answer == "503 unavailable" && few(*count)))
    }

    /// As JSON, in seconds.
    pub fn json(&self) -> Value {
        let seen = &self.audit.seen;
        json!({
            "name": self.name,
            "lost_logouts": self.lost(), "wrong_admits": self.wrong(),
            "unconfirmed_and_done": self.audit.done_all_the_same,
            "fault_s": seconds(self.fault), "recovery_s": seconds(self.recovery),
            "refused_for_s": seconds(seen.refused_for),
            "logouts": answers(&seen.logouts), "requests": answers(&seen.good),
            "dead_tokens": answers(&seen.dead), "checks": answers(&seen.checks),
            "broken": self.broken(),
        })
    }
}

fn answered(answers: &Answers, allowed: &[&str]) -> bool {
    answers.by_answer.keys().all(|answer| allowed.contains(&answer.as_str()))
}

fn answers(answers: &Answers) -> Value {
    json!({"by_answer": answers.by_answer, "slowest_s": seconds(answers.slowest)})
}

/// To a hundredth.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failures::seen::Seen;
    use crate::failures::stories;

    fn answers_of(list: &[(&str, u64)]) -> Answers {
        let by_answer = list.iter().map(|(answer, count)| ((*answer).to_owned(), *count)).collect();
        Answers { by_answer, slowest: Duration::from_millis(40) }
    }

    fn report(name: &str, change: impl FnOnce(&mut Audit)) -> Report {
        let story = *stories().iter().find(|story| story.name == name).unwrap();
        let seen = Seen {
            logouts: answers_of(&[("200", 300)]),
            good: answers_of(&[("200", 900)]),
            dead: answers_of(&[("401 token_revoked", 400)]),
            checks: answers_of(&[("200", 500)]),
            ..Seen::default()
        };
        let mut audit = Audit { seen, lost: 0, done_all_the_same: 0 };
        change(&mut audit);
        Report::new(&story, Conditions::SHORT, Duration::from_secs(3), Duration::ZERO, audit)
    }

    #[test]
    fn what_clients_do_not_notice_breaks_nothing() {
        assert_eq!(report("redis-killed", |_| {}).broken(), Vec::<String>::new());
    }

    #[test]
    fn one_lost_logout_or_one_wrong_admit_is_too_many() {
        assert_eq!(report("redis-killed", |audit| audit.lost = 1).broken(), ["1 lost logouts"]);
        let wrong = report("redis-killed", |audit| audit.seen.wrong = 1).broken();
        assert!(wrong[0].starts_with("1 wrong admits"), "{wrong:?}");
    }

    #[test]
    fn an_answer_that_was_not_claimed_is_told() {
        let broken =
            report("redis-killed", |audit| audit.seen.good = answers_of(&[("200", 9), ("503 unavailable", 1)]));
        assert!(broken.broken()[0].starts_with("requests: "), "{:?}", broken.broken());
        let spared =
            report("redis-killed", |audit| audit.seen.good = answers_of(&[("200", 98), ("503 unavailable", 2)]));
        assert_eq!(spared.broken(), Vec::<String>::new());
        let broken = report("redis-killed", |audit| audit.seen.logouts = answers_of(&[("200", 9), ("500", 1)]));
        assert!(broken.broken()[0].starts_with("logouts: "), "{:?}", broken.broken());
    }

    #[test]
    fn a_fault_that_nobody_felt_was_none() {
        assert_eq!(report("postgres-killed", |_| {}).broken(), ["no logout failed: what was the fault?"]);
    }

    #[test]
    fn slowness_and_a_load_that_was_none_are_told() {
        let broken = report("redis-killed", |audit| {
            audit.seen.logouts.slowest = Duration::from_secs(3);
            audit.seen.refused_for = Duration::from_secs(4);
            audit.seen.checks = answers_of(&[("200", 49)]);
        });
        assert_eq!(
            broken.broken(),
            ["a logout took 3s", "a client was refused for 4s", "only 49 looks at dead tokens"]
        );
    }
}
