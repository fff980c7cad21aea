//! An issuer that is away: what is kept, what is forgotten, and what a distrust outlasts.

use std::time::Duration;

use curfew_testbed::http::Request;
use curfew_testbed::key_server::KeyServer;
use curfew_testbed::stack::Stack;
use curfew_testbed::tokens::{Signer, jwks, with};
use serde_json::{Value, json};

use super::{ISSUER, Issuers, asked, get, token, until};
use crate::access_log;
use crate::shared::told;

fn operator(stack: &Stack, what: &str, body: &Value) {
    let request = Request::post(&format!("/internal/v1/keys/{what}")).json(body);
    let answer = stack.control_plane.ask(request).unwrap();
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
}

/// The issuer with this source of its keys.
fn entry(source: &Value) -> Value {
    with(source.clone(), json!({"issuer": ISSUER}))
}

/// Requests that reach every worker.
const AT_EVERY_WORKER: usize = 20;

/// One issuer, whose keys come from one source after the other. The control plane is told of each by a restart.
struct Scene {
    stack: Stack,
    issuers: Issuers,
    /// Tokens of two keys. The first key has leaked.
    leaked: String,
    good: String,
}

impl Scene {
    fn restart_with(&mut self, source: &Value) {
        self.issuers.write(&json!([entry(source)]));
        self.stack.control_plane.restart().unwrap();
    }

    /// Waits until a token gets this status at every worker: nobody waits for workers when a source changes by itself. The leaked
    /// key admits nothing meanwhile.
    fn wait(&self, token: &str, status: u16) -> Duration {
        let is_so = || {
            let refused = get(&self.stack, "/orders", &self.leaked).status;
            assert_ne!(refused, 200, "the leaked key admits");
            (0..AT_EVERY_WORKER).all(|_| get(&self.stack, "/orders", token).status == status)
        };
        until(&format!("a token gets {status}"), is_so)
    }

    fn good_one_is(&self, status: u16) -> Duration {
        self.wait(&self.good, status)
    }

    /// Every worker has keys, and refuses the leaked one.
    fn leaked_one_is_refused(&self) {
        for _ in 0..AT_EVERY_WORKER {
            assert_eq!(told(&get(&self.stack, "/orders", &self.leaked)), (401, "token_invalid".into()));
            assert_eq!(get(&self.stack, "/orders", &self.good).status, 200);
        }
    }
}

#[test]
fn a_distrust_outlasts_keys_that_were_kept_too_long_and_every_other_source_of_keys() {
    let issuer = KeyServer::start().unwrap();
    let [one, two, inline] = ["one", "two", "inline"].map(|kid| Signer::named(kid).unwrap());
    let list = jwks([&one, &two]);
    issuer.lists(&list);
    let by_url = json!({"jwks_url": issuer.url(), "min_interval": "1s", "max_interval": "1s", "keep_for": "2s"});
    let issuers = Issuers::new(&json!([entry(&by_url)]));
    let plan = issuers.plan(&[ISSUER]).change_filter(|filter| filter["on_unavailable"] = "allow".into());
    let stack = access_log::shown(plan.unwrap()).start().unwrap();
    let mut scene = Scene { leaked: token(&one, ISSUER), good: token(&two, ISSUER), stack, issuers };
    until("the keys come", || get(&scene.stack, "/orders", &scene.leaked).status == 200);
    for _ in 0..AT_EVERY_WORKER {
        assert_eq!(get(&scene.stack, "/orders", &scene.leaked).status, 200, "every worker has proven it");
    }
    operator(&scene.stack, "distrust", &json!({"key": "one"}));
    scene.leaked_one_is_refused();

    // Nothing admits without keys, whatever is set for a control plane that does not answer.
    issuer.goes_down();
    println!("the keys were forgotten after {:?}", scene.good_one_is(503));
    for (path, token) in [("/leaked", &scene.leaked), ("/good", &scene.good)] {
        assert_eq!(told(&get(&scene.stack, path, token)), (503, "unavailable".into()));
        assert_eq!(access_log::line(&scene.stack, path)[..2], ["503", "curfew_unavailable_without_keys"]);
        assert_eq!(scene.stack.upstream.requests_to(path), 0);
    }

    // The provider publishes both keys.
    issuer.lists(&list);
    scene.good_one_is(200);
    scene.leaked_one_is_refused();
    // A key that only this source lists shows that its list is in force, and no longer what the URL gave.
    scene.restart_with(&json!({"jwks": jwks([&one, &two, &inline])}));
    let of_inline = token(&inline, ISSUER);
    scene.wait(&of_inline, 200);
    scene.leaked_one_is_refused();
    scene.restart_with(&json!({"secret": "a secret of the issuer that has 32 bytes"}));
    scene.good_one_is(503);
    scene.restart_with(&by_url);
    scene.good_one_is(200);
    operator(&scene.stack, "refresh", &json!({}));
    scene.leaked_one_is_refused();
    assert_eq!(told(&get(&scene.stack, "/orders", &of_inline)), (401, "token_invalid".into()), "the URL's list again");
    operator(&scene.stack, "trust", &json!({"key": "one"}));
    until("it is trusted again", || get(&scene.stack, "/orders", &scene.leaked).status == 200);
}

#[test]
fn a_control_plane_and_workers_that_start_without_the_issuer_have_its_last_good_keys() {
    let issuer = KeyServer::start().unwrap();
    let one = Signer::named("one").unwrap();
    issuer.lists(&jwks([&one]));
    let issuers = asked(&issuer);
    let mut plan = issuers.plan(&[ISSUER]);
    plan.updatable = true;
    let mut stack = plan.start().unwrap();
    let (alice, bob) = (token(&one, ISSUER), token(&one, ISSUER));
    until("the keys come", || get(&stack, "/orders", &alice).status == 200);
    let fetches = issuer.fetches();
    issuer.goes_down();
    stack.control_plane.restart().unwrap();
    // Each worker makes a new root context, which holds nothing yet.
    stack.update_filter(|filter| filter["control_plane"]["timeout"] = "4s".into()).unwrap();
    for token in [&alice, &bob] {
        until("its token is admitted", || get(&stack, "/orders", token).status == 200);
        for _ in 0..8 {
            assert_eq!(get(&stack, "/orders", token).status, 200);
        }
    }
    let log_out = stack.send(&Request::post("/api/v2/logout").bearer(&bob)).unwrap();
    assert_eq!(log_out.status, 200, "{}", log_out.text());
    assert_eq!(told(&get(&stack, "/orders", &bob)), (401, "token_revoked".into()));
    println!("{} fetches in vain", issuer.fetches() - fetches);
}
