//! A real OpenID provider. Both sides are configured with its URL and with nothing else about keys.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use curfew_testbed::http::{Answer, Request};
use curfew_testbed::provider::Provider;
use curfew_testbed::stack::{Plan, Stack, runs};
use serde_json::json;
use tempfile::TempDir;

use crate::shared::{StopAtEnd, told};

/// How many clients send requests meanwhile, one after the other.
const CLIENTS: usize = 4;

/// Between two changes at the provider.
const PAUSE: Duration = Duration::from_millis(700);

struct Scene {
    stack: Stack,
    provider: Provider,
    _directory: TempDir,
}

impl Scene {
    fn start(change: impl FnOnce(Plan) -> Plan) -> Self {
        let directory = tempfile::tempdir_in(runs().unwrap()).unwrap();
        let provider = Provider::start(directory.path()).unwrap();
        let mut plan = Plan::shipped().unwrap();
        plan.settings.unset("JWT_SECRET");
        plan.settings.set("CURFEW_ISSUER", provider.issuer());
        let issuers = json!([{"issuer": provider.issuer()}]);
        let plan = plan.change_filter(|filter| {
            filter["issuers"] = issuers;
            // On a busy machine a call may take longer than half a second.
            filter["control_plane"]["timeout"] = "5s".into();
        });
        let stack = change(plan.unwrap()).start().unwrap();
        Self { stack, provider, _directory: directory }
    }

    fn get(&self, token: &str) -> Answer {
        self.stack.send(&Request::get("/orders").bearer(token)).unwrap()
    }

    fn log_out(&self, token: &str) -> u16 {
        self.stack.send(&Request::post("/api/v2/logout").bearer(token)).unwrap().status
    }

    fn operator(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.stack.control_plane.ask(Request::post(&format!("/internal/v1/keys/{path}")).json(body)).unwrap()
    }
}

#[test]
fn an_openid_provider_needs_nothing_but_its_url() {
    let scene = Scene::start(|plan| plan);
    let (alice, machine) = (scene.provider.log_in("alice").unwrap(), scene.provider.machine_token().unwrap());
    for token in [&alice, &machine, &alice] {
        let answer = scene.get(token);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(scene.log_out(&alice), 200);
    for _ in 0..8 {
        assert_eq!(told(&scene.get(&alice)), (401, "token_revoked".into()));
        assert_eq!(scene.get(&machine).status, 200);
    }
    let again = scene.provider.log_in("alice").unwrap();
    assert_eq!(scene.get(&again).status, 200);
    let all = scene.stack.send(&Request::post("/api/v2/logout-all-device").bearer(&again)).unwrap();
    assert_eq!(all.status, 200, "{}", all.text());
    assert_eq!(told(&scene.get(&again)), (401, "token_revoked".into()));
}

#[test]
fn keys_rotate_under_load_without_a_wrong_refusal_and_a_dropped_one_admits_nobody() {
    rotates_under_load(&Scene::start(|plan| plan));
}

/// With nothing but the issuer's URL, also on the side of the filter: its calls have their half second.
#[test]
#[ignore = "takes a minute, and asks for a machine that does nothing else; cargo verify --long runs it"]
fn keys_rotate_under_load_again_and_again_by_the_default_timeout() {
    let by_default = |filter: &mut serde_json::Value| {
        filter["control_plane"].as_object_mut().unwrap().remove("timeout").unwrap();
    };
    let scene = Scene::start(|plan| plan.change_filter(by_default).unwrap());
    for _ in 0..3 {
        rotates_under_load(&scene);
        // An issuer is asked for unknown keys once in ten seconds.
        thread::sleep(Duration::from_secs(11));
    }
}

fn rotates_under_load(scene: &Scene) {
    let old = scene.provider.log_in("alice").unwrap();
    assert_eq!(scene.get(&old).status, 200);
    let (dropping, dropped) = (AtomicBool::new(false), AtomicBool::new(false));
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let (old, stop, dropping, dropped) = (&old, &stop, &dropping, &dropped);
        let _stop = StopAtEnd(stop);
        // Those whose key stays for a time, and those who get a token of the newest key each time.
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(scope.spawn(move || {
                let mut sent = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let after = dropped.load(Ordering::SeqCst);
                    let answer = scene.get(old);
                    sent += 1;
                    let before = !dropping.load(Ordering::SeqCst);
                    let right = match answer.status {
                        200 => !after,
                        // While the drop is on its way, both are right.
                        401 => !before,
                        _ => false,
                    };
                    assert!(right, "{before} {after} {} {}", answer.status, answer.text());
                }
                sent
            }));
        }
        for client in 0..2 {
            clients.push(scope.spawn(move || {
                let mut sent = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let token = scene.provider.log_in(&format!("user-{client}-{sent}")).unwrap();
                    let answer = scene.get(&token);
                    sent += 1;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
                sent
            }));
        }
        thread::sleep(PAUSE);
        scene.provider.rotate().unwrap();
        // The first token of the new key has the provider asked, and waits for that. Old tokens are as good as before.
        let first = scene.provider.log_in("bob").unwrap();
        assert_eq!(scene.get(&first).status, 200);
        assert_eq!(scene.get(old).status, 200);
        thread::sleep(PAUSE);
        dropping.store(true, Ordering::SeqCst);
        scene.provider.drop_old_keys().unwrap();
        let called = Instant::now();
        let answer = scene.operator("refresh", &json!({}));
        assert_eq!((answer.status, answer.json()["changed"].clone()), (200, json!(true)), "{}", answer.text());
        dropped.store(true, Ordering::SeqCst);
        println!("a refresh was answered after {:?}", called.elapsed());
        for _ in 0..20 {
            let answer = scene.get(old);
            assert_eq!(told(&answer), (401, "token_invalid".into()), "{}", answer.text());
        }
        assert_eq!(scene.get(&first).status, 200);
        thread::sleep(PAUSE);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    println!("requests of each client: {sent:?}");
    assert!(sent.iter().all(|sent| *sent > 0), "{sent:?}");
    // Nobody can log out with it any more either.
    assert_eq!(scene.log_out(&old), 401);
}

#[test]
fn a_distrusted_key_admits_nobody_whatever_the_provider_publishes() {
    let scene = Scene::start(|plan| plan);
    let token = scene.provider.log_in("alice").unwrap();
    for _ in 0..8 {
        assert_eq!(scene.get(&token).status, 200);
    }
    let listed = scene.stack.control_plane.ask(Request::get("/internal/v1/keys/sets")).unwrap().json();
    let kid = listed["sets"][0]["keys"][0]["kid"].clone();
    let key = json!({"issuer": scene.provider.issuer(), "key": kid});
    let distrusted = scene.operator("distrust", &key);
    assert_eq!(distrusted.status, 200, "{}", distrusted.text());
    for _ in 0..20 {
        assert_eq!(told(&scene.get(&token)), (401, "token_invalid".into()));
    }
    assert_eq!(scene.operator("refresh", &json!({})).status, 200);
    assert_eq!(told(&scene.get(&token)), (401, "token_invalid".into()), "the provider still publishes it");
    let trusted = scene.operator("trust", &key);
    assert_eq!(trusted.status, 200, "{}", trusted.text());
    let answer = scene.get(&token);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_flood_of_unknown_kids_has_the_provider_asked_a_few_times() {
    let scene = Scene::start(|plan| plan);
    let token = scene.provider.log_in("alice").unwrap();
    assert_eq!(scene.get(&token).status, 200);
    let before = scene.provider.fetches().unwrap();
    let began = Instant::now();
    let [_, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    for number in 0..1_000 {
        let header = curfew_testbed::tokens::base64(
            json!({"alg": "RS256", "typ": "at+jwt", "kid": format!("k{number}")}).to_string().as_bytes(),
        );
        let answer = scene.get(&format!("{header}.{claims}.{signature}"));
        assert_eq!(told(&answer), (401, "token_invalid".into()), "{}", answer.text());
    }
    // One in ten seconds, and one more for the beginning.
    let most = began.elapsed().as_secs() / 10 + 2;
    let fetches = scene.provider.fetches().unwrap() - before;
    assert!(fetches > 0, "the first of them has the provider asked");
    assert!(fetches <= most, "{fetches} fetches in {:?}", began.elapsed());
    assert_eq!(scene.get(&token).status, 200);
}

#[test]
fn bounded_mode_gets_a_change_of_keys_within_its_bound() {
    let scene = Scene::start(|plan| plan.bounded("1s").unwrap());
    let token = scene.provider.log_in("alice").unwrap();
    assert_eq!(scene.get(&token).status, 200);
    scene.provider.rotate().unwrap();
    assert_eq!(scene.get(&scene.provider.log_in("bob").unwrap()).status, 200);
    scene.provider.drop_old_keys().unwrap();
    assert_eq!(scene.operator("refresh", &json!({})).status, 200);
    thread::sleep(Duration::from_millis(1_100));
    for _ in 0..8 {
        assert_eq!(told(&scene.get(&token)), (401, "token_invalid".into()));
    }
}
