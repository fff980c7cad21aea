//! The task that keeps the own row: written while workers poll, raised so that the others see it alive, set when there is
//! something to confirm, and taken away when nobody polls any more.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::{Strict, sleep_until};
use crate::barrier::Beat;
use crate::clock::since_boot;
use crate::seldom::Seldom;
use crate::stop::Stop;
use crate::store::ReplicaRows;

/// How long the row stays after the last poll.
const KEPT_AFTER_POLL: Duration = Duration::from_secs(30);

/// The pause between two writes of the row that confirm something, and where that is told more quickly by Redis.
const BETWEEN_WRITES: Duration = Duration::from_millis(5);
const BETWEEN_WRITES_WITH_REDIS: Duration = Duration::from_millis(100);

/// Keeps the row until it is told to stop, and then until the leases from here are over.
pub(super) async fn run(strict: &Strict, mut stop: Stop) {
    let mut keeper = Keeper { strict, rows: strict.store.replica_rows(), last: None, failures: Seldom::default() };
    let mut stopped = false;
    loop {
        let next = keeper.turn().await;
        if stopped && keeper.last.is_none() {
            return;
        }
        tokio::select! {
            () = strict.write_row.notified() => tokio::time::sleep(keeper.between_writes()).await,
            () = sleep_until(next) => {}
            () = stop.requested(), if !stopped => {
                stopped = true;
                strict.close();
            }
        }
    }
}

struct Keeper<'a> {
    strict: &'a Strict,
    rows: ReplicaRows,
    /// The number of the newest write, while there may be a row.
    last: Option<u64>,
    failures: Seldom,
}

impl Keeper<'_> {
    /// Writes or removes what is to be written or removed; returns when to come again.
    async fn turn(&mut self) -> Duration {
        let now = since_boot();
        if self.is_wanted(now) {
            if let Some(beat) = self.beat(now) {
                self.write(beat).await;
            }
        } else if let Some(beat) = self.last {
            self.remove(beat).await;
        }
        let pause = self.strict.settings.terms.row_life() / 12;
        since_boot().saturating_add(pause)
    }

    fn between_writes(&self) -> Duration {
        // The first write is what polls wait for.
        if self.last.is_some() && self.strict.is_heard() { BETWEEN_WRITES_WITH_REDIS } else { BETWEEN_WRITES }
    }

    /// Whether somebody polls, or leases from here are not over.
    fn is_wanted(&self, now: Duration) -> bool {
        let state = self.strict.state();
        let polled = state.last_poll.is_some_and(|at| now.saturating_sub(at) < KEPT_AFTER_POLL);
        (polled && !self.strict.is_closing()) || !state.barrier.all_over(now)
    }

    /// The write that is due, or that confirms more than the row does.
    fn beat(&mut self, now: Duration) -> Option<Beat> {
        let mut state = self.strict.state();
        let confirms = std::mem::take(&mut state.unconfirmed);
        let due = state.barrier.beat(now);
        let beat = due.or_else(|| confirms.then(|| state.barrier.write(now)))?;
        self.last = Some(beat.beat);
        Some(beat)
    }

    async fn write(&mut self, beat: Beat) {
        match self.rows.write(self.strict.id, beat).await {
            Ok(()) => {
                self.strict.registered.send_replace(true);
            }
            Err(error) => {
                // What it was to confirm is still to be confirmed.
                self.strict.state().unconfirmed = true;
                if let Some(failures) = self.failures.line(Instant::now()) {
                    warn!(
                        ?error,
                        failures, "the control plane's row could not be written: workers get no leases and ask"
                    );
                }
            }
        }
    }

    /// Grants nothing from before this on, and takes the row away.
    async fn remove(&mut self, beat: u64) {
        self.strict.registered.send_replace(false);
        {
            let mut state = self.strict.state();
            state.retired = state.retired.max(beat);
            // A lease that was granted meanwhile keeps the row, which is raised over that number at once.
            if !state.barrier.all_over(since_boot()) {
                state.unconfirmed = true;
                self.strict.write_row.notify_one();
                return;
            }
        }
        match self.rows.remove(self.strict.id, beat).await {
            Ok(()) => {
                info!("no proxy asks for leases here");
                self.last = None;
            }
            // When it stands still for long enough, another one removes it.
            Err(_) if self.strict.is_closing() => self.last = None,
            Err(_) => {}
        }
    }
}
