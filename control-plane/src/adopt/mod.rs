//! `curfew migrate --adopt`: brings the table `user_token_logs` of another application into use.
//!
//! That table stays as it is, with every row, and its application may go on writing to it. Its tokens become rows of
//! Curfew's own table beside it, and those that are blocked become revocations in the log; which rows were taken over is
//! noted in a third table. Not in place: the old table's types (dates, truths, numbers for users), constraints and
//! duplicates are its application's, and a logout must not fail because of any of them.
//!
//! The table is gone through in the order of its ids. Rows are read outside any transaction; what follows from some of them
//! is written in one, to Curfew's own tables alone, so that nobody waits for the old table's locks and logouts wait for a
//! tenth of a second at most. Raw tokens are blanked after that. So it may be killed at any moment and begun anew, and what
//! is done is not done again.

mod blocked;
mod judge;
mod pace;
mod portion;
mod rehearse;
mod tally;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use curfew_core::Policy;
use sqlx::Error;

use crate::clock::Clock;
use crate::store::sql::{self, Batch, Layout, OldTable, Opened, Tables};
use crate::store::{Database, OpenFailure, Settings};
use pace::Pace;
use portion::{Measure, Portion};
pub use tally::Tally;

/// How often the table is gone through until nothing is found: rows that its application committed late lie behind.
const PASSES: u32 = 3;

/// For how long some rows are tried: somebody may be in the way, and SQLite knows no queue for its lock.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// How long to wait before each further time.
const PATIENCE: Duration = Duration::from_millis(200);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Do it. Otherwise it is only told what would be done, and nothing is written.
    pub apply: bool,
    /// Blank the raw tokens of adopted rows.
    pub forget: bool,
    /// Rows of one transaction, at most.
    pub batch: i64,
    /// How long to wait after each of them, at least.
    pub pause: Duration,
    /// Be done although there are blocked rows without a token that could be revoked.
    pub accept_unreadable: bool,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows seen in this pass.
    pub rows: u64,
    /// The last one's id.
    pub at: i64,
    /// The id of the table's last row at the begin.
    pub last: i64,
}

/// What there is to judge by.
#[derive(Clone, Copy)]
pub struct Rules<'r> {
    /// Which tokens are accepted.
    pub policy: &'r Policy,
    /// The same for the store.
    pub settings: &'r Settings,
    /// The time.
    pub clock: &'r Clock,
}

/// Adopts the table, or tells what that would be; `None` where there is none to adopt.
///
/// # Errors
///
/// See [`OpenFailure`]. What was done before stays done, and the next run goes on from there.
pub async fn adopt(
    database: &Database,
    rules: Rules<'_>,
    plan: Plan,
    mut tell: impl FnMut(Progress),
) -> Result<Option<Tally>, OpenFailure> {
    let mut connection = if plan.apply { sql::create(database).await? } else { sql::look(database).await? };
    let layout = sql::layout(&mut connection.link()).await?;
    if layout == Layout::Own {
        return Ok(None);
    }
    if layout == Layout::Foreign {
        sql::names_are_free(&mut connection.link()).await?;
    }
    let Some(table) = OldTable::find(&mut connection.link()).await? else { return Ok(None) };
    if !plan.apply {
        let tally = rehearse::rehearse(&mut connection.link(), table, rules, plan, &mut tell).await?;
        connection.close().await?;
        return Ok(Some(tally));
    }
    sql::begin(&mut connection.link()).await?;
    sql::apply(&mut connection, Tables::Beside).await?;
    connection.close().await?;
    database.has_tables(Tables::Beside);
    let table = OldTable { begun: true, ..table };
    let mut opened = Opened::at_start(database).await?;
    sql::server_warnings(&mut opened).await?;
    let rest = sql::kept(&mut opened.connection.link(), rules.settings.retention).await?.token_rest;
    let pace = Pace::new(plan.batch, plan.pause);
    let tally = Adoption { database, rules, plan, table, rest, opened, pace }.run(&mut tell).await?;
    Ok(Some(tally))
}

/// One that writes.
struct Adoption<'a> {
    database: &'a Database,
    rules: Rules<'a>,
    plan: Plan,
    table: OldTable,
    /// How many seconds after its end a token is surely dead.
    rest: i64,
    opened: Opened,
    pace: Pace,
}

/// What was done with some rows.
struct Step {
    tally: Tally,
    /// The last one's id.
    last: i64,
    /// How long others had to wait for it.
    held: Duration,
}

impl Adoption<'_> {
    async fn run(mut self, tell: &mut impl FnMut(Progress)) -> Result<Tally, Error> {
        let mut tally = self.pass(tell).await?;
        let mut changed = tally.changed();
        for _ in 1..PASSES {
            if !changed {
                break;
            }
            let next = self.pass(tell).await?;
            changed = next.changed();
            tally = tally.followed_by(next);
        }
        if tally.unreadable_blocked == 0 || self.plan.accept_unreadable {
            let mut batch =
                Batch::begin(&mut self.opened, self.rules.clock.moment(), self.rules.settings, None).await?;
            batch.end_adoption().await?;
            batch.commit().await?;
        }
        self.opened.connection.close().await?;
        Ok(tally)
    }

    /// Goes through the table once.
    async fn pass(&mut self, tell: &mut impl FnMut(Progress)) -> Result<Tally, Error> {
        let last = OldTable::last(&mut self.opened.connection.link()).await?;
        let mut tally = Tally::default();
        let mut at = i64::MIN;
        while let Some(step) = self.step_at_last(at).await? {
            if step.last <= at {
                return Err(sql::unusable(format!("its ids do not grow after {at}")));
            }
            at = step.last;
            tally = tally.and(step.tally);
            tell(Progress { rows: tally.rows, at, last });
            let pause = self.pace.after(step.held);
            if !step.held.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(tally)
    }

    /// Some rows, tried again where somebody else was in the way.
    async fn step_at_last(&mut self, after: i64) -> Result<Option<Step>, Error> {
        let started = Instant::now();
        loop {
            match self.step(after).await {
                Err(error)
                    if (sql::is_locked(&error) || sql::may_pass(&error)) && started.elapsed() < GIVE_UP_AFTER =>
                {
                    tokio::time::sleep(PATIENCE).await;
                    // The old connection may be in a transaction.
                    self.opened = Opened::writer(self.database).await?;
                }
                outcome => return outcome,
            }
        }
    }

    /// Adopts some rows after an id; nothing where there are none.
    async fn step(&mut self, after: i64) -> Result<Option<Step>, Error> {
        let link = &mut self.opened.connection.link();
        let now = sql::surely_past(link, self.rules.clock.moment()).await?;
        let rows = self.table.rows(link, after, self.pace.rows()).await?;
        let Some(last) = rows.last().map(|row| row.id) else { return Ok(None) };
        let mut portion = Portion::of(&rows, Measure { policy: self.rules.policy, rest: self.rest, now })?;
        let mut held = if portion.is_done() { Duration::ZERO } else { self.write(&mut portion).await? };
        if self.plan.forget && !portion.texts.is_empty() {
            let began = Instant::now();
            let blanked = self.table.blank(&mut self.opened.connection.link(), &portion.texts).await?;
            portion.tally.forgotten += blanked;
            held = held.max(began.elapsed());
        }
        Ok(Some(Step { tally: portion.tally, last, held }))
    }

    /// One transaction; returns how long it kept the head.
    async fn write(&mut self, portion: &mut Portion<'_>) -> Result<Duration, Error> {
        let moment = self.rules.clock.moment();
        let mut batch = Batch::begin(&mut self.opened, moment, self.rules.settings, None).await?;
        let began = Instant::now();
        let taken = batch.take_over(&portion.found).await?;
        batch.mark(&portion.marks).await?;
        batch.move_head().await?;
        batch.commit().await?;
        portion.tally.revoked += taken.revoked;
        let mut met = HashSet::new();
        portion.count_living(|token| taken.new.contains(&token) && met.insert(token));
        Ok(began.elapsed().max(Duration::from_nanos(1)))
    }
}
