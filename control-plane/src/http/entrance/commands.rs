//! The commands that revoke, and the confirmation of what they commit.

use crate::leases::Pending;
use crate::logout::Logouts;
use crate::store::Store;
use crate::store::writer::Writer;

/// What only entrances may use. Its fields are for [`super::Call`] alone.
pub struct Entrances {
    pub(super) writer: Writer,
    pub(super) logouts: Logouts,
}

impl Entrances {
    /// Revokes in this store, and waits for its commits.
    pub fn new(store: &Store, logouts: Logouts) -> Self {
        Self { writer: store.writer().clone(), logouts }
    }

    /// The logout that the ticket of an early answer names; `None` for a ticket that no control plane has written.
    pub(in crate::http) fn redeem(&self, ticket: &str) -> Option<Pending> {
        self.logouts.redeem(ticket)
    }
}
