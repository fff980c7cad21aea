//! What must hold of all that one process believes, whatever the servers do.

use std::collections::BTreeMap;

use super::servers::Answer;

/// A commit that the process has been told of.
struct Confirmed {
    commit: u64,
    epoch: u64,
    began: usize,
    told: usize,
}

/// The times are steps of the world.
#[derive(Default)]
pub(super) struct Rules {
    confirmed: Vec<Confirmed>,
    /// When a history of each epoch was believed first.
    first: BTreeMap<u64, usize>,
    /// When it was certain that an epoch had ended.
    ended: BTreeMap<u64, usize>,
    distrusted: Option<usize>,
    /// How much was believed, distrusted and lifted.
    pub(super) tried: (usize, usize, usize),
    /// The log that was believed last.
    pub(super) last: Vec<u64>,
}

impl Rules {
    /// An answer was believed that was asked for at this time.
    pub(super) fn believed(&mut self, answer: &Answer, asked: usize, now: usize) -> Result<(), String> {
        let epoch = answer.epoch;
        if self.ended.get(&epoch).is_some_and(|ended| *ended < asked) {
            return Err(format!("epoch {epoch} is believed again, which had ended"));
        }
        let first = self.first.get(&epoch).copied().unwrap_or(now);
        // A history that was new to the process after a commit had begun may lack it: the logout then gets no 200.
        let counts =
            |confirmed: &&Confirmed| confirmed.told < asked && (confirmed.epoch == epoch || first < confirmed.began);
        if let Some(lost) = self.confirmed.iter().filter(counts).find(|known| !answer.log.contains(&known.commit)) {
            return Err(format!("epoch {epoch} is believed without commit {} of epoch {}", lost.commit, lost.epoch));
        }
        self.tried.0 += 1;
        self.last.clone_from(&answer.log);
        self.saw(epoch, asked, now);
        Ok(())
    }

    /// An epoch has ended if an answer with a new one was asked for after the epoch was believed. Which of two epochs is the
    /// later one is not known if their first answers were under way at the same time.
    fn saw(&mut self, epoch: u64, asked: usize, now: usize) {
        if self.first.contains_key(&epoch) {
            return;
        }
        for (other, _) in self.first.iter().filter(|(_, first)| **first < asked) {
            self.ended.entry(*other).or_insert(now);
        }
        self.first.insert(epoch, now);
    }

    pub(super) fn committed(&mut self, commit: Option<u64>, answer: &Answer, began: usize, told: usize) {
        let epoch = answer.epoch;
        self.confirmed.extend(commit.map(|commit| Confirmed { commit, epoch, began, told }));
        self.saw(epoch, began, told);
    }

    pub(super) fn distrusted(&mut self, now: usize) {
        self.distrusted = Some(now);
        self.tried.1 += 1;
    }

    /// The fence was lifted by a look that began at this time.
    pub(super) fn lifted(&mut self, asked: usize) -> Result<(), String> {
        self.tried.2 += 1;
        match self.distrusted {
            Some(distrusted) if asked < distrusted => Err("the fence is lifted by an older look".to_owned()),
            _ => Ok(()),
        }
    }
}
