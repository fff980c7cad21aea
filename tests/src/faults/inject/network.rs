//! Links that are cut, held, late or lossy.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::faults::mesh::{LEASE, Mesh};
use crate::faults::run::Stage;
use crate::link::{Direction, Link};

/// How long a fault of the network lasts.
const LASTS: Duration = LEASE.saturating_mul(3);

/// Counts the questions of Envoys that got no answer in time.
const TIMEOUTS: &str = "envoy_cluster_upstream_rq_timeout";

/// How a link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Connections are reset.
    Reset,
    /// Nothing arrives either way.
    BothWays,
    /// Nothing arrives one way.
    OneWay(Direction),
}

impl Cut {
    fn apply(self, link: &Link) {
        match self {
            Self::Reset => link.cut(),
            Self::OneWay(direction) => link.hold(direction),
            Self::BothWays => link.hold_all(),
        }
    }
}

/// Cuts the first Envoy off all control planes.
pub(crate) fn cut_envoy(mesh: &mut Mesh, stage: &Stage<'_>, cut: Cut) -> Result<()> {
    cut_for_a_time(stage, &mesh.proxy(0)?.links, cut)
}

/// The first control plane vanishes from all Envoys, without a reset.
pub(crate) fn cut_plane_from_all(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    let before = mesh.counted(TIMEOUTS)?;
    cut_for_a_time(stage, mesh.proxies.iter().filter_map(|proxy| proxy.links.first()), Cut::BothWays)?;
    ensure!(mesh.counted(TIMEOUTS)? > before, "every question had an answer");
    Ok(())
}

/// Cuts the first control plane off the database server.
pub(crate) fn cut_sql(mesh: &mut Mesh, stage: &Stage<'_>, cut: Cut) -> Result<()> {
    cut_for_a_time(stage, &mesh.plane(0)?.sql, cut)
}

/// Cuts the first control plane off Redis.
pub(crate) fn cut_redis(mesh: &mut Mesh, stage: &Stage<'_>, cut: Cut) -> Result<()> {
    cut_for_a_time(stage, &mesh.plane(0)?.redis, cut)
}

fn cut_for_a_time<'a>(stage: &Stage<'_>, links: impl IntoIterator<Item = &'a Link>, cut: Cut) -> Result<()> {
    let links: Vec<_> = links.into_iter().collect();
    ensure!(!links.is_empty(), "the mesh has no such link");
    links.iter().for_each(|link| cut.apply(link));
    stage.wait(LASTS);
    links.iter().for_each(|link| link.mend());
    Ok(())
}

/// 30 % of all packets between Envoys and control planes are lost, and the others come 20 ms later.
pub(crate) fn lose_packets(mesh: &mut Mesh, stage: &Stage<'_>) -> Result<()> {
    for link in mesh.links() {
        for direction in [Direction::Requests, Direction::Answers] {
            link.delay(direction, Duration::from_millis(20));
        }
        link.lose(30);
    }
    stage.wait(LASTS * 2);
    mesh.links().for_each(Link::mend);
    Ok(())
}

/// Redis answers all control planes that much later.
pub(crate) fn delay_redis(mesh: &mut Mesh, stage: &Stage<'_>, delay: Duration) -> Result<()> {
    for plane in &mesh.planes {
        plane.redis.as_ref().context("the mesh has no Redis")?.delay(Direction::Answers, delay);
    }
    stage.wait(stage.times.fault);
    mesh.planes.iter().filter_map(|plane| plane.redis.as_ref()).for_each(Link::mend);
    Ok(())
}
