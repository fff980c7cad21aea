//! The faults. Each leaves the mesh as it found it.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::mesh::{LEASE, Mesh};
use super::run::Stage;
use crate::servers::{Direction, Fault};

/// Whether requests may be told 503.
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
    /// Whether it is declared to be an outage.
    pub outage: Outage,
    /// Needs the filter that traps on command.
    pub trapping: bool,
    /// Also part of the shorter run.
    pub short: bool,
    /// How long a logout may take, where nothing but an Envoy is in its way: the length of a lease and a tenth.
    pub longest_logout: Option<Duration>,
    /// Plays it.
    pub fault: fn(&mut Mesh, &Stage<'_>) -> Result<()>,
}

const fn scene(name: &'static str, outage: Outage, fault: fn(&mut Mesh, &Stage<'_>) -> Result<()>) -> Scene {
    Scene { name, outage, trapping: false, short: false, longest_logout: None, fault }
}

/// One in which an Envoy is dead, stopped or cut off.
const fn envoy(name: &'static str, fault: fn(&mut Mesh, &Stage<'_>) -> Result<()>) -> Scene {
    Scene { longest_logout: Some(Duration::from_millis(2_200)), ..scene(name, Outage::Declared, fault) }
}

const fn short(mut scene: Scene) -> Scene {
    scene.short = true;
    scene
}

/// A fault of the network lasts so long.
const CUT: Duration = Duration::from_millis(3 * 2_000);

const TIMEOUTS: &str = "envoy_cluster_upstream_rq_timeout";

/// All scenes, in the order of the table.
pub const ALL: &[Scene] = &[
    short(scene("nothing", Outage::None, |_, stage| {
        stage.wait(LEASE * 2);
        Ok(())
    })),
    short(envoy("an Envoy stopped for 0.5 L", |mesh, stage| stop(mesh, stage, LEASE / 2))),
    short(envoy("an Envoy stopped for 2 L", |mesh, stage| stop(mesh, stage, LEASE * 2))),
    envoy("an Envoy stopped for 10 L", |mesh, stage| stop(mesh, stage, LEASE * 10)),
    envoy("an Envoy killed and started", |mesh, stage| restart(mesh, stage, true, false)),
    short(scene("a control plane killed and started", Outage::Declared, |mesh, stage| {
        restart(mesh, stage, false, true)
    })),
    scene("both killed and started", Outage::Declared, |mesh, stage| restart(mesh, stage, true, true)),
    scene("all control planes killed and started", Outage::Declared, all_planes),
    short(envoy("an Envoy cut off by resets", |mesh, stage| link(mesh, stage, Fault::cut))),
    envoy("an Envoy cut off, both ways", |mesh, stage| link(mesh, stage, hold_both)),
    envoy("an Envoy cut off, its questions", |mesh, stage| link(mesh, stage, |link| link.hold(Direction::Requests))),
    envoy("an Envoy cut off, its answers", |mesh, stage| link(mesh, stage, |link| link.hold(Direction::Answers))),
    scene("a control plane vanishes from both Envoys", Outage::Declared, |mesh, stage| {
        let before = mesh.counted(TIMEOUTS)?;
        let links = mesh.proxies.iter().filter_map(|proxy| proxy.links.first());
        fail(stage, links, hold_both);
        ensure!(mesh.counted(TIMEOUTS)? > before, "every question had an answer");
        Ok(())
    }),
    scene("30 % of packets lost, 20 ms", Outage::Declared, lossy),
    scene("a control plane cut off PostgreSQL by resets", Outage::Declared, |mesh, stage| sql(mesh, stage, Fault::cut)),
    scene("a control plane cut off PostgreSQL, both ways", Outage::Declared, |mesh, stage| sql(mesh, stage, hold_both)),
    scene("a control plane cut off PostgreSQL, its questions", Outage::Declared, |mesh, stage| {
        sql(mesh, stage, |link| link.hold(Direction::Requests))
    }),
    scene("a control plane cut off PostgreSQL, its answers", Outage::Declared, |mesh, stage| {
        sql(mesh, stage, |link| link.hold(Direction::Answers))
    }),
    scene("PostgreSQL killed and started", Outage::Declared, |mesh, stage| {
        let postgres = mesh.stores()?.postgres.server();
        postgres.kill()?;
        stage.wait(LEASE);
        postgres.restart()
    }),
    short(scene("Redis killed and started", Outage::None, |mesh, stage| {
        let redis = mesh.stores()?.redis.server();
        redis.kill()?;
        stage.wait(LEASE * 2);
        redis.restart()?;
        stage.wait(LEASE);
        Ok(())
    })),
    scene("Redis flushed again and again", Outage::None, |mesh, stage| {
        for _ in 0..20 {
            mesh.stores()?.redis.wipe()?;
            stage.wait(LEASE / 8);
        }
        Ok(())
    }),
    scene("Redis cut off a control plane, its answers", Outage::None, |mesh, stage| {
        let links = mesh.planes.first().and_then(|plane| plane.links.as_ref());
        fail(stage, links.map(|links| &links.redis), |link| link.hold(Direction::Answers));
        Ok(())
    }),
    scene("a listener update every 2 s", Outage::None, |mesh, stage| {
        let before = mesh.counted("envoy_listener_manager_lds_update_success")?;
        for _ in 0..6 {
            mesh.proxies.iter_mut().try_for_each(super::mesh::Proxy::update_listener)?;
            stage.wait(Duration::from_secs(2));
        }
        let updates = mesh.counted("envoy_listener_manager_lds_update_success")? - before;
        ensure!(updates >= 10, "of 12 updates of listeners {updates} took place");
        Ok(())
    }),
    Scene { trapping: true, ..short(scene("VMs that trap", Outage::Declared, trap)) },
];

fn stop(mesh: &mut Mesh, stage: &Stage<'_>, time: Duration) -> Result<()> {
    if let Some(proxy) = mesh.proxies.first() {
        proxy.process.freeze();
        stage.pile_up(mesh, 0, time, || proxy.process.thaw());
    }
    Ok(())
}

fn restart(mesh: &mut Mesh, stage: &Stage<'_>, envoy: bool, plane: bool) -> Result<()> {
    for _ in 0..2 {
        if let (true, Some(plane)) = (plane, mesh.planes.first_mut()) {
            plane.process.kill()?;
        }
        if let (true, Some(proxy)) = (envoy, mesh.proxies.first_mut()) {
            proxy.restart()?;
        }
        stage.wait(LEASE / 2);
        if let (true, Some(plane)) = (plane, mesh.planes.first_mut()) {
            plane.process.restart()?;
        }
        stage.wait(LEASE * 2);
    }
    Ok(())
}

fn all_planes(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    mesh.planes.iter_mut().try_for_each(|plane| plane.process.kill())?;
    stage.wait(LEASE * 2);
    mesh.planes.iter_mut().try_for_each(|plane| plane.process.restart())
}

fn hold_both(link: &Fault) {
    link.hold(Direction::Requests);
    link.hold(Direction::Answers);
}

/// The first Envoy's links to all control planes.
fn link(mesh: &mut Mesh, stage: &Stage<'_>, fault: impl Fn(&Fault)) -> Result<()> {
    fail(stage, mesh.proxies.first().into_iter().flat_map(|proxy| &proxy.links), fault);
    Ok(())
}

/// The first control plane's link to PostgreSQL.
fn sql(mesh: &mut Mesh, stage: &Stage<'_>, fault: impl Fn(&Fault)) -> Result<()> {
    let links = mesh.planes.first().and_then(|plane| plane.links.as_ref());
    fail(stage, links.map(|links| &links.sql), fault);
    Ok(())
}

fn fail<'a>(stage: &Stage<'_>, links: impl IntoIterator<Item = &'a Fault>, fault: impl Fn(&Fault)) {
    let links: Vec<_> = links.into_iter().collect();
    links.iter().for_each(|link| fault(link));
    stage.wait(CUT);
    links.iter().for_each(|link| link.mend());
}

fn lossy(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    for link in mesh.links() {
        for direction in [Direction::Requests, Direction::Answers] {
            link.delay(direction, Duration::from_millis(20));
        }
        link.lose(30);
    }
    stage.wait(CUT * 2);
    mesh.links().for_each(Fault::mend);
    Ok(())
}

fn trap(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    let before = mesh.counted("envoy_wasm_curfew_vm_reload_success")?;
    for _ in 0..10 {
        stage.trap(mesh);
        stage.wait(Duration::from_millis(700));
    }
    let reloads = mesh.counted("envoy_wasm_curfew_vm_reload_success")? - before;
    ensure!(reloads >= 2, "of 20 VMs that were to trap {reloads} were loaded anew");
    Ok(())
}
