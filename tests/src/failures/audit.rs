//! The last count, when all is well again: is every logout that was answered with 200 still there?

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use super::front::{Front, Verdict};
use super::load::Ended;
use super::seen::Seen;

/// How often a question is repeated that got no verdict, on a busy machine.
const TRIES: u32 = 100;

/// What came of a story.
#[derive(Clone, Debug)]
pub struct Audit {
    /// What clients saw.
    pub seen: Seen,
    /// Logouts that were answered with 200 and that a control plane does not know.
    pub lost: u64,
    /// Logouts that were answered with 503 (or not at all), and that took place all the same.
    pub done_all_the_same: u64,
}

/// Asks every control plane about every token.
pub(super) fn audit(front: &Front, ended: &Ended) -> Result<Audit> {
    let mut lost = 0;
    for left in &ended.dead {
        let verdicts = (0..front.planes()).map(|plane| verdict(front, plane, &left.question));
        lost += u64::from(verdicts.collect::<Result<Vec<_>>>()?.contains(&Verdict::Active));
    }
    let mut done_all_the_same = 0;
    for left in &ended.untold {
        done_all_the_same += u64::from(verdict(front, 0, &left.question)? == Verdict::Revoked);
    }
    Ok(Audit { seen: ended.seen.clone(), lost, done_all_the_same })
}

fn verdict(front: &Front, plane: usize, question: &Value) -> Result<Verdict> {
    for _ in 0..TRIES {
        match front.check(plane, question) {
            (_, Verdict::None) => thread::sleep(Duration::from_millis(50)),
            (_, verdict) => return Ok(verdict),
        }
    }
    bail!("control plane {plane} gives no verdict, though all was well")
}
