//! The filter follows a feed whose answers a script decides.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use curfew_testbed::http::Request;
use curfew_testbed::scripted::{Scripted, logout};
use curfew_testbed::stack::Stack;
use curfew_testbed::tokens::{Signer, claims, now};
use serde_json::Value;

use super::{decided, metric, plan, undisturbed};
use crate::shared::{PATIENCE, told};

/// Enough requests on connections of their own to meet both workers.
const MANY: usize = 40;

struct Scene {
    stack: Stack,
    plane: Scripted,
    signer: Signer,
    filter: Value,
}

impl Scene {
    fn start() -> Result<Self> {
        let plane = Scripted::start()?;
        let mut plan = plan()?;
        plan.asks = Some(plane.address());
        let signer = Signer::from_secret(plan.settings.required("JWT_SECRET")?);
        let filter = plan.bootstrap.filter()?;
        let scene = Self { stack: plan.start()?, plane, signer, filter };
        scene.both_workers_follow()?;
        Ok(scene)
    }

    fn token(&self) -> String {
        self.signer.sign(&claims("alice")).unwrap()
    }

    fn told(&self, token: &str) -> (u16, String) {
        told(&self.stack.send(&Request::get("/orders").bearer(token)).unwrap())
    }

    /// Sends requests until both workers follow the feed and none asks any more.
    fn both_workers_follow(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let before = self.plane.checks();
            for _ in 0..MANY {
                let (status, code) = self.told(&self.token());
                ensure!(status == 200 || status == 503, "{status} {code}");
            }
            if self.plane.workers() == 2 && self.plane.checks() == before {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "{} workers follow", self.plane.workers());
        }
    }
}

#[test]
fn workers_decide_by_their_copies_and_by_nothing_else() {
    let scene = Scene::start().unwrap();
    let mut rounds = 0;
    let asked = undisturbed(&scene.stack, || {
        scene.both_workers_follow().unwrap();
        let checks = scene.plane.checks();
        for _ in 0..20 {
            let token = scene.token();
            assert_eq!(scene.told(&token).0, 200);
            scene.plane.commit(logout(&scene.filter, &token, now()).unwrap()).unwrap();
            for _ in 0..MANY / 2 {
                assert_eq!(scene.told(&token), (401, "token_revoked".into()));
            }
        }
        rounds += 20;
        scene.plane.checks() - checks
    });
    assert_eq!(asked, 0, "questions");
    assert!(decided(&scene.stack) >= 20 * 21);
    assert_eq!(metric(&scene.stack, "curfew_replica_seq"), rounds);
}

#[test]
fn a_control_plane_that_falls_silent_costs_the_leases_and_comes_back() {
    let scene = Scene::start().unwrap();
    let (dead, alive) = (scene.token(), scene.token());
    scene.plane.commit(logout(&scene.filter, &dead, now()).unwrap()).unwrap();
    scene.plane.set_silent(true);
    let silent = Instant::now();
    let mut admitted = 0;
    while scene.told(&alive).0 == 200 {
        admitted += 1;
        assert_eq!(scene.told(&dead), (401, "token_revoked".into()));
        assert!(silent.elapsed() < PATIENCE, "a lease without an end");
    }
    println!("{admitted} requests in {:?} until the first lease was over", silent.elapsed());
    std::thread::sleep(Duration::from_secs(2).saturating_sub(silent.elapsed()));
    for _ in 0..4 {
        assert_eq!(scene.told(&alive), (503, "unavailable".into()));
        assert_eq!(scene.told(&dead), (401, "token_revoked".into()));
    }
    scene.plane.set_silent(false);
    scene.both_workers_follow().unwrap();
    assert_eq!(scene.told(&dead), (401, "token_revoked".into()));
    assert_eq!(scene.told(&alive).0, 200);
}

#[test]
fn an_idle_worker_leaves() {
    let scene = Scene::start().unwrap();
    let begun = Instant::now();
    while scene.plane.workers() > 0 {
        assert!(begun.elapsed() < PATIENCE, "{} workers still follow", scene.plane.workers());
        std::thread::sleep(Duration::from_millis(100));
    }
    let polls = scene.plane.polls();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(scene.plane.polls(), polls, "and polls no more");
    scene.both_workers_follow().unwrap();
}
