//! What Envoy's access log can say of the filter's decisions.

use std::thread;
use std::time::{Duration, Instant};

use curfew_testbed::http::Request;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims, with};
use serde_json::{Value, json};

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

/// A stack that writes the filter's decisions into its access log.
fn logging(change: impl FnOnce(&mut Value)) -> (Stack, Signer) {
    let plan = Plan::shipped().unwrap().change_filter(|filter| {
        filter["filter_state"] = json!(true);
        change(filter);
    });
    let stack = shown(plan.unwrap()).start().unwrap();
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    (stack, signer)
}

#[test]
fn the_access_log_shows_decisions_and_tells_tokens_apart_without_showing_them() {
    let (stack, signer) = logging(|_| {});
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

/// What the log has of these requests, each with a token or without, sent to a path of its own.
fn logged(stack: &Stack, requests: &[(&str, Option<&str>)]) -> Vec<Vec<String>> {
    for (path, token) in requests {
        let request = Request::get(path);
        let request = token.map_or(request.clone(), |token| request.bearer(token));
        assert_eq!(stack.send(&request).unwrap().status, 200, "{path}");
    }
    requests.iter().map(|(path, _)| line(stack, path)).collect()
}

#[test]
fn the_access_log_shows_what_would_have_been_refused() {
    let rules = |filter: &mut Value| {
        let trial = json!({"prefix": "/trial", "action": "require", "claims": {"trial": true}, "report_only": true});
        filter["rules"].as_array_mut().unwrap().insert(0, trial);
    };
    for by_rule in [true, false] {
        let (stack, signer) =
            logging(|filter| if by_rule { rules(filter) } else { filter["report_only"] = json!(true) });
        let sign = |changes: Value| signer.sign(&with(claims("a-private-user"), changes)).unwrap();
        let [lacking, meeting, revoked] = [json!({}), json!({"trial": true}), json!({"trial": true})].map(sign);
        assert_eq!(stack.send(&Request::post("/api/v2/logout").bearer(&revoked)).unwrap().status, 200);
        let lines = logged(
            &stack,
            &[
                ("/trial/lacking", Some(&lacking)),
                ("/trial/meeting", Some(&meeting)),
                ("/trial/revoked", Some(&revoked)),
                ("/trial/invalid", Some("a.b.c")),
                ("/trial/missing", None),
            ],
        );
        let told: Vec<_> = lines.iter().map(|line| (line[2].as_str(), line[3].as_str())).collect();
        let lacks = if by_rule { ("reported", "insufficient_scope") } else { ("admitted", "active") };
        let [revoked, invalid, missing] =
            ["token_revoked", "token_invalid", "token_missing"].map(|code| ("reported", code));
        assert_eq!(told, [lacks, ("admitted", "active"), revoked, invalid, missing], "by a rule: {by_rule}");
        let named: Vec<_> = lines.iter().map(|line| line[4].len() == 16).collect();
        assert_eq!(named, [true, true, true, false, false]);
        for line in &lines {
            assert_eq!(line[..2], ["200", "via_upstream"]);
        }
    }
}
