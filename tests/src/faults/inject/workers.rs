//! Envoys that stop, whose VMs trap, or that get new VMs.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::faults::mesh::{Mesh, Proxy};
use crate::faults::run::Stage;

const UPDATES: &str = "envoy_listener_manager_lds_update_success";

const RELOADS: &str = "envoy_wasm_curfew_vm_reload_success";

/// Stops the first Envoy for that time; requests with dead tokens pile up in front of it.
pub(crate) fn stop_envoy(mesh: &mut Mesh, stage: &Stage<'_>, time: Duration) -> Result<()> {
    let envoy = &mesh.proxy(0)?.process;
    envoy.freeze();
    stage.pile_up(0, time, || envoy.thaw());
    Ok(())
}

/// Updates the listener of each Envoy every 2 s, which starts new VMs of the filter.
pub(crate) fn update_listeners(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    let before = mesh.counted(UPDATES)?;
    for _ in 0..6 {
        mesh.proxies.iter_mut().try_for_each(Proxy::update_listener)?;
        stage.wait(Duration::from_secs(2));
    }
    let updates = mesh.counted(UPDATES)? - before;
    ensure!(updates >= 10, "of 12 updates of listeners {updates} took place");
    Ok(())
}

/// Makes VMs trap, again and again.
pub(crate) fn trap(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    let before = mesh.counted(RELOADS)?;
    for _ in 0..10 {
        stage.trap();
        stage.wait(Duration::from_millis(700));
    }
    let reloads = mesh.counted(RELOADS)? - before;
    ensure!(reloads >= 2, "of 20 VMs that were to trap {reloads} were loaded again");
    Ok(())
}
