//! The signals that wake the tasks of the room.

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Requests to the tasks, and two facts that others wait for.
pub(super) struct Signals {
    look: Notify,
    read_rows: Notify,
    write_row: Notify,
    registered: watch::Sender<bool>,
    closing: CancellationToken,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            look: Notify::new(),
            read_rows: Notify::new(),
            write_row: Notify::new(),
            registered: watch::Sender::new(false),
            closing: CancellationToken::new(),
        }
    }
}

impl Signals {
    /// Something has happened that may end a wait, or may allow a confirmation for another control plane.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }

    /// Returns after [`Self::look`].
    pub(super) async fn looked_for(&self) {
        self.look.notified().await;
    }

    /// A logout waits for the rows of others, which have to be read after its commit.
    pub(super) fn read_rows(&self) {
        self.read_rows.notify_one();
    }

    /// Returns after [`Self::read_rows`].
    pub(super) async fn rows_wanted(&self) {
        self.read_rows.notified().await;
    }

    /// Asks for a write of the own row before it is due.
    pub(super) fn write_row(&self) {
        self.write_row.notify_one();
    }

    /// Returns after [`Self::write_row`].
    pub(super) async fn row_wanted(&self) {
        self.write_row.notified().await;
    }

    /// Sets whether the own row is in the database.
    pub(super) fn set_registered(&self, registered: bool) {
        self.registered.send_replace(registered);
    }

    /// True if the own row is in the database.
    pub(super) fn is_registered(&self) -> bool {
        *self.registered.borrow()
    }

    /// Returns when the own row is in the database.
    pub(super) async fn registered(&self) {
        let _ = self.registered.subscribe().wait_for(|registered| *registered).await;
    }

    /// From now on no lease is granted and no poll is held back.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// True after [`Self::close`].
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Returns after [`Self::close`].
    pub(super) async fn closed(&self) {
        self.closing.cancelled().await;
    }
}
