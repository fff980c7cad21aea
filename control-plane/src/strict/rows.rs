//! The task that reads the rows of the other control planes: after a commit, while a logout waits for one of them, and now
//! and then, so that one that died is known to be silent before a logout has to find out.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::Strict;
use crate::barrier::Replicas;
use crate::clock::since_boot;
use crate::seldom::Seldom;
use crate::store::ReplicaRows;

/// How soon the rows are read again while a logout waits for what may be in them.
const AGAIN: Duration = Duration::from_millis(5);

/// The same where confirmations are told more quickly by Redis.
const AGAIN_WITH_REDIS: Duration = Duration::from_millis(50);

/// How soon they are read again where the database did not answer.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Reads until it is over.
pub(super) async fn run(strict: &Strict, over: impl Future<Output = ()>) {
    let mut reader = Reader { strict, rows: strict.store.replica_rows(), failures: Seldom::default() };
    tokio::select! {
        () = async { loop { reader.turn().await } } => {}
        () = over => {}
    }
}

struct Reader<'a> {
    strict: &'a Strict,
    rows: ReplicaRows,
    failures: Seldom,
}

impl Reader<'_> {
    /// A reading, and the pause until the next one.
    async fn turn(&mut self) {
        let answered = self.read().await;
        let wanted = self.strict.state().barrier.wants_rows();
        match (wanted, answered) {
            (true, true) => {
                tokio::select! {
                    // One more logout waits: its rows are to be read after its commit.
                    () = self.strict.read_rows.notified() => {}
                    () = sleep(if self.strict.is_heard() { AGAIN_WITH_REDIS } else { AGAIN }) => {}
                }
            }
            (true, false) => sleep(AFTER_FAILURE).await,
            (false, _) => {
                tokio::select! {
                    () = self.strict.read_rows.notified() => {}
                    () = sleep(self.strict.settings.terms.lease / 2) => {}
                }
            }
        }
    }

    /// Whether the database answered.
    async fn read(&mut self) -> bool {
        let began = since_boot();
        let Replicas { head, rows } = match self.strict.store.replicas().await {
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
            let mut state = self.strict.state();
            state.barrier.rows(head, &rows, began, since_boot());
            state.barrier.removable(began)
        };
        self.strict.settle.notify_one();
        for (id, beat) in removable {
            // One that stays is removed another time, and hinders nobody.
            let _ = self.rows.remove(id, beat).await;
        }
        true
    }
}
