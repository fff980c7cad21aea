//! `curfew explain --filter` says what Envoy answers, with the configuration that Envoy runs.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use curfew_testbed::control_plane::{self, Profile};
use curfew_testbed::http::{Answer, Request};
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};
use curfew_testbed::upstream::echoed_header;
use serde_json::{Value, json};

/// The running parts, and the file with the filter's configuration.
struct Scene {
    stack: Stack,
    program: std::path::PathBuf,
}

impl Scene {
    fn start() -> Self {
        let mut text = String::new();
        let plan = Plan::shipped().unwrap().change_filter(|filter| {
            let more = json!([
                {"path": "/public", "action": "skip"},
                {"path": "/write", "action": "require", "claims": {"scope": {"contains": "orders.write"}}},
                {"prefix": "/trial", "action": "require", "claims": {"trial": true}, "report_only": true},
            ]);
            filter["rules"].as_array_mut().unwrap().extend(more.as_array().unwrap().clone());
            text = filter.to_string();
        });
        let stack = plan.unwrap().start().unwrap();
        fs::write(stack.directory().join("filter.json"), text).unwrap();
        Self { stack, program: control_plane::build(Profile::Test).unwrap() }
    }

    fn file(&self) -> std::path::PathBuf {
        Path::new(self.stack.directory()).join("filter.json")
    }

    /// What `curfew explain` prints, and whether it exits with 0. Without a token in the request, this one is explained.
    fn explain(&self, request: &Request, token: &str, is_sent: bool) -> (Value, bool) {
        let mut command = Command::new(&self.program);
        command.env_clear().args(["explain", "--json", "--filter"]).arg(self.file());
        command.args(["--method", &request.method, "--path", &request.target]);
        for (name, value) in &request.headers {
            command.arg("--header").arg(format!("{name}: {}", String::from_utf8_lossy(value)));
        }
        if !is_sent {
            // No token is asked for.
            command.args(["--source", "none"]).arg(token);
        }
        let internal = self.stack.control_plane.internal();
        command.env("CURFEW_INTERNAL_URL", format!("http://{internal}"));
        command.env("CURFEW_INTERNAL_SECRET", self.stack.settings.required("CURFEW_INTERNAL_SECRET").unwrap());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        (told["filter"].clone(), output.status.success())
    }

    /// Asserts that both say the same; returns what `curfew explain` says.
    fn agree(&self, request: &Request, token: &str, is_sent: bool) -> (Value, Answer) {
        let (told, succeeded) = self.explain(request, token, is_sent);
        let sent = if is_sent { request.clone().bearer(token) } else { request.clone() };
        let answer = self.stack.send(&sent).unwrap();
        let is_refused = told["decision"] == "refused";
        assert_eq!(is_refused, answer.status != 200, "{request:?}: {told} and {}", answer.text());
        assert_eq!(succeeded, answer.status == 200, "{told}");
        if is_refused {
            let refusal = &told["refusal"];
            let document = answer.json();
            assert_eq!(
                (&refusal["status"], &refusal["code"], &refusal["detail"], refusal["challenge"].as_str()),
                (&json!(answer.status), &document["code"], &document["detail"], answer.header("www-authenticate")),
                "{told}"
            );
        }
        (told, answer)
    }
}

#[test]
fn curfew_explain_says_what_envoy_answers() {
    let scene = Scene::start();
    let signer = Signer::from_secret(scene.stack.settings.required("JWT_SECRET").unwrap());
    let token = signer.sign(&claims("alice")).unwrap();

    let (told, answer) = scene.agree(&Request::get("/orders").header("x-user-id", "root"), &token, true);
    assert_eq!((&told["decision"], &told["reason"]), (&json!("admitted"), &json!("active")));
    assert_eq!(told["upstream"]["set"], json!([{"name": "x-user-id", "value": "alice"}]));
    assert_eq!(told["upstream"]["removed"], json!(["x-user-id"]));
    assert_eq!(echoed_header(&answer.json(), "x-user-id").as_deref(), Some("alice"));
    assert!(!told.to_string().contains(&token), "{told}");

    let (told, _) = scene.agree(&Request::get("/orders"), &token, false);
    assert_eq!(told["reason"], "token_missing");
    let (told, _) = scene.agree(&Request::get("/write"), &token, true);
    assert_eq!((&told["reason"], &told["rules"][0]["rule"]["path"]), (&json!("insufficient_scope"), &json!("/write")));
    let (told, _) = scene.agree(&Request::get("/trial/a"), &token, true);
    assert_eq!((&told["decision"], &told["refusal"]["code"]), (&json!("reported"), &json!("insufficient_scope")));
    let (told, _) = scene.agree(&Request::get("/public"), &token, false);
    assert_eq!(told["reason"], "skipped");
    let mut preflight = Request::get("/orders");
    preflight.method = "OPTIONS".to_owned();
    let preflight =
        preflight.header("origin", "https://shop.example.com").header("access-control-request-method", "PUT");
    let (told, _) = scene.agree(&preflight, &token, false);
    assert_eq!(told["reason"], "preflight");

    assert_eq!(scene.stack.send(&Request::post("/api/v2/logout").bearer(&token)).unwrap().status, 200);
    let (told, _) = scene.agree(&Request::get("/orders"), &token, true);
    assert_eq!(told["reason"], "token_revoked");
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    let (told, _) = scene.agree(&Request::get("/orders"), &forged, true);
    assert_eq!(told["reason"], "token_invalid");
}
