//! Checks that requests took the path that their variants are named for, which an answer's status does not show.

use std::thread;

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::measure::Bench;
use curfew_testbed::stack::Stack;

use super::listeners::{CURFEW, CURFEW_COLD};
use super::variants::{Row, TOLD};

/// The filter's counters at one time, of all its VMs.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    /// Tokens whose proof was cached, and tokens whose proof was not.
    remembered: u64,
    proven: u64,
    /// Questions by callout.
    questions: u64,
}

impl Counted {
    /// Reads the counters, after the workers have reported them.
    pub(super) fn read(stack: &Stack) -> Result<Self> {
        thread::sleep(TOLD);
        let of = |name: &str| stack.envoy.metric(name)?.with_context(|| format!("no counter {name}"));
        let [remembered, proven] = [of("curfew_proofs_hit")?, of("curfew_proofs_missed")?];
        Ok(Self { remembered, proven, questions: of("curfew_checks_sent")? })
    }

    /// Compares the counts since then with the number of requests that were sent.
    ///
    /// # Errors
    /// When more than one in a hundred tokens was proven whose proof should have been cached, or the other way round,
    /// or if the filter asked about more than one in a thousand.
    pub(super) fn hold(self, rows: &[Row], bench: &Bench, stack: &Stack) -> Result<()> {
        let sent = |new: bool| -> u64 {
            let own = |name: &str| rows.iter().find(|row| row.name == name);
            let wanted = |row: &Row| row.is_curfews() && row.is_new() == new;
            bench
                .costs()
                .iter()
                .filter(|(variant, _)| own(&variant.name).is_some_and(wanted))
                .map(|(_, cost)| cost.requests)
                .sum()
        };
        let (now, known, new) = (Self::read(stack)?, sent(false), sent(true));
        let most = |number: u64| number - number / 100;
        let (remembered, proven) = (now.remembered - self.remembered, now.proven - self.proven);
        ensure!(remembered >= most(known), "of {known} requests with a known token {remembered} were remembered");
        ensure!(proven >= most(new), "of {new} requests with a new token {proven} were proven");
        let questions = now.questions - self.questions;
        ensure!(questions <= (known + new) / 1_000, "{questions} of {} requests were asked about", known + new);
        Ok(())
    }
}

impl Row {
    fn is_curfews(&self) -> bool {
        self.name.contains(CURFEW)
    }

    /// True if the filter has to prove each of its tokens.
    fn is_new(&self) -> bool {
        self.listener == CURFEW_COLD || self.expected.status == 401
    }
}
