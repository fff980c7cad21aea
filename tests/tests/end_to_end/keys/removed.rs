//! `curfew keys remove`, typed by an operator, while Envoy admits tokens of the key.

use std::process::Command;
use std::thread;
use std::time::Duration;

use curfew_testbed::control_plane::{self, Profile};
use curfew_testbed::key_server::KeyServer;
use curfew_testbed::link::Direction;
use curfew_testbed::stack::Stack;
use curfew_testbed::tokens::{Signer, jwks};

use super::{ISSUER, asked, get, token, until};
use crate::access_log;
use crate::shared::told;

/// Runs `curfew keys` against the control plane of this stack; returns what it prints.
fn keys(stack: &Stack, arguments: &[&str]) -> String {
    let mut command = Command::new(control_plane::build(Profile::Test).unwrap());
    command.arg("keys").args(arguments).current_dir(stack.directory());
    command.env("CURFEW_INTERNAL_URL", format!("http://{}", stack.control_plane.internal()));
    command.env("CURFEW_INTERNAL_SECRET", stack.settings.required("CURFEW_INTERNAL_SECRET").unwrap());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_key_that_is_removed_by_the_command_line_admits_nobody_any_more() {
    let issuer = KeyServer::start().unwrap();
    let [one, two, three] = ["one", "two", "three"].map(|kid| Signer::named(kid).unwrap());
    issuer.lists(&jwks([&one, &two, &three]));
    let stack = asked(&issuer).plan(&[ISSUER]).start().unwrap();
    let [alice, bob, carol] = [&one, &two, &three].map(|signer| token(signer, ISSUER));
    until("the keys come", || get(&stack, "/orders", &alice).status == 200);
    for (kid, token) in [("one", &alice), ("two", &bob)] {
        // Both workers have proven it, and remember that.
        for _ in 0..20 {
            assert_eq!(get(&stack, "/orders", token).status, 200);
        }
        let said = keys(&stack, &["remove", kid]);
        for _ in 0..40 {
            assert_eq!(told(&get(&stack, "/orders", token)), (401, "token_invalid".into()), "{kid}: {said}");
        }
        assert_eq!(get(&stack, "/orders", &carol).status, 200);
    }
    let listed = keys(&stack, &["list"]);
    assert_eq!(listed.matches("removed").count(), 2, "{listed}");
}

/// Its request waits for the answer to a question when the key goes, in bounded mode, where every token is asked about.
#[test]
fn a_request_that_waits_when_its_key_is_removed_is_refused_and_the_access_log_says_why() {
    let issuer = KeyServer::start().unwrap();
    let [one, two] = ["one", "two"].map(|kid| Signer::named(kid).unwrap());
    issuer.lists(&jwks([&one, &two]));
    let issuers = asked(&issuer);
    let mut plan = issuers.plan(&[ISSUER]).bounded("1s").unwrap();
    plan.linked = true;
    let stack = access_log::shown(plan).start().unwrap();
    let [first, waiting] = [&one, &one].map(|signer| token(signer, ISSUER));
    until("the keys come", || get(&stack, "/orders", &first).status == 200);
    for _ in 0..20 {
        assert_eq!(get(&stack, "/orders", &first).status, 200, "both workers have the keys");
    }
    let link = stack.link.as_ref().unwrap();
    thread::scope(|scope| {
        link.hold(Direction::Requests);
        let waiting = scope.spawn(|| get(&stack, "/waiting", &waiting));
        // The question is on its way, and arrives when the key is gone.
        thread::sleep(Duration::from_millis(500));
        keys(&stack, &["remove", "one"]);
        assert!(!waiting.is_finished(), "it has not waited");
        link.mend();
        assert_eq!(told(&waiting.join().unwrap()), (401, "token_invalid".into()));
    });
    assert_eq!(access_log::line(&stack, "/waiting")[..2], ["401", "curfew_token_invalid_key_removed"]);
    assert_eq!(stack.upstream.requests_to("/waiting"), 0);
}
