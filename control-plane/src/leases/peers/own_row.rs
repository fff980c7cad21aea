//! The task that keeps the own row: written while workers poll, raised so that the others see it alive, set when there is
//! something to confirm, and taken away when nobody polls any more.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::since_boot;
use crate::leases::{Leases, sleep_until};
use crate::log::Beat;
use crate::log_throttle::LogThrottle;
use crate::store::RowWriter;

/// How long the row stays after the last poll.
const KEPT_AFTER_POLL: Duration = Duration::from_secs(30);

/// The pause between two writes of the row that confirm something, and where that is told more quickly by Redis.
const BETWEEN_WRITES: Duration = Duration::from_millis(5);
const BETWEEN_WRITES_WITH_REDIS: Duration = Duration::from_millis(100);

/// Keeps the row until it is told to stop, and then until the leases from here are over.
pub(in crate::leases) async fn run(leases: &Leases, stop: CancellationToken) {
    let mut keeper = Keeper { leases, rows: leases.store.row_writer(), last: None, failures: LogThrottle::default() };
    let mut stopped = false;
    loop {
        let next = keeper.turn().await;
        if stopped && keeper.last.is_none() {
            return;
        }
        tokio::select! {
            () = leases.write_row.notified() => tokio::time::sleep(keeper.between_writes()).await,
            () = sleep_until(next) => {}
            () = stop.cancelled(), if !stopped => {
                stopped = true;
                leases.close();
            }
        }
    }
}

struct Keeper<'a> {
    leases: &'a Leases,
    rows: RowWriter,
    /// The number of the newest write, while there may be a row.
    last: Option<u64>,
    failures: LogThrottle,
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
        let pause = self.leases.settings.terms.row_life() / 12;
        since_boot().saturating_add(pause)
    }

    fn between_writes(&self) -> Duration {
        // The first write is what polls wait for.
        if self.last.is_some() && self.leases.is_heard() { BETWEEN_WRITES_WITH_REDIS } else { BETWEEN_WRITES }
    }

    /// Whether somebody polls, or leases from here are not over.
    fn is_wanted(&self, now: Duration) -> bool {
        let state = self.leases.state();
        let polled = state.last_poll.is_some_and(|at| now.saturating_sub(at) < KEPT_AFTER_POLL);
        (polled && !self.leases.is_closing()) || !state.barrier.all_over(now)
    }

    /// The write that is due, or that confirms more than the row does.
    fn beat(&mut self, now: Duration) -> Option<Beat> {
        let mut state = self.leases.state();
        let confirms = std::mem::take(&mut state.unconfirmed);
        let due = state.barrier.beat(now);
        let beat = due.or_else(|| confirms.then(|| state.barrier.write(now)))?;
        self.last = Some(beat.beat);
        Some(beat)
    }

    async fn write(&mut self, beat: Beat) {
        match self.rows.write(self.leases.id, beat).await {
            Ok(()) => {
                self.leases.registered.send_replace(true);
            }
            Err(error) => {
                // What it was to confirm is still to be confirmed.
                self.leases.state().unconfirmed = true;
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
        self.leases.registered.send_replace(false);
        {
            let mut state = self.leases.state();
            state.retired = state.retired.max(beat);
            // A lease that was granted meanwhile keeps the row, which is raised over that number at once.
            if !state.barrier.all_over(since_boot()) {
                state.unconfirmed = true;
                self.leases.write_row.notify_one();
                return;
            }
        }
        match self.rows.remove(self.leases.id, beat).await {
            Ok(()) => {
                info!("no proxy asks for leases here");
                self.last = None;
            }
            // When it stands still for long enough, another one removes it.
            Err(_) if self.leases.is_closing() => self.last = None,
            Err(_) => {}
        }
    }
}
