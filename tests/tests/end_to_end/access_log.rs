//! What Envoy's access log can say of the filter's decisions.

use std::thread;
use std::time::{Duration, Instant};

use curfew_testbed::http::Request;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};
use serde_json::json;

use crate::shared::PATIENCE;

const FORMAT: &str = "log %PATH(NQ:PATH)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% \
    %FILTER_STATE(wasm.curfew_decision:PLAIN)% %FILTER_STATE(wasm.curfew_reason:PLAIN)% \
    %FILTER_STATE(wasm.curfew_token:PLAIN)%\n";

/// The same with an access log that [`line`] reads.
pub(crate) fn shown(mut plan: Plan) -> Plan {
    let kind = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
    let format = json!({"text_format_source": {"inline_string": FORMAT}});
    let log = json!([{"name": "envoy.access_loggers.stdout", "typed_config": {"@type": kind, "log_format": format}}]);
    plan.bootstrap.set_connection_manager("access_log", log).unwrap();
    plan
}

/// The words of the access log's line about this path. Envoy writes its log at intervals.
pub(crate) fn line(stack: &Stack, path: &str) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = stack.envoy.output();
        let begin = format!("log {path} ");
        if let Some(line) = output.lines().find(|line| line.starts_with(&begin)) {
            return line.split(' ').skip(2).map(str::to_owned).collect();
        }
        assert!(Instant::now() < deadline, "no line about {path}:\n{output}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_access_log_shows_decisions_and_tells_tokens_apart_without_showing_them() {
    let plan = Plan::shipped().unwrap().change_filter(|filter| filter["filter_state"] = json!(true)).unwrap();
    let stack = shown(plan).start().unwrap();
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    let token = signer.sign(&claims("a-private-user")).unwrap();
    let get = |path: &str| stack.send(&Request::get(path).bearer(&token)).unwrap().status;

    assert_eq!([get("/first"), get("/second"), get("/healthz")], [200, 200, 200]);
    assert_eq!(stack.send(&Request::get("/missing")).unwrap().status, 401);
    assert_eq!(stack.send(&Request::post("/api/v2/logout").bearer(&token)).unwrap().status, 200);
    assert_eq!(get("/revoked"), 401);

    let first = line(&stack, "/first");
    assert_eq!(first[..4], ["200", "via_upstream", "admitted", "active"]);
    let name = first[4].clone();
    assert!(name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    assert_eq!(line(&stack, "/second"), first);
    assert_eq!(line(&stack, "/healthz"), ["200", "via_upstream", "admitted", "skipped", "-"]);
    assert_eq!(line(&stack, "/missing"), ["401", "curfew_token_missing", "refused", "token_missing", "-"]);
    assert_eq!(line(&stack, "/revoked"), ["401", "curfew_token_revoked", "refused", "token_revoked", name.as_str()]);
    let logs = stack.envoy.output();
    for secret in [token.as_str(), "a-private-user"] {
        assert!(!logs.contains(secret), "{secret} is in the log");
    }
}
