//! The task that reads the rows of the other control planes: after a commit, while a logout waits for one of them, and now
//! and then, so that one that died is known to be silent before a logout has to find out.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::clock::since_boot;
use crate::leases::Leases;
use crate::log::ControlPlanes;
use crate::log_throttle::LogThrottle;
use crate::store::RowWriter;

/// How soon the rows are read again while a logout waits for what may be in them.
const AGAIN: Duration = Duration::from_millis(5);

/// The same where confirmations are told more quickly by Redis.
const AGAIN_WITH_REDIS: Duration = Duration::from_millis(50);

/// How soon they are read again where the database did not answer.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Reads until it is over.
pub(in crate::leases) async fn run(leases: &Leases, over: impl Future<Output = ()>) {
    let mut reader = Reader { leases, rows: leases.store.row_writer(), failures: LogThrottle::default() };
    tokio::select! {
        () = async { loop { reader.turn().await } } => {}
        () = over => {}
    }
}

struct Reader<'a> {
    leases: &'a Leases,
    rows: RowWriter,
    failures: LogThrottle,
}

impl Reader<'_> {
    /// A reading, and the pause until the next one.
    async fn turn(&mut self) {
        let answered = self.read().await;
        let wanted = self.leases.state().barrier.wants_rows();
        match (wanted, answered) {
            (true, true) => {
                tokio::select! {
                    // One more logout waits: its rows are to be read after its commit.
                    () = self.leases.read_rows.notified() => {}
                    () = sleep(if self.leases.is_heard() { AGAIN_WITH_REDIS } else { AGAIN }) => {}
                }
            }
            (true, false) => sleep(AFTER_FAILURE).await,
            (false, _) => {
                tokio::select! {
                    () = self.leases.read_rows.notified() => {}
                    () = sleep(self.leases.settings.terms.lease / 2) => {}
                }
            }
        }
    }

    /// Whether the database answered.
    async fn read(&mut self) -> bool {
        let began = since_boot();
        let ControlPlanes { head, rows } = match self.leases.store.control_planes().await {
            Ok(rows) => rows,
            Err(error) => {
                if let Some(failures) = self.failures.line(Instant::now()) {
                    warn!(
                        ?error,
                        failures, "the rows of the control planes could not be read: logouts wait for longer"
                    );
                }
                return false;
            }
        };
        let removable = {
            let mut state = self.leases.state();
            state.barrier.rows(head, &rows, began, since_boot());
            state.barrier.removable(began)
        };
        self.leases.settle.notify_one();
        for (id, beat) in removable {
            // One that stays is removed another time, and hinders nobody.
            let _ = self.rows.remove(id, beat).await;
        }
        true
    }
}
