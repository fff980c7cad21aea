//! The last count, when the mesh is well again: is every logout that returned 200 still known?

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::outside::{Outside, Verdict};
use super::population::{Population, Token};

/// How often a question is repeated that got no verdict, on a busy machine.
const TRIES: u32 = 100;

/// The logouts of a run, looked up at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Logouts that returned 200 and that some control plane does not know.
    pub lost: u64,
    /// Logouts that returned something else (or nothing) and took place all the same.
    pub done_all_the_same: u64,
}

/// Asks every control plane about every token that was logged out.
pub(super) fn audit(outside: &Outside, population: Population) -> Result<Audit> {
    let [dead, unconfirmed] = population.into_logged_out();
    let mut audit = Audit::default();
    for token in &dead {
        let verdicts = (0..outside.planes()).map(|plane| verdict(outside, plane, token));
        audit.lost += u64::from(verdicts.collect::<Result<Vec<_>>>()?.contains(&Verdict::Active));
    }
    for token in &unconfirmed {
        audit.done_all_the_same += u64::from(verdict(outside, 0, token)? == Verdict::Revoked);
    }
    Ok(audit)
}

fn verdict(outside: &Outside, plane: usize, token: &Token) -> Result<Verdict> {
    for _ in 0..TRIES {
        match outside.check(plane, &token.question) {
            (_, Verdict::None) => thread::sleep(Duration::from_millis(50)),
            (_, verdict) => return Ok(verdict),
        }
    }
    bail!("control plane {plane} gives no verdict, though the mesh was well")
}
