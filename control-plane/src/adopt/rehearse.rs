//! The dry run: what an adoption would do, counted, with nothing written.

use std::collections::HashSet;

use sqlx::Error;

use super::portion::{Measure, Portion};
use super::{Plan, Progress, Rules, Tally};
use crate::store::sql::{self, Kept, Link, OldTable, State, Tables};

/// Counts it.
pub(super) async fn rehearse(
    link: &mut Link<'_>,
    table: OldTable,
    rules: Rules<'_>,
    plan: Plan,
    tell: &mut impl FnMut(Progress),
) -> Result<Tally, Error> {
    let retention = rules.settings.retention;
    let kept = if table.begun { sql::kept(link, retention).await? } else { Kept::asked(retention) };
    let now = sql::surely_past(link, rules.clock.moment()).await?;
    let measure = Measure { policy: rules.policy, rest: kept.token_rest, now };
    let (mut tally, mut met, mut revoked) = (Tally::default(), HashSet::new(), HashSet::new());
    let last = OldTable::last(link).await?;
    let mut at = i64::MIN;
    loop {
        let rows = table.rows(link, at, plan.batch).await?;
        let Some(end) = rows.last() else { return Ok(tally) };
        at = end.id;
        let mut portion = Portion::of(&rows, measure)?;
        let ids: Vec<_> = portion.found.iter().map(|found| found.token).collect();
        let states = match table.begun {
            true => sql::states(link, Tables::Beside, &ids).await?,
            false => Default::default(),
        };
        let is_blocked = |state: &State| state.blocked;
        for found in portion.found.iter().filter(|found| found.blocked) {
            let known = states.get(&found.token).is_some_and(is_blocked);
            portion.tally.revoked += u64::from(!known && revoked.insert(found.token));
        }
        portion.count_living(|token| !states.contains_key(&token) && met.insert(token));
        if plan.forget {
            portion.tally.forgotten += u64::try_from(portion.texts.len()).unwrap_or(u64::MAX);
        }
        tally = tally.and(portion.tally);
        tell(Progress { rows: tally.rows, at, last });
    }
}
