//! The parts that run, and what Envoys are started with.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use curfew_testbed::bootstrap::Bootstrap;
use curfew_testbed::envoy::Envoy;
use curfew_testbed::http::Request;
use curfew_testbed::ports::loopback;
use curfew_testbed::stack::{Plan, Stack, runs};
use curfew_testbed::tokens::{ISSUER, Signer, claims, jwks};
use curfew_testbed::wasm;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::publisher::Publisher;

/// The workers of each Envoy.
pub(super) const WORKERS: u32 = 2;

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Scene {
    pub(super) stack: Stack,
    pub(super) publisher: Publisher,
    /// The key that is published at the start.
    pub(super) first: Signer,
    bootstrap: Bootstrap,
}

/// An Envoy with its directory.
pub(super) struct Another {
    pub(super) envoy: Envoy,
    _directory: TempDir,
}

impl Scene {
    pub(super) fn start() -> Result<Self> {
        let first = Signer::es256("first")?;
        let publisher = Publisher::start(jwks([&first]))?;
        let mut plan = Plan::shipped()?;
        plan.settings.unset("JWT_SECRET");
        plan.settings.set("CURFEW_ISSUER", ISSUER);
        plan.settings.set("JWKS_URL", publisher.url());
        plan.workers = WORKERS;
        let mut plan = plan.change_filter(|filter| filter["issuers"] = json!([{"issuer": ISSUER}]))?;
        plan.bootstrap.load_filter_from(&wasm::build()?)?;
        let bootstrap = plan.bootstrap.clone();
        let scene = Self { stack: plan.start()?, publisher, first, bootstrap };
        scene.wait_for_admission(&scene.first.sign(&claims("alice"))?)?;
        Ok(scene)
    }

    /// Publishes a set and has the control plane fetch it.
    pub(super) fn change_keys(&self, set: Value) -> Result<()> {
        self.publisher.publish(set);
        let answer = self.stack.control_plane.ask(Request::post("/internal/v1/keys/refresh").json(&json!({})))?;
        let changed = answer.json().get("changed").and_then(Value::as_bool);
        ensure!(answer.status == 200 && changed == Some(true), "no change: {}", answer.text());
        Ok(())
    }

    /// Starts another Envoy whose filter asks this address, and whose configuration is changed so.
    pub(super) fn another(&self, asks: std::net::SocketAddr, change: impl FnOnce(&mut Value)) -> Result<Another> {
        let mut bootstrap = self.bootstrap.clone();
        let mut filter = bootstrap.filter()?;
        change(&mut filter);
        bootstrap.set_filter(&filter)?;
        bootstrap.listen_on(loopback(0))?;
        bootstrap.admin_on(loopback(0))?;
        bootstrap.point_cluster("curfew_public", self.stack.control_plane.public())?;
        bootstrap.point_cluster("curfew", asks)?;
        bootstrap.point_cluster("upstream", self.stack.upstream.address())?;
        let directory = tempfile::Builder::new().prefix("envoy-").tempdir_in(runs()?)?;
        Ok(Another { envoy: Envoy::start(&bootstrap, directory.path(), WORKERS)?, _directory: directory })
    }

    fn wait_for_admission(&self, token: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let answer = self.stack.send(&Request::get("/orders").bearer(token))?;
            if answer.status == 200 {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "not admitted: {} {}", answer.status, answer.text());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
