//! From a committed revocation to the answer that says so: the one way for every entrance.
//!
//! Authenticate, hand the writer a command, get a [`Committed`], wait for that very commit, get a [`Confirmed`], answer. An
//! answer that says "logged out" is built from a [`Finished`] alone: from a [`Confirmed`], or from an [`Accepted`] for a caller
//! that asked not to wait (RFC 7240, `respond-async`). Only this room makes them, and only out of a [`Committed`], which only
//! the writer makes:
//!
//! ```compile_fail
//! use curfew_control_plane::logout::Confirmed;
//! let forged = Confirmed { outcome: () };
//! ```
//!
//! ```compile_fail
//! use curfew_control_plane::store::command::{Committed, LogoutOutcome};
//! fn forge(commit: curfew_control_plane::log::Commit) -> Committed<LogoutOutcome> {
//!     Committed::new(LogoutOutcome::LoggedOut, commit)
//! }
//! ```
//!
//! Why the very commit, and not the newest one: a later commit may have begun another history of the log, which may lack this
//! one. Waiting for the newest would confirm what nobody knows to be in force. So a history that was replaced between the
//! commit and its confirmation is [`Unavailable::Unconfirmed`].

mod tickets;

use std::sync::Arc;

use crate::leases::{Leases, Pending};
use crate::secret::Secret;
use crate::store::command::{Committed, Unavailable};
use tickets::Tickets;

/// What a command has brought about, which no worker admits any more.
#[derive(Debug)]
pub struct Confirmed<T> {
    outcome: T,
}

/// What a command has brought about, durable already, for a caller that does not wait until no worker admits it.
#[derive(Debug)]
pub struct Accepted<T> {
    outcome: T,
    ticket: String,
}

/// All that an answer may be built from.
#[derive(Debug)]
pub enum Finished<T> {
    /// In force everywhere.
    Confirmed(Confirmed<T>),
    /// Durable, and soon in force everywhere.
    Accepted(Accepted<T>),
}

impl<T> Confirmed<T> {
    /// What the command has brought about.
    pub fn into_outcome(self) -> T {
        self.outcome
    }
}

impl<T> Accepted<T> {
    /// What the command has brought about, and the ticket that [`Logouts::redeem`] takes at any control plane.
    pub fn into_parts(self) -> (T, String) {
        (self.outcome, self.ticket)
    }
}

/// Whether a caller waits until no worker admits what was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It does.
    UntilConfirmed,
    /// It wants an answer as soon as the revocation is durable.
    UntilDurable,
}

/// Turns commits into confirmations.
pub struct Logouts {
    leases: Arc<Leases>,
    tickets: Tickets,
}

impl Logouts {
    /// Waits for `leases`. `secret` is the one that all control planes share: their tickets are redeemed by all of them.
    pub fn new(leases: Arc<Leases>, secret: &Secret) -> Self {
        Self { leases, tickets: Tickets::of(secret) }
    }

    /// What an answer may be built from, as soon as the caller may have it.
    ///
    /// # Errors
    ///
    /// [`Unavailable::Unconfirmed`]: it is not known whether workers still admit what was revoked. The log is of another
    /// history now, which may lack the commit, or this control plane ends.
    pub async fn finish<T>(&self, committed: Committed<T>, wait: Wait) -> Result<Finished<T>, Unavailable> {
        match wait {
            Wait::UntilConfirmed => self.confirm(committed).await.map(Finished::Confirmed),
            Wait::UntilDurable => Ok(Finished::Accepted(self.accept(committed))),
        }
    }

    /// Returns when no worker admits any more what the command revoked.
    ///
    /// # Errors
    ///
    /// As [`Self::finish`].
    pub async fn confirm<T>(&self, committed: Committed<T>) -> Result<Confirmed<T>, Unavailable> {
        self.leases.wait_for(committed.commit()).confirmed().await.map_err(|_| Unavailable::Unconfirmed)?;
        Ok(Confirmed { outcome: committed.into_outcome() })
    }

    fn accept<T>(&self, committed: Committed<T>) -> Accepted<T> {
        // From here on the workers are waited for, whether the caller asks or not.
        let pending = self.leases.wait_for(committed.commit());
        Accepted { ticket: self.tickets.write(pending.position()), outcome: committed.into_outcome() }
    }

    /// Takes up the waiting that a ticket names; nothing for a ticket that no control plane has written. It may be over
    /// already, and then it is again as soon as the rows of the other control planes were read.
    pub fn redeem(&self, ticket: &str) -> Option<Pending> {
        self.tickets.read(ticket).map(|position| self.leases.wait_for_position(position))
    }
}
