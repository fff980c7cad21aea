//! An adoption that writes: portion by portion, each tried again if something is in the way.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::failure::{AdoptFailure, own};
use super::pace::Pace;
use super::portion::{Measure, Portion};
use super::source::Source;
use super::unreadable::UnreadableRow;
use super::{Adopted, AtStart, Event, Plan, Progress, Rules, Tally};
use crate::clock::sleep_until;
use crate::store::adoption::{AdoptionWriter, TakeOver};

/// The most passes over the table. A further pass finds rows that the application committed late, with ids that the
/// pass before it had already left behind. Only a pass that finds nothing to do shows that no row was missed.
const PASSES: u32 = 5;

/// How long a portion is tried again. Another process may hold a lock, and SQLite has no queue for its lock.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// The pause before each further attempt.
const PATIENCE: Duration = Duration::from_millis(200);

/// Both databases, and what the operator asks for.
pub(super) struct Run<'a> {
    rules: Rules<'a>,
    plan: Plan,
    source: Source,
    curfew: AdoptionWriter<'a>,
    /// The number of seconds after its end until a token has expired by every clock.
    rest: i64,
    pace: Pace,
}

/// What was done with one portion.
struct Step {
    tally: Tally,
    unreadable: Vec<UnreadableRow>,
    /// The id of its last row.
    last: i64,
    /// How long it held others up.
    held: Duration,
}

impl<'a> Run<'a> {
    pub(super) async fn new(
        source: Source,
        mut curfew: AdoptionWriter<'a>,
        rules: Rules<'a>,
        plan: Plan,
    ) -> Result<Self, AdoptFailure> {
        let rest = curfew.token_rest().await.map_err(own)?;
        Ok(Self { rules, plan, source, curfew, rest, pace: Pace::new(plan.batch, plan.pause) })
    }

    /// Adopts the table, and records the end of the adoption if there is one.
    pub(super) async fn finish(mut self, tell: &mut impl FnMut(Event<'_>)) -> Result<Adopted, AdoptFailure> {
        let tally = self.passes(tell).await?;
        self.confirm().await?;
        let is_finished = tally.unfinished().is_none();
        if is_finished && !self.curfew.finish().await.map_err(own)? {
            return Err(AdoptFailure::HistoryEnded);
        }
        let at_start = AtStart::after(self.curfew.before());
        self.source.close().await?;
        self.curfew.close().await.map_err(own)?;
        Ok(Adopted { tally, at_start: Some(at_start) })
    }

    /// Makes passes over the table until one finds nothing to do, or there were enough of them.
    async fn passes(&mut self, tell: &mut impl FnMut(Event<'_>)) -> Result<Tally, AdoptFailure> {
        let mut tally = self.pass(tell).await?;
        tally.late = tally.changes();
        for _ in 1..PASSES {
            if tally.late == 0 {
                break;
            }
            let next = self.pass(tell).await?;
            let late = next.changes();
            tally = Tally { late, ..tally.followed_by(next) };
        }
        Ok(tally)
    }

    /// Waits until no worker decides by a lease from before the last commit, and makes sure that the commits are still
    /// there: what was revoked is refused everywhere then. An earlier run may have been killed just after a commit, so a
    /// run that has nothing to do waits as well.
    async fn confirm(&mut self) -> Result<(), AdoptFailure> {
        sleep_until(self.curfew.committed().saturating_add(self.plan.leases_over)).await;
        // The old connection may lead to a server that was the primary.
        self.curfew.reopen().await.map_err(own)?;
        self.refuse_lost_commits().await
    }

    async fn refuse_lost_commits(&mut self) -> Result<(), AdoptFailure> {
        if self.curfew.has_all().await.map_err(own)? { Ok(()) } else { Err(AdoptFailure::HistoryEnded) }
    }

    /// Makes one pass over the table.
    async fn pass(&mut self, tell: &mut impl FnMut(Event<'_>)) -> Result<Tally, AdoptFailure> {
        tell(Event::Pass);
        let last = self.source.last().await?;
        let mut tally = Tally::default();
        let mut at = i64::MIN;
        while let Some(step) = self.step_with_patience(at).await? {
            at = step.last;
            tally = tally.and(step.tally);
            tell(Event::Unreadable(&step.unreadable));
            tell(Event::Progress(Progress { rows: tally.rows, at, last }));
            let pause = self.pace.after(step.held);
            if !step.held.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(tally)
    }

    /// One portion, tried again if another process was in the way.
    async fn step_with_patience(&mut self, after: i64) -> Result<Option<Step>, AdoptFailure> {
        let started = Instant::now();
        loop {
            match self.step(after).await {
                Err(failure) if failure.may_pass() && started.elapsed() < GIVE_UP_AFTER => {
                    tokio::time::sleep(PATIENCE).await;
                    self.source.reopen().await?;
                    self.curfew.reopen().await.map_err(own)?;
                }
                outcome => return outcome,
            }
        }
    }

    /// Adopts the next rows after an id; `None` if there are none.
    ///
    /// The rows are read before the notes about them. So a text that another run has blanked is always found with its
    /// note.
    async fn step(&mut self, after: i64) -> Result<Option<Step>, AdoptFailure> {
        let now = self.curfew.surely_past().await.map_err(own)?;
        let rows = self.source.rows(after, self.pace.rows()).await?;
        let Some(last) = rows.last().map(|row| row.id) else { return Ok(None) };
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let marks = self.curfew.marks(&ids).await.map_err(own)?;
        let mut portion = Portion::of(&rows, &marks, Measure { policy: self.rules.policy, rest: self.rest, now })?;
        let accepted = self.curfew.accepted(&portion.unreadable.blocked()).await.map_err(own)?;
        portion.accept(&accepted, self.plan.accept_unreadable);
        let mut held = if portion.is_done() { Duration::ZERO } else { self.write(&mut portion).await? };
        // Only after the commit, and while the database has it: otherwise these tokens are nowhere but in the table.
        if self.plan.forget && !portion.texts.is_empty() {
            self.refuse_lost_commits().await?;
            let began = Instant::now();
            portion.tally.forgotten += self.source.blank(&portion.texts).await?;
            held = held.max(began.elapsed());
        }
        Ok(Some(Step { tally: portion.tally, unreadable: portion.unreadable.rows, last, held }))
    }

    /// Writes a portion in one transaction; returns how long it held others up.
    async fn write(&mut self, portion: &mut Portion<'_>) -> Result<Duration, AdoptFailure> {
        let rows = TakeOver { found: &portion.found, marks: &portion.marks, accepted: &portion.accepted };
        let (taken, held) = self.curfew.take_over(rows).await.map_err(own)?;
        portion.tally.revoked += taken.revoked;
        let mut counted = HashSet::new();
        portion.count_living(|token| taken.new.contains(&token) && counted.insert(token));
        Ok(held.max(Duration::from_nanos(1)))
    }
}
