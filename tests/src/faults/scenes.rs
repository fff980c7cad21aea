//! The promise under faults in a mesh: the faults, and what each may cost.

use std::time::Duration;

use anyhow::Result;

use super::clients::Load;
use super::inject::{self, Cut, Parts};
use super::ledger::Ledger;
use super::mesh::{LEASE, Mesh};
use super::run::{self, Fault, Times};
use crate::link::Direction;

/// After the end of a fault, requests may get 503 for so long: a worker has to earn a lease again, by a poll that it
/// may just have put off.
const RECOVERY: Duration = Duration::from_secs(6);

/// How long a logout may take where only an Envoy is in its way: 2.08 s, which outlast a lease, and a tenth more.
const LEASE_AND_A_TENTH: Duration = Duration::from_millis(2_200);

/// Whether requests may get 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Never: the mesh has what it needs.
    None,
    /// While the fault lasts and until leases are earned again.
    Declared,
}

/// A fault and what it may cost.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// For the table and the command line.
    pub name: &'static str,
    /// Whether the fault is declared to be an outage.
    pub outage: Outage,
    /// True if it needs the filter that traps on command.
    pub trapping: bool,
    /// True if it is also part of the shorter run.
    pub short: bool,
    /// How long a logout may take, if that is limited.
    pub longest_logout: Option<Duration>,
    /// The fault.
    pub fault: Fault,
}

/// The result of a scene.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The scene's name.
    pub name: &'static str,
    /// All counts.
    pub ledger: Ledger,
    /// Answers 401 to live tokens, and answers 503 outside of the declared outage.
    pub wrong_refusals: u64,
    /// How long a logout may have taken.
    pub longest_logout: Option<Duration>,
}

impl Outcome {
    /// True if some logout took longer than the scene allows.
    pub fn is_late(&self) -> bool {
        self.longest_logout.is_some_and(|longest| self.ledger.slowest_logouts().0 > longest)
    }
}

impl Scene {
    /// Plays the scene, with `calm` before the fault and after it.
    ///
    /// # Errors
    /// When the fault cannot be played, or the mesh does not work at the end.
    pub fn play(&self, mesh: &mut Mesh, load: Load, calm: Duration) -> Result<Outcome> {
        let declared = self.outage == Outage::Declared;
        let traces = if declared { RECOVERY } else { Duration::ZERO };
        let played = run::play(mesh, self.fault, load, Times { calm, fault: LEASE, rounds: 0, traces })?;
        let outage = declared.then_some(played.window);
        let undeclared = played.ledger.undeclared(outage);
        if !undeclared.is_empty() {
            eprintln!("{}: 503 at {undeclared:?}; the declared outage was {outage:?}", self.name);
        }
        for stale in &played.ledger.described {
            eprintln!("{}: {stale}", self.name);
        }
        let wrong_refusals = played.ledger.wrong_refusals + u64::try_from(undeclared.len())?;
        Ok(Outcome { name: self.name, wrong_refusals, longest_logout: self.longest_logout, ledger: played.ledger })
    }
}

const fn scene(name: &'static str, outage: Outage, fault: Fault) -> Scene {
    Scene { name, outage, trapping: false, short: false, longest_logout: None, fault }
}

/// A scene in which an Envoy is dead, stopped or cut off.
const fn envoy(name: &'static str, fault: Fault) -> Scene {
    Scene { longest_logout: Some(LEASE_AND_A_TENTH), ..scene(name, Outage::Declared, fault) }
}

const fn short(mut scene: Scene) -> Scene {
    scene.short = true;
    scene
}

const ENVOY: Parts = Parts { envoy: true, plane: false };
const PLANE: Parts = Parts { envoy: false, plane: true };
const BOTH: Parts = Parts { envoy: true, plane: true };

const QUESTIONS: Cut = Cut::OneWay(Direction::Requests);
const ANSWERS: Cut = Cut::OneWay(Direction::Answers);

/// All scenes, in the order of the table.
pub const ALL: &[Scene] = &[
    short(scene("nothing", Outage::None, |_, stage| {
        stage.wait(LEASE * 2);
        Ok(())
    })),
    short(envoy("an Envoy stopped for 0.5 L", |mesh, stage| inject::stop_envoy(mesh, stage, LEASE / 2))),
    short(envoy("an Envoy stopped for 2 L", |mesh, stage| inject::stop_envoy(mesh, stage, LEASE * 2))),
    envoy("an Envoy stopped for 10 L", |mesh, stage| inject::stop_envoy(mesh, stage, LEASE * 10)),
    envoy("an Envoy killed and started", |mesh, stage| inject::kill_and_start(mesh, stage, ENVOY)),
    short(scene("a control plane killed and started", Outage::Declared, |mesh, stage| {
        inject::kill_and_start(mesh, stage, PLANE)
    })),
    scene("both killed and started", Outage::Declared, |mesh, stage| inject::kill_and_start(mesh, stage, BOTH)),
    scene("all control planes killed and started", Outage::Declared, inject::kill_all_planes),
    short(envoy("an Envoy cut off by resets", |mesh, stage| inject::cut_envoy(mesh, stage, Cut::Reset))),
    envoy("an Envoy cut off, both ways", |mesh, stage| inject::cut_envoy(mesh, stage, Cut::BothWays)),
    envoy("an Envoy cut off, its questions", |mesh, stage| inject::cut_envoy(mesh, stage, QUESTIONS)),
    envoy("an Envoy cut off, its answers", |mesh, stage| inject::cut_envoy(mesh, stage, ANSWERS)),
    scene("a control plane vanishes from both Envoys", Outage::Declared, inject::cut_plane_from_all),
    scene("30 % of packets lost, 20 ms", Outage::Declared, inject::lose_packets),
    scene("a control plane cut off PostgreSQL by resets", Outage::Declared, |mesh, stage| {
        inject::cut_sql(mesh, stage, Cut::Reset)
    }),
    scene("a control plane cut off PostgreSQL, both ways", Outage::Declared, |mesh, stage| {
        inject::cut_sql(mesh, stage, Cut::BothWays)
    }),
    scene("a control plane cut off PostgreSQL, its questions", Outage::Declared, |mesh, stage| {
        inject::cut_sql(mesh, stage, QUESTIONS)
    }),
    scene("a control plane cut off PostgreSQL, its answers", Outage::Declared, |mesh, stage| {
        inject::cut_sql(mesh, stage, ANSWERS)
    }),
    scene("PostgreSQL killed and started", Outage::Declared, |mesh, stage| inject::kill_sql(mesh, stage, LEASE)),
    short(scene("Redis killed and started", Outage::None, |mesh, stage| {
        inject::kill_redis(mesh, stage, LEASE * 2)?;
        stage.wait(LEASE);
        Ok(())
    })),
    scene("Redis flushed again and again", Outage::None, |mesh, stage| inject::flush(mesh, stage, 20, LEASE / 8)),
    scene("Redis cut off a control plane, its answers", Outage::None, |mesh, stage| {
        inject::cut_redis(mesh, stage, ANSWERS)
    }),
    scene("a listener update every 2 s", Outage::None, inject::update_listeners),
    Scene { trapping: true, ..short(scene("VMs that trap", Outage::Declared, inject::trap)) },
];
