//! The promise, with the real control plane: once a logout has returned 200, no worker admits a later request with the
//! token, whatever happens.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use curfew_core::REVOKED_IN_SAME_SECOND;
use curfew_testbed::http::{Answer, Request};
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};
use rustix::process::{Pid, Signal, kill_process};

use super::{decided, metric, plan, undisturbed};
use crate::shared::{PATIENCE, told};

/// Enough requests on connections of their own to meet both workers, most of the time.
const SOME: usize = 8;

/// The longest lease, with the drift of clocks.
const LEASE: Duration = Duration::from_millis(2_100);

struct Scene {
    stack: Stack,
    signer: Signer,
}

impl Scene {
    fn start(plan: Plan) -> Result<Self> {
        let signer = Signer::from_secret(plan.settings.required("JWT_SECRET")?);
        let scene = Self { stack: plan.start()?, signer };
        scene.both_workers_decide()?;
        Ok(scene)
    }

    fn token(&self) -> String {
        self.token_of("alice")
    }

    fn token_of(&self, user: &str) -> String {
        self.signer.sign(&claims(user)).unwrap()
    }

    fn use_token(&self, token: &str) -> Answer {
        self.stack.send(&Request::get("/orders").bearer(token)).unwrap()
    }

    fn told(&self, token: &str) -> (u16, String) {
        told(&self.use_token(token))
    }

    fn log_out(&self, token: &str) -> Result<Answer> {
        Request::post("/api/v2/logout").bearer(token).send(self.stack.control_plane.public())
    }

    fn metric(&self, name: &str) -> u64 {
        metric(&self.stack, name)
    }

    /// Sends requests until no worker asks any more.
    fn both_workers_decide(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let before = (self.metric("curfew_checks_sent"), self.metric("curfew_checks_failed"));
            for _ in 0..40 {
                let (status, code) = self.told(&self.token());
                ensure!(status == 200 || status == 503, "{status} {code}");
            }
            let after = (self.metric("curfew_checks_sent"), self.metric("curfew_checks_failed"));
            if before == after && self.metric("curfew_leases_gained") >= 2 {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "the workers still ask: {before:?} {after:?}");
        }
    }

    fn stays_out(&self, token: &str) {
        for _ in 0..SOME {
            assert_eq!(self.told(token), (401, "token_revoked".into()));
        }
    }
}

#[test]
fn a_client_that_does_not_wait_asks_through_envoy_how_far_its_logout_is() {
    let scene = Scene::start(plan().unwrap()).unwrap();
    let token = scene.token();
    let answer =
        scene.stack.send(&Request::post("/api/v2/logout").bearer(&token).header("Prefer", "respond-async")).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    let location = answer.header("location").unwrap().to_owned();
    let begun = Instant::now();
    loop {
        // The token is dead, so the client has none.
        let state = scene.stack.send(&Request::get(&location)).unwrap();
        assert_eq!(state.status, 200, "{}", state.text());
        if state.json()["complete"] == true {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", state.text());
        thread::sleep(Duration::from_millis(20));
    }
    scene.stays_out(&token);
}

#[test]
fn many_logouts_at_once_and_no_request_after_a_200_is_admitted() {
    const THREADS: usize = 6;
    const ROUNDS: usize = 40;
    let scene = Scene::start(plan().unwrap()).unwrap();
    let asked = scene.metric("curfew_checks_sent");
    let (wrong, took) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (scene, wrong, took) = (&scene, &wrong, &took);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let token = scene.token_of(&format!("user-{thread}"));
                    for _ in 0..3 {
                        let (status, code) = scene.told(&token);
                        assert!(status == 200 || status == 503, "{status} {code}");
                    }
                    let begun = Instant::now();
                    let answer = scene.stack.send(&Request::post("/api/v2/logout").bearer(&token)).unwrap();
                    took.lock().unwrap().push(begun.elapsed());
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let admitted = (0..SOME).filter(|_| scene.use_token(&token).status == 200).count();
                    wrong.fetch_add(admitted, Ordering::Relaxed);
                }
            });
        }
    });
    let mut took = took.into_inner().unwrap();
    took.sort();
    let at = |percent: usize| took[took.len() * percent / 100];
    println!("{} logouts: p50 {:?}, p90 {:?}, longest {:?}", took.len(), at(50), at(90), took.last().unwrap());
    assert_eq!(wrong.into_inner(), 0, "requests admitted after their logout was answered");
    println!("{} questions meanwhile", scene.metric("curfew_checks_sent") - asked);
}

#[test]
fn a_worker_that_has_joined_asks_about_no_token() {
    let scene = Scene::start(plan().unwrap()).unwrap();
    let asked = undisturbed(&scene.stack, || {
        scene.both_workers_decide().unwrap();
        let (asked, before) = (scene.metric("curfew_checks_sent"), decided(&scene.stack));
        for _ in 0..200 {
            assert_eq!(scene.use_token(&scene.token()).status, 200);
        }
        scene.metric("curfew_checks_sent") - asked + (before + 200 - decided(&scene.stack))
    });
    assert_eq!(asked, 0, "requests that the copies did not decide");
}

#[test]
fn a_logout_of_all_devices_covers_tokens_that_curfew_has_never_seen() {
    let scene = Scene::start(plan().unwrap()).unwrap();
    let mut of_its_second = 0;
    for round in 0..10 {
        let user = format!("many-devices-{round}");
        let (mine, other) = (scene.token_of(&user), scene.token_of(&user));
        let answer = scene.stack.send(&Request::post("/api/v2/logout-all-device").bearer(&mine)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        scene.stays_out(&other);
        scene.stays_out(&mine);
        assert_eq!(scene.use_token(&scene.token_of("somebody-else")).status, 200);
        // A login in the same second as the logout counts if it is registered.
        let again = scene.token_of(&user);
        assert_eq!(scene.stack.control_plane.register(&[&again]).unwrap().status, 200);
        assert_eq!(scene.use_token(&again).status, 200);
        // One that is not registered is told why it does not count, and what helps.
        let late = scene.use_token(&scene.token_of(&user));
        if late.status == 401 {
            assert_eq!(late.json()["detail"], REVOKED_IN_SAME_SECOND);
            of_its_second += 1;
        }
    }
    assert!(of_its_second > 0, "no token was issued in the second of its user's logout");
}

#[test]
fn a_control_plane_that_dies_costs_the_leases_and_no_logout() {
    let mut scene = Scene::start(plan().unwrap()).unwrap();
    let (alive, dead) = (scene.token(), scene.token());
    assert_eq!(scene.use_token(&dead).status, 200);
    assert_eq!(scene.log_out(&dead).unwrap().status, 200);
    scene.stack.control_plane.kill().unwrap();
    let killed = Instant::now();
    let mut admitted = 0;
    while killed.elapsed() < LEASE {
        let (status, code) = scene.told(&alive);
        assert!(status == 200 || (status, code.as_str()) == (503, "unavailable"), "{status} {code}");
        admitted += usize::from(status == 200);
        scene.stays_out(&dead);
    }
    assert!(admitted > 0, "the leases ran on for a while");
    for _ in 0..SOME {
        assert_eq!(scene.told(&alive), (503, "unavailable".into()));
    }
    scene.stays_out(&dead);
    scene.stack.control_plane.restart().unwrap();
    scene.both_workers_decide().unwrap();
    scene.stays_out(&dead);
    for _ in 0..SOME {
        assert_eq!(scene.use_token(&alive).status, 200);
    }
    let next = scene.token();
    assert_eq!(scene.log_out(&next).unwrap().status, 200);
    scene.stays_out(&next);
}

/// A stopped process cannot be distinguished from a slow one, so the logout waits until its leases are over.
#[test]
fn an_envoy_that_stands_still_makes_a_logout_wait_and_refuses_its_token_when_it_goes_on() {
    let scene = Scene::start(plan().unwrap()).unwrap();
    let token = scene.token();
    assert_eq!(scene.use_token(&token).status, 200);
    let envoy = Pid::from_raw(i32::try_from(scene.stack.envoy.process()).unwrap()).unwrap();
    kill_process(envoy, Signal::STOP).unwrap();
    let begun = Instant::now();
    let answer = scene.log_out(&token);
    let took = begun.elapsed();
    // Requests that wait in its sockets are the first when it runs again.
    let waiting: Vec<_> = (0..SOME)
        .map(|_| {
            let (address, token) = (scene.stack.address(), token.clone());
            thread::spawn(move || Request::get("/orders").bearer(&token).send(address))
        })
        .collect();
    thread::sleep(Duration::from_millis(100));
    kill_process(envoy, Signal::CONT).unwrap();
    assert_eq!(answer.unwrap().status, 200);
    assert!(took > Duration::from_millis(500) && took < LEASE * 2, "{took:?}");
    println!("the logout took {took:?}");
    for request in waiting {
        let answer = request.join().unwrap().unwrap();
        assert_ne!(answer.status, 200, "admitted after its logout was answered");
    }
    scene.both_workers_decide().unwrap();
    scene.stays_out(&token);
}

/// A VM that dies takes its copy along; the next VM asks until it has a copy of its own.
#[test]
fn a_vm_that_dies_forgets_nothing_that_was_promised() {
    let mut plan = plan().unwrap();
    plan.trapping = true;
    let scene = Scene::start(plan).unwrap();
    let address: SocketAddr = scene.stack.address();
    for round in 0..5 {
        let (token, good) = (scene.token(), scene.token());
        assert_eq!(scene.use_token(&good).status, 200);
        assert_eq!(scene.log_out(&token).unwrap().status, 200);
        let place = if round % 2 == 0 { "headers" } else { "answer" };
        let trap = Request::get("/orders").bearer(&good).header("x-curfew-trap", place);
        trap.send(address).unwrap();
        for _ in 0..SOME {
            assert_ne!(scene.use_token(&token).status, 200, "a logged-out token was admitted");
        }
        // The next logout has to wait until the lease of the dead VM is over.
        let next = scene.token();
        let begun = Instant::now();
        assert_eq!(scene.log_out(&next).unwrap().status, 200);
        assert!(begun.elapsed() < LEASE * 2, "{:?}", begun.elapsed());
        for _ in 0..SOME {
            assert_ne!(scene.use_token(&next).status, 200);
        }
        thread::sleep(Duration::from_millis(1_500));
        scene.both_workers_decide().unwrap();
        scene.stays_out(&token);
    }
}

/// Each update makes a new root context, with a copy and a lease of its own; the old ones get no more requests.
#[test]
fn a_listener_that_is_replaced_again_and_again_misses_no_logout() {
    let mut plan = plan().unwrap();
    plan.updatable = true;
    let scene = Scene::start(plan).unwrap();
    for round in 1..=4_u64 {
        scene.stack.update_filter(|filter| filter["cache_bytes"] = (round << 20).into()).unwrap();
        for _ in 0..10 {
            let token = scene.token();
            let (status, code) = scene.told(&token);
            assert!(status == 200 || status == 503, "{status} {code}");
            let begun = Instant::now();
            assert_eq!(scene.log_out(&token).unwrap().status, 200);
            assert!(begun.elapsed() < LEASE * 2, "{:?}", begun.elapsed());
            scene.stays_out(&token);
        }
    }
    scene.both_workers_decide().unwrap();
}
