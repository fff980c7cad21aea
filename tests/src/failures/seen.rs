//! What clients saw, in numbers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::front::Told;

/// How many broken promises are described; all are counted.
const DESCRIBED: usize = 10;

/// Where the story is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Nothing has happened yet.
    Before,
    /// Something is at fault.
    During,
    /// The fault is mended, and not everything is well yet.
    Mended,
    /// All is well again.
    After,
}

/// The answers to one kind of request.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// How many there were of each: a status, and the code where it has one.
    pub by_answer: BTreeMap<String, u64>,
    /// The time that the slowest took.
    pub slowest: Duration,
}

impl Answers {
    pub(super) fn add(&mut self, told: &Told) {
        *self.by_answer.entry(told.answer.clone()).or_default() += 1;
        self.slowest = self.slowest.max(told.took());
    }

    /// How many there were in all.
    pub fn count(&self) -> u64 {
        self.by_answer.values().sum()
    }

    /// How many were 200.
    pub fn ok(&self) -> u64 {
        self.by_answer.get("200").copied().unwrap_or_default()
    }
}

/// For how long one client is refused: from the sending of the first request that fails to the answer of the next one
/// that does not.
#[derive(Debug, Default)]
pub(super) struct Spell {
    since: Option<Instant>,
    longest: Duration,
}

impl Spell {
    /// Takes note of an answer; returns the longest time without a good one so far.
    pub(super) fn add(&mut self, told: &Told) -> Duration {
        if told.is_ok() {
            if let Some(since) = self.since.take() {
                self.longest = self.longest.max(told.ended - since);
            }
        } else {
            self.since.get_or_insert(told.began);
        }
        self.longest
    }
}

/// Everything that the clients of a story saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Logouts.
    pub logouts: Answers,
    /// Requests with tokens that nobody logs out.
    pub good: Answers,
    /// Requests with tokens that were dead by then.
    pub dead: Answers,
    /// Questions about logged-out tokens, to the control planes themselves.
    pub checks: Answers,
    /// The longest time for which one client with good tokens was not admitted.
    pub refused_for: Duration,
    /// Requests and questions that found a dead token alive.
    pub wrong: u64,
    /// What the first of them were.
    pub described: Vec<String>,
    /// Logouts that were answered with 200, before the fault and after all was well again.
    pub(super) calm_logouts: [u64; 2],
}

impl Seen {
    pub(super) fn logout(&mut self, phase: Phase, told: &Told) {
        self.logouts.add(told);
        let [before, after] = &mut self.calm_logouts;
        match phase {
            Phase::Before => *before += u64::from(told.is_ok()),
            Phase::After => *after += u64::from(told.is_ok()),
            Phase::During | Phase::Mended => {}
        }
    }

    pub(super) fn good(&mut self, told: &Told, spell: &mut Spell) {
        self.good.add(told);
        self.refused_for = self.refused_for.max(spell.add(told));
    }

    /// Takes note of a dead token that was taken for a live one.
    pub(super) fn wrong(&mut self, where_: &str, since_logout: Duration, phase: Phase) {
        self.wrong += 1;
        if self.described.len() < DESCRIBED {
            self.described.push(format!("{where_}, asked {since_logout:?} after the 200, phase {phase:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answer: &str, began: Instant, from: u64, to: u64) -> Told {
        let at = |milliseconds| began + Duration::from_millis(milliseconds);
        Told { answer: answer.to_owned(), began: at(from), ended: at(to) }
    }

    #[test]
    fn a_spell_lasts_from_the_first_refusal_to_the_next_good_answer() {
        let (mut spell, start) = (Spell::default(), Instant::now());
        let answers =
            [("200", 0, 1), ("503", 10, 12), ("503", 20, 22), ("200", 30, 31), ("503", 40, 41), ("200", 42, 43)];
        for (answer, from, to) in answers {
            spell.add(&told(answer, start, from, to));
        }
        assert_eq!(spell.longest, Duration::from_millis(21));
    }

    #[test]
    fn answers_are_counted_by_what_they_say() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        for (phase, answer) in [(Phase::Before, "200"), (Phase::During, "503 unavailable"), (Phase::During, "200")] {
            seen.logout(phase, &told(answer, start, 0, 7));
        }
        assert_eq!(seen.logouts.by_answer, BTreeMap::from([("200".into(), 2), ("503 unavailable".into(), 1)]));
        assert_eq!((seen.logouts.count(), seen.logouts.ok(), seen.calm_logouts), (3, 2, [1, 0]));
        assert_eq!(seen.logouts.slowest, Duration::from_millis(7));
    }
}
