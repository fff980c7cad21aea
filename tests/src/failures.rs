//! What happens when a part fails: the whole of Curfew with real servers, under load, and one fault after the other.
//!
//! A story is a value: what is set up, what is done to it, and what clients may see of that. Playing one counts what
//! must never be, whatever fails: a logout that was answered with 200 and is forgotten ([`Report::lost`]), and a request
//! that began when its token was dead by the published bound, and was admitted all the same ([`Report::wrong`]).
//! `tests/tests/failures/` plays all of them shortly, `cargo measure failures` at length; the table in docs/under-failure.md is made
//! from the latter.

mod audit;
mod chance;
mod crowd;
mod front;
mod load;
mod parts;
mod promise;
mod report;
mod seen;
mod setup;
mod stories;
mod table;
mod world;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

pub use promise::Promise;
pub use report::Report;
pub use setup::{Fill, Setup, Sql, Wiring};
pub use stories::stories;
pub use table::{PAGE, inserted, part, rendered, stable};
pub use world::World;

use load::Load;
use seen::Phase;

/// How long the world may take to be well again after a fault was mended, on a machine that may be busy.
const WELL_LIMIT: Duration = Duration::from_secs(30);

/// How a story is played: the same for all of a run.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// What the filter promises.
    pub promise: Promise,
    /// `control_plane.timeout` of the filter; `None` leaves the default. Longer where a machine that is busy with other
    /// tests must not look like a failure.
    pub patience: Option<&'static str>,
    /// How often something is killed in the stories of random moments.
    pub rounds: u32,
    /// How long a fault lasts, where the story does not say.
    pub fault: Duration,
    /// How long the load runs before the fault, and after it.
    pub calm: Duration,
    /// Of so many requests one may get 503 though the story claims none, because a machine that is busy with other tests
    /// passes the control plane's own limits of time; `None` lets none pass.
    pub spared: Option<u64>,
}

impl Conditions {
    /// Some seconds for each story, on a machine that may be busy.
    pub const SHORT: Self = Self {
        promise: Promise::BOUNDED,
        patience: Some("5s"),
        rounds: 20,
        fault: Duration::from_secs(3),
        calm: Duration::from_millis(1500),
        spared: Some(50),
    };

    /// As long as a measurement takes, with the filter's own patience.
    pub const LONG: Self = Self {
        promise: Promise::BOUNDED,
        patience: None,
        rounds: 200,
        fault: Duration::from_secs(5),
        calm: Duration::from_secs(3),
        spared: None,
    };
}

/// What clients may see. Everything else breaks the claim.
#[derive(Clone, Copy, Debug)]
pub struct Claims {
    /// The answers that a logout may get: a status, and the `code` where it has one.
    pub logouts: &'static [&'static str],
    /// The answers that a request with a good token may get.
    pub requests: &'static [&'static str],
    /// The slowest logout, whatever it was answered.
    pub slowest_logout: Duration,
    /// For how long one client with good tokens may be refused after the fault was mended.
    pub refused_after: Duration,
    /// Whether logouts must have failed meanwhile: if none did, nothing was at fault.
    pub felt: bool,
}

/// What is done to the world, from the first harm to the last repair.
pub type Play = fn(&mut World, Conditions) -> Result<()>;

/// One story.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// Its stable name.
    pub name: &'static str,
    /// What fails, for people.
    pub fails: &'static str,
    /// What clients see, for people.
    pub seen: &'static str,
    /// What runs.
    pub setup: Setup,
    /// What is done to it.
    pub play: Play,
    /// What clients may see, for the check.
    pub claims: Claims,
}

impl Story {
    /// Plays it in a world of its own.
    ///
    /// # Errors
    /// When a part cannot be started, or the fault not be played. What clients saw is no error: see
    /// [`Report::broken`].
    pub fn play(&self, conditions: Conditions) -> Result<Report> {
        let mut world = World::start(self.setup, conditions)?;
        let front = world.front();
        let load = Load::new(&front);
        let times = thread::scope(|scope| {
            load.begin(scope);
            let times = self.act(&mut world, &load, conditions);
            load.end();
            times
        });
        let (fault, recovery) = times.with_context(|| format!("{}\n{}", self.name, world.output()))?;
        world.forget_copies()?;
        let audit = audit::audit(&front, &load.into_ended())?;
        Ok(Report::new(self, conditions, fault, recovery, audit))
    }

    /// Calm, fault, and calm again. Returns how long the fault lasted and how long it took until all was well.
    fn act(&self, world: &mut World, load: &Load<'_>, conditions: Conditions) -> Result<(Duration, Duration)> {
        load.wait_for(Phase::Before, conditions.calm)?;
        let began = Instant::now();
        load.enter(Phase::During);
        (self.play)(world, conditions)?;
        let mended = Instant::now();
        load.enter(Phase::Mended);
        while !world.front().is_well() {
            ensure!(mended.elapsed() < WELL_LIMIT, "not well {WELL_LIMIT:?} after the fault was mended");
            thread::sleep(Duration::from_millis(50));
        }
        let recovery = mended.elapsed();
        load.enter(Phase::After);
        load.wait_for(Phase::After, conditions.calm + conditions.promise.bound)?;
        Ok((mended - began, recovery))
    }
}
