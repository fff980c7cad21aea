//! The dry run: counts what an adoption would do, and writes nothing in either database.

use std::collections::HashSet;

use super::failure::{AdoptFailure, own};
use super::portion::{Measure, Portion};
use super::source::Source;
use super::{Event, Plan, Progress, Rules, Tally};
use crate::store::adoption::AdoptionReader;

/// Counts what the adoption of this source would do.
pub(super) async fn dry_run(
    mut source: Source,
    mut curfew: AdoptionReader,
    rules: Rules<'_>,
    plan: Plan,
    tell: &mut impl FnMut(Event<'_>),
) -> Result<Tally, AdoptFailure> {
    let now = curfew.surely_past(rules.clock).await.map_err(own)?;
    let measure = Measure { policy: rules.policy, rest: curfew.token_rest(), now };
    let mut counted = Counted::default();
    let last = source.last().await?;
    let mut at = i64::MIN;
    loop {
        let rows = source.rows(at, plan.batch).await?;
        let Some(end) = rows.last() else { break };
        at = end.id;
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let marks = curfew.marks(&ids).await.map_err(own)?;
        let mut portion = Portion::of(&rows, &marks, measure)?;
        let accepted = curfew.accepted(&portion.unreadable.blocked()).await.map_err(own)?;
        portion.accept(&accepted, plan.accept_unreadable);
        tell(Event::Unreadable(&portion.unreadable.rows));
        counted.add(portion, &mut curfew, plan.forget).await?;
        tell(Event::Progress(Progress { rows: counted.tally.rows, at, last }));
    }
    source.close().await?;
    curfew.close().await.map_err(own)?;
    Ok(counted.tally)
}

/// What has been counted so far. A token is counted once, though its rows may be in several portions.
#[derive(Default)]
struct Counted {
    tally: Tally,
    taken: HashSet<curfew_core::RevocationKey>,
    revoked: HashSet<curfew_core::RevocationKey>,
}

impl Counted {
    async fn add(
        &mut self,
        mut portion: Portion<'_>,
        curfew: &mut AdoptionReader,
        forget: bool,
    ) -> Result<(), AdoptFailure> {
        let ids: Vec<_> = portion.found.iter().map(|found| found.token).collect();
        let states = curfew.states(&ids).await.map_err(own)?;
        for found in portion.found.iter().filter(|found| found.blocked) {
            let is_revoked = states.get(&found.token).is_some_and(|state| state.blocked);
            portion.tally.revoked += u64::from(!is_revoked && self.revoked.insert(found.token));
        }
        portion.count_living(|token| !states.contains_key(&token) && self.taken.insert(token));
        if forget {
            portion.tally.forgotten += u64::try_from(portion.texts.len()).unwrap_or(u64::MAX);
        }
        self.tally = std::mem::take(&mut self.tally).and(portion.tally);
        Ok(())
    }
}
