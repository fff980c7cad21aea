//! `curfew adopt`: takes over the tokens of another application's table `user_token_logs`.
//!
//! Curfew has a database of its own; the application's table is read in the application's database, which may be of
//! another kind. That table stays as it is, with every row, and its application may go on writing to it. Its tokens
//! become rows of Curfew's own table, those that are blocked become revocations in the log, and which rows were taken
//! over is noted, all of it in Curfew's database.
//!
//! A run reads the table in the order of its ids, some rows at a time. It reads them outside any transaction, and
//! writes what follows from them to Curfew's database in one transaction. So nothing waits for locks on the
//! application's table, and logouts wait for a tenth of a second at most. Raw tokens are blanked after that commit. A
//! run may be killed at any moment: the next run goes on, and does nothing twice.
//!
//! A run says that tokens are revoked only when no worker admits them any more: it waits until every lease from before
//! its last commit is over, and checks that the database still has its commits. No worker polls it, so none could
//! confirm earlier.

mod at_start;
mod blocked;
mod dry_run;
mod failure;
mod judge;
mod old_table;
mod pace;
mod portion;
mod run;
mod source;
mod tally;
mod unreadable;

use std::time::Duration;

use curfew_core::Policy;

use crate::clock::Clock;
use crate::store::adoption::{AdoptionReader, AdoptionWriter};
use crate::store::{Database, Settings};
use run::Run;
use source::Source;

pub use at_start::AtStart;
pub use failure::{AdoptFailure, SourceFailure};
pub use tally::{Tally, Unfinished};
pub use unreadable::UnreadableRow;

/// The two databases.
#[derive(Debug, Clone, Copy)]
pub struct Databases<'d> {
    /// The application's.
    pub from: &'d Database,
    /// Curfew's own.
    pub own: &'d Database,
}

/// What the operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Whether to adopt. Otherwise the run only counts what it would do, and writes nothing.
    pub apply: bool,
    /// Whether to blank the raw tokens of adopted rows.
    pub forget: bool,
    /// The most rows of one transaction.
    pub batch: i64,
    /// The least pause after each transaction.
    pub pause: Duration,
    /// Whether to accept the blocked rows without a token that could be revoked. The database remembers which they are.
    pub accept_unreadable: bool,
    /// How long after a commit no worker decides any more by a lease from before it.
    pub leases_over: Duration,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows seen in this pass.
    pub rows: u64,
    /// The id of the last row seen.
    pub at: i64,
    /// The id of the table's last row when the pass began.
    pub last: i64,
}

/// What is told while a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'e> {
    /// It begins to read the table from its first row.
    Pass,
    /// How far it has come.
    Progress(Progress),
    /// Rows without an acceptable token that it has just read, in the order of their ids.
    Unreadable(&'e [UnreadableRow]),
}

/// What a run has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The numbers.
    pub tally: Tally,
    /// What a start of `curfew serve` makes of the adoption if it is unfinished; `None` after a dry run.
    pub at_start: Option<AtStart>,
}

/// The rules by which rows are judged.
#[derive(Clone, Copy)]
pub struct Rules<'r> {
    /// Which tokens are accepted.
    pub policy: &'r Policy,
    /// The settings of the store, which follow from the policy.
    pub settings: &'r Settings,
    /// The time.
    pub clock: &'r Clock,
}

/// Adopts the application's table, or counts what that would do; `None` if there is no such table.
///
/// # Errors
///
/// See [`AdoptFailure`]. What was done before stays done, and the next run goes on from there.
pub async fn adopt(
    databases: Databases<'_>,
    rules: Rules<'_>,
    plan: Plan,
    mut tell: impl FnMut(Event<'_>),
) -> Result<Option<Adopted>, AdoptFailure> {
    let Databases { from, own } = databases;
    let name = from.name();
    if name == own.name() {
        return Err(SourceFailure::SameDatabase.into());
    }
    let Some(source) = Source::open(from, plan.apply && plan.forget).await? else { return Ok(None) };
    let adopted = if plan.apply {
        let curfew = AdoptionWriter::begin(own, rules.settings, rules.clock, &name).await?;
        Run::new(source, curfew, rules, plan).await?.finish(&mut tell).await?
    } else {
        let curfew = AdoptionReader::open(own, rules.settings, &name).await?;
        let tally = dry_run::dry_run(source, curfew, rules, plan, &mut tell).await?;
        Adopted { tally, at_start: None }
    };
    Ok(Some(adopted))
}
