//! What clients see when a part fails: the whole of Curfew with real servers, under load, and one fault after the
//! other.
//!
//! A story is a value: what is set up, what is done to it, and what clients may see of that. Playing one (with
//! [`crate::faults`]) counts two things that must never happen, whatever fails. A lost logout ([`Report::lost`])
//! returned 200 and was forgotten. A wrong admit ([`Report::wrong`]) is a request that was admitted, though its token
//! was dead by the published bound when it began. `tests/tests/failures/` plays every story for a short time.
//! `cargo measure failures` plays them at length and writes their table.

mod report;
mod stories;
mod table;

use std::time::Duration;

use anyhow::{Context as _, Result};

pub use report::Report;
pub use stories::stories;
pub use table::{PAGE, inserted, part, rendered, stable};

use crate::faults::{Fault, Load, Mesh, Promise, Setup, Times, play_and_audit};

/// How a story is played: the same for all stories of a run.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// The mode of the filter.
    pub promise: Promise,
    /// `control_plane.timeout` of the filter; `None` leaves the default. Longer where a machine that is busy with other
    /// tests must not look like a failure.
    pub patience: Option<&'static str>,
    /// How often a part is killed in the stories of random moments.
    pub rounds: u32,
    /// How long a fault lasts, where the story does not say.
    pub fault: Duration,
    /// How long the load runs before the fault, and after it.
    pub calm: Duration,
    /// One in this many requests may get 503 though the story claims no 503, because a machine that is busy with other
    /// tests exceeds the control plane's own time limits. `None` allows no such request.
    pub spared: Option<u64>,
}

impl Conditions {
    /// Some seconds for each story, on a machine that may be busy.
    pub const SHORT: Self = Self {
        promise: Promise::BOUNDED_1S,
        patience: Some("5s"),
        rounds: 20,
        fault: Duration::from_secs(3),
        calm: Duration::from_millis(1500),
        spared: Some(50),
    };

    /// As long as a measurement takes, with the filter's own timeout.
    pub const LONG: Self = Self {
        promise: Promise::BOUNDED_1S,
        patience: None,
        rounds: 200,
        fault: Duration::from_secs(5),
        calm: Duration::from_secs(3),
        spared: None,
    };

    fn times(self) -> Times {
        Times { calm: self.calm, fault: self.fault, rounds: self.rounds, traces: Duration::ZERO }
    }
}

/// What clients may see. Everything else breaks the claim.
#[derive(Clone, Copy, Debug)]
pub struct Claims {
    /// The answers that a logout may get: a status, and the `code` where it has one.
    pub logouts: &'static [&'static str],
    /// The answers that a request with a good token may get.
    pub requests: &'static [&'static str],
    /// The slowest logout, whatever its answer.
    pub slowest_logout: Duration,
    /// For how long one client with good tokens may be refused after the end of the fault.
    pub refused_after: Duration,
    /// True if logouts must have failed meanwhile: if none did, the fault did not happen.
    pub felt: bool,
}

/// One story.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// Its stable name.
    pub name: &'static str,
    /// What fails, for people.
    pub fails: &'static str,
    /// What clients see, for people.
    pub seen: &'static str,
    /// What runs, except the mode and the timeout of the filter.
    pub setup: Setup,
    /// What is done to it.
    pub fault: Fault,
    /// What clients may see, for the check.
    pub claims: Claims,
}

impl Story {
    /// Plays it in a mesh of its own.
    ///
    /// # Errors
    /// When a part cannot be started, or the fault cannot be played. Answers that were not claimed are no error: see
    /// [`Report::broken`].
    pub fn play(&self, conditions: Conditions) -> Result<Report> {
        let setup = Setup { promise: conditions.promise, patience: conditions.patience, ..self.setup };
        let load = Load { bound: conditions.promise.bound, ..Load::SMALL };
        let played = play_and_audit(&mut Mesh::start(setup)?, self.fault, load, conditions.times());
        Ok(Report::new(self, conditions, played.with_context(|| self.name)?))
    }
}
