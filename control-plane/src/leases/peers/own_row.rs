//! The task that keeps the own row. It writes the row while workers poll, raises the row's beat to show that this
//! control plane is alive, writes into it what is confirmed, and removes it when no worker has polled for a while.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::outbox::Outbox;
use crate::clock::LocalClock;
use crate::leases::protocol::LeaseTimes;
use crate::leases::signals::Signals;
use crate::leases::state::SharedState;
use crate::leases::surroundings::RowStore;
use crate::log::{Beat, ControlPlaneId};
use crate::log_throttle::LogThrottle;

/// The pause between two writes of the row that confirm something.
const BETWEEN_WRITES: Duration = Duration::from_millis(5);

/// The same pause while confirmations also go through Redis, which is quicker.
const BETWEEN_WRITES_WITH_REDIS: Duration = Duration::from_millis(100);

/// The parts of the room that this file uses, and the state of the task.
pub(in crate::leases) struct OwnRowKeeper<'a> {
    id: ControlPlaneId,
    clock: &'a LocalClock,
    times: LeaseTimes,
    state: &'a SharedState,
    signals: &'a Signals,
    outbox: &'a Outbox,
    writer: Box<dyn RowStore>,
    /// The beat of the newest write, while there may be a row.
    last: Option<u64>,
    failures: LogThrottle,
}

impl<'a> OwnRowKeeper<'a> {
    /// A keeper of the row `id`, which does not exist yet.
    pub(in crate::leases) fn new(
        id: ControlPlaneId,
        clock: &'a LocalClock,
        times: LeaseTimes,
        state: &'a SharedState,
        signals: &'a Signals,
        outbox: &'a Outbox,
        writer: Box<dyn RowStore>,
    ) -> Self {
        Self { id, clock, times, state, signals, outbox, writer, last: None, failures: LogThrottle::default() }
    }

    /// Keeps the row until it is told to stop, and then until the leases from here are over.
    pub(in crate::leases) async fn run(mut self, stop: CancellationToken) {
        let mut stopped = false;
        loop {
            let next = self.turn().await;
            if stopped && self.last.is_none() {
                return;
            }
            tokio::select! {
                () = self.signals.row_wanted() => tokio::time::sleep(self.between_writes()).await,
                () = self.clock.sleep_until(next) => {}
                () = stop.cancelled(), if !stopped => {
                    stopped = true;
                    self.signals.close();
                }
            }
        }
    }

    /// Writes or removes the row, if that is due. Returns when to do this again.
    async fn turn(&mut self) -> Duration {
        let now = self.clock.now();
        if self.is_wanted(now) {
            if let Some(beat) = self.beat(now) {
                self.write(beat).await;
            }
        } else if let Some(beat) = self.last {
            self.remove(beat).await;
        }
        let pause = self.times.row_life() / 12;
        self.clock.now().saturating_add(pause)
    }

    fn between_writes(&self) -> Duration {
        // Polls wait for the first write.
        if self.last.is_some() && self.outbox.is_heard() { BETWEEN_WRITES_WITH_REDIS } else { BETWEEN_WRITES }
    }

    /// True while workers poll, or while leases from here are not over.
    fn is_wanted(&self, now: Duration) -> bool {
        let state = self.state.lock();
        (state.row.is_polled(now) && !self.signals.is_closing()) || !state.barrier.all_over(now)
    }

    /// The next write, if one is due or if it confirms more than the row does.
    fn beat(&mut self, now: Duration) -> Option<Beat> {
        let mut state = self.state.lock();
        let is_behind = state.row.catch_up();
        let due = state.barrier.beat(now);
        let beat = due.or_else(|| is_behind.then(|| state.barrier.write(now)))?;
        self.last = Some(beat.beat);
        Some(beat)
    }

    async fn write(&mut self, beat: Beat) {
        match self.writer.write(self.id, beat).await {
            Ok(()) => self.signals.set_registered(true),
            Err(error) => {
                // The next write has to confirm what this one did not.
                self.state.lock().row.falls_behind();
                if !self.writer.explains(&error)
                    && let Some(failures) = self.failures.line(Instant::now())
                {
                    warn!(
                        error = error.cause(),
                        failures,
                        "this control plane's row could not be written: workers get no leases, and ask for each request"
                    );
                }
            }
        }
    }

    /// Removes the row. From before the removal on, no lease is granted from a reading that shows the row.
    async fn remove(&mut self, beat: u64) {
        self.signals.set_registered(false);
        {
            let mut state = self.state.lock();
            state.row.retire(beat);
            // A lease that was granted in the meantime keeps the row, whose beat is raised at once.
            if !state.barrier.all_over(self.clock.now()) {
                state.row.falls_behind();
                self.signals.write_row();
                return;
            }
        }
        match self.writer.remove(self.id, beat).await {
            Ok(()) => {
                info!("no worker polls this control plane any more: its row is removed");
                self.last = None;
            }
            // Another control plane removes the row when it has not changed for long enough.
            Err(_) if self.signals.is_closing() => self.last = None,
            Err(_) => {}
        }
    }
}
