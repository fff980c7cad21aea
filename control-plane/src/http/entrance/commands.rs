//! The commands that revoke, and the way from what they have committed to a confirmation.

use crate::leases::Pending;
use crate::logout::Logouts;
use crate::store::Store;
use crate::store::writer::Writer;

/// What entrances have and other endpoints do not. What is in here is for [`super::Call`] alone.
pub struct Entrances {
    pub(super) writer: Writer,
    pub(super) logouts: Logouts,
}

impl Entrances {
    /// Revokes in this store, and waits for its commits.
    pub fn new(store: &Store, logouts: Logouts) -> Self {
        Self { writer: store.writer().clone(), logouts }
    }

    /// What the ticket of an early answer stands for; nothing for a ticket that no control plane has written.
    pub(in crate::http) fn redeem(&self, ticket: &str) -> Option<Pending> {
        self.logouts.redeem(ticket)
    }
}
