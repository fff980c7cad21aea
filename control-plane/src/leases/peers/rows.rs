//! The task that reads the rows of the other control planes: after each commit, while a logout waits for one of them,
//! and at regular intervals. Because of the regular reads, a control plane that died is known to be silent before a
//! logout has to wait for it.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::company::{Change, Peer};
use super::outbox::Outbox;
use crate::clock::LocalClock;
use crate::leases::signals::Signals;
use crate::leases::state::SharedState;
use crate::leases::surroundings::{LogStore, RowStore};
use crate::log::ControlPlanes;
use crate::log_throttle::LogThrottle;

/// How soon the rows are read again while a logout waits for a confirmation in them.
const AGAIN: Duration = Duration::from_millis(5);

/// The same pause while confirmations come through Redis, which is quicker.
const AGAIN_WITH_REDIS: Duration = Duration::from_millis(50);

/// How soon the rows are read again if the database did not answer.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// The parts of the room that this file uses.
pub(in crate::leases) struct RowsReader<'a> {
    clock: &'a LocalClock,
    store: &'a dyn LogStore,
    /// How long to pause while no logout waits.
    pause: Duration,
    state: &'a SharedState,
    signals: &'a Signals,
    outbox: &'a Outbox,
    writer: Box<dyn RowStore>,
    failures: LogThrottle,
}

/// Tells operators of a control plane that comes or goes.
fn tell(change: Change) {
    match change {
        Change::Came(control_plane) => info!(%control_plane, "another control plane grants leases to workers"),
        Change::Left(control_plane) => {
            info!(%control_plane, "another control plane has left: no worker polls it any more")
        }
        Change::Silent(control_plane) => warn!(
            %control_plane,
            "another control plane has fallen silent: did it die, or is it cut off? Logouts wait until its leases are over"
        ),
    }
}

impl<'a> RowsReader<'a> {
    /// A reader that pauses for half a `lease` while no logout waits.
    pub(in crate::leases) fn new(
        clock: &'a LocalClock,
        store: &'a dyn LogStore,
        lease: Duration,
        state: &'a SharedState,
        signals: &'a Signals,
        outbox: &'a Outbox,
    ) -> Self {
        let (writer, failures) = (store.row_store(), LogThrottle::default());
        Self { clock, store, pause: lease / 2, state, signals, outbox, writer, failures }
    }

    /// Reads until it is over.
    pub(in crate::leases) async fn run(mut self, over: impl Future<Output = ()>) {
        tokio::select! {
            () = async { loop { self.turn().await } } => {}
            () = over => {}
        }
    }

    /// Reads the rows once, and pauses until they are to be read again.
    async fn turn(&mut self) {
        let answered = self.read().await;
        let wanted = self.state.lock().barrier.wants_rows();
        if wanted && !answered {
            return sleep(AFTER_FAILURE).await;
        }
        let pause = match wanted {
            true if self.outbox.is_heard() => AGAIN_WITH_REDIS,
            true => AGAIN,
            false => self.pause,
        };
        tokio::select! {
            // One more logout waits, and needs rows that are read after its commit.
            () = self.signals.rows_wanted() => {}
            () = sleep(pause) => {}
        }
    }

    /// True if the database answered.
    async fn read(&mut self) -> bool {
        let began = self.clock.now();
        let ControlPlanes { head, rows } = match self.store.control_planes().await {
            Ok(planes) => planes,
            Err(error) => {
                if !self.store.explains(&error)
                    && let Some(failures) = self.failures.line(Instant::now())
                {
                    let error = error.cause();
                    warn!(error, failures, "the rows of the control planes could not be read: logouts take longer");
                }
                return false;
            }
        };
        let nobody = rows.iter().filter(|row| row.is_nobody()).map(|row| row.id).collect();
        let (stale, changes) = {
            let mut state = self.state.lock();
            let now = self.clock.now();
            state.barrier.rows(head, &rows, began, now);
            let others = state.barrier.others(began);
            let others = others.map(|(id, is_silent, has_confirmed)| Peer { id, is_silent, has_confirmed }).collect();
            (state.barrier.stale_rows(began), state.company.look(others, nobody, now))
        };
        self.signals.look();
        changes.into_iter().for_each(tell);
        // A row that cannot be written does no harm, and is written another time.
        for (id, beat) in stale.silent {
            let _ = self.writer.replace(id, beat).await;
        }
        for (id, beat) in stale.over {
            let _ = self.writer.remove(id, beat).await;
        }
        true
    }
}
