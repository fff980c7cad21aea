//! The only path from a committed revocation to the answer that says so, for every entrance.
//!
//! An entrance authenticates its caller, hands the writer a command and gets a [`Committed`]. Only a wait for that very
//! commit turns it into a [`Confirmed`]. An answer that says "logged out" is built from a [`Finished`] alone: from a
//! [`Confirmed`], or from an [`Accepted`] for a caller that asked not to wait (RFC 7240, `respond-async`). Only this
//! room makes them, out of a [`Committed`], which only the writer makes:
//!
//! ```
//! use curfew_control_plane::logout::{Finished, Logouts, Wait};
//! use curfew_control_plane::store::command::{Committed, LogoutOutcome, Unavailable};
//!
//! async fn finish(logouts: &Logouts, committed: Committed<LogoutOutcome>) -> Result<LogoutOutcome, Unavailable> {
//!     Ok(match logouts.finish(committed, Wait::UntilConfirmed).await? {
//!         Finished::Confirmed(confirmed) => confirmed.into_outcome(),
//!         Finished::Accepted(accepted) => accepted.into_parts().0,
//!     })
//! }
//! ```
//!
//! So none of these values can be forged, neither the confirmed nor the committed ones:
//!
//! ```compile_fail,E0451
//! use curfew_control_plane::logout::{Confirmed, Finished};
//! use curfew_control_plane::store::command::LogoutOutcome;
//!
//! fn forge() -> Finished<LogoutOutcome> {
//!     Finished::Confirmed(Confirmed { outcome: LogoutOutcome::LoggedOut })
//! }
//! ```
//!
//! ```compile_fail,E0451
//! use curfew_control_plane::logout::{Accepted, Finished};
//! use curfew_control_plane::store::command::LogoutOutcome;
//!
//! fn forge() -> Finished<LogoutOutcome> {
//!     Finished::Accepted(Accepted { outcome: LogoutOutcome::LoggedOut, ticket: String::new() })
//! }
//! ```
//!
//! ```compile_fail,E0624
//! use curfew_control_plane::log::Commit;
//! use curfew_control_plane::store::command::{Committed, LogoutOutcome};
//!
//! fn forge(commit: Commit) -> Committed<LogoutOutcome> {
//!     Committed::new(LogoutOutcome::LoggedOut, commit)
//! }
//! ```
//!
//! The wait is for that very commit and not for the newest one. A later commit may belong to another history of the
//! log, and that history may lack this commit. So a wait for the newest commit could confirm a logout that no database
//! holds any more. If the history is replaced between the commit and its confirmation, the caller gets
//! [`Unavailable::Unconfirmed`].

mod tickets;

/// What an answer says whose one token is logged out. Clients compare it.
pub const LOGGED_OUT: &str = "Successfully Logged Out.";

/// What an answer says when all other sessions of a user are logged out. Clients compare it.
pub const OTHERS_LOGGED_OUT: &str = "Successfully Logged Out From All Other Devices.";

/// What an answer says when all tokens of a user are logged out. Clients compare it.
pub const LOGGED_OUT_EVERYWHERE: &str = "Successfully Logged Out From All Device.";

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::leases::{Leases, Pending};
use crate::secret::Secret;
use crate::store::command::{Committed, Unavailable};
use tickets::Tickets;

/// How much longer than all leases a logout waits for a reading of the log that still shows its commit. A database that says
/// nothing for so long gives no answer within the patience of callers either.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// The outcome of a command whose revocation is in force everywhere: no worker admits what it revoked any more.
#[derive(Debug)]
pub struct Confirmed<T> {
    outcome: T,
}

/// The outcome of a command that is durable, for a caller that does not wait until no worker admits what it revoked.
#[derive(Debug)]
pub struct Accepted<T> {
    outcome: T,
    ticket: String,
}

/// The only value that an answer may be built from.
#[must_use = "an entrance answers with this and nothing else"]
#[derive(Debug)]
pub enum Finished<T> {
    /// In force everywhere.
    Confirmed(Confirmed<T>),
    /// Durable, and soon in force everywhere.
    Accepted(Accepted<T>),
}

impl<T> Confirmed<T> {
    /// The outcome.
    pub fn into_outcome(self) -> T {
        self.outcome
    }
}

impl<T> Accepted<T> {
    /// The outcome, and the ticket that [`Logouts::redeem`] takes at any control plane.
    pub fn into_parts(self) -> (T, String) {
        (self.outcome, self.ticket)
    }
}

/// How long a caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until no worker admits what was revoked.
    UntilConfirmed,
    /// Until the revocation is durable.
    UntilDurable,
}

/// Turns commits into confirmations.
pub struct Logouts {
    leases: Arc<Leases>,
    tickets: Tickets,
}

impl Logouts {
    /// Waits for `leases`. All control planes share `secret`, so that each of them can redeem the tickets of all.
    pub fn new(leases: Arc<Leases>, secret: &Secret) -> Self {
        Self { leases, tickets: Tickets::of(secret) }
    }

    /// Waits as the caller prefers, and returns the value that an answer may be built from.
    ///
    /// # Errors
    ///
    /// [`Unavailable::Unconfirmed`]: it is not known whether workers still admit what was revoked. The log is of another
    /// history now, which may lack the commit, or it could not be read, or this control plane stops.
    pub async fn finish<T>(&self, committed: Committed<T>, wait: Wait) -> Result<Finished<T>, Unavailable> {
        match wait {
            Wait::UntilConfirmed => self.confirm(committed).await.map(Finished::Confirmed),
            Wait::UntilDurable => Ok(Finished::Accepted(self.accept(committed))),
        }
    }

    /// Returns when no worker admits what the command revoked any more.
    ///
    /// # Errors
    ///
    /// As [`Self::finish`].
    pub async fn confirm<T>(&self, committed: Committed<T>) -> Result<Confirmed<T>, Unavailable> {
        let within = self.leases.longest_wait().saturating_add(READ_WITHIN);
        let mut pending = self.leases.wait_for(committed.commit());
        let ended = timeout(within, pending.confirmed()).await;
        ended.ok().and_then(Result::ok).ok_or(Unavailable::Unconfirmed)?;
        Ok(Confirmed { outcome: committed.into_outcome() })
    }

    fn accept<T>(&self, committed: Committed<T>) -> Accepted<T> {
        // From here on the workers are waited for, whether the caller asks or not.
        let pending = self.leases.wait_for(committed.commit());
        Accepted { ticket: self.tickets.write(pending.position()), outcome: committed.into_outcome() }
    }

    /// Waits for the commit that a ticket names; `None` for a ticket that no control plane has written. If the commit
    /// was confirmed before, this wait is over as soon as the rows of the other control planes have been read.
    pub fn redeem(&self, ticket: &str) -> Option<Pending> {
        self.tickets.read(ticket).map(|position| self.leases.wait_for_position(position))
    }
}
