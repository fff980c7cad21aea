//! The plugin configuration, the messages to operators, and the memory that caches take.

use curfew_testbed::tokens::{ISSUER, base64};
use curfew_testbed::wasm_host::{Host, Setup};
use serde_json::json;

use crate::support::{
    INTERNAL_SECRET, SECRET, admitted, claims_of, configuration, configured, get, host, only_callout, send,
    send_and_answer, sign, token,
};

#[test]
fn a_bad_configuration_is_refused_and_every_mistake_is_named() {
    let bad = json!({
        "issuers": [{"issuer": "https://issuer.example", "secret": "short", "algorithm": "HS256", "colour": "red"}],
        "rules": [{"path": "no-slash", "action": "perhaps"}],
        "clock_skew": "five",
        "control_plane": {"cluster": "", "secret": "tiny"},
        "consistency": "eventually",
        "max_stalenes": "5s",
        "on_unavailable": "shrug",
        "cache_bytes": "many",
        "report_only": "yes",
    });
    let (host, accepted) = Host::try_start(&Setup::new(&bad)).unwrap();
    assert!(!accepted);
    let log = host.log().join("\n");
    for field in [
        "issuers[0].secret",
        "issuers[0].colour",
        "rules[0].action",
        "clock_skew",
        "control_plane.secret",
        "consistency",
        "max_stalenes",
        "on_unavailable",
        "cache_bytes",
        "report_only",
    ] {
        assert!(log.contains(field), "{field} is not named in\n{log}");
    }
    assert!(!log.contains("short") || !log.contains("\"short\""), "a secret is in the log:\n{log}");
}

#[test]
fn a_configuration_that_is_not_json_says_what_to_write() {
    let struct_bytes = b"\n\x14\n\x0bconsistency\x12\x05\x1a\x03abc".to_vec();
    for configuration in [b"".to_vec(), b"issuers: []".to_vec(), struct_bytes] {
        let (host, accepted) = Host::try_start(&Setup { configuration, ..Setup::new(&json!({})) }).unwrap();
        assert!(!accepted);
        assert!(!host.log().is_empty());
    }
}

#[test]
fn the_secret_can_come_from_a_variable_of_the_vm() {
    let mut named = configuration();
    named["control_plane"].as_object_mut().unwrap().remove("secret");
    named["control_plane"]["secret_env"] = json!("THE_SECRET");
    let setup = Setup::new(&named);
    let (host, accepted) = Host::try_start(&setup).unwrap();
    let log = host.log().join("\n");
    assert!(!accepted && log.contains("control_plane.secret_env") && log.contains("host_env_keys"), "{log}");

    let mut host =
        Host::start(&setup.with_variable("OTHER", "x").with_variable("THE_SECRET", INTERNAL_SECRET)).unwrap();
    send(&mut host, &token().unwrap()).unwrap();
    let authorization = only_callout(&host).unwrap().headers.get("authorization");
    assert_eq!(authorization, Some(format!("Bearer {INTERNAL_SECRET}")));
}

#[test]
fn the_shipped_configuration_is_accepted() {
    let filter = curfew_testbed::bootstrap::Bootstrap::shipped().unwrap().filter().unwrap();
    Host::start(&Setup::new(&filter)).unwrap();
}

#[test]
fn report_only_decides_and_counts_and_lets_pass() {
    let mut host = Host::start(&configured(json!({"report_only": true}))).unwrap();
    let (_, outcome) = host.request(&get("/orders", &[("x-user-id", b"root")])).unwrap();
    assert!(admitted(&outcome).unwrap().all("x-user-id").is_empty());
    admitted(&send(&mut host, "nonsense").unwrap().1).unwrap();
    let outcome = send_and_answer(&mut host, &token().unwrap(), "revoked").unwrap();
    admitted(&outcome).unwrap();
    assert_eq!(host.metric("curfew_requests_missing"), 1);
    assert_eq!(host.metric("curfew_requests_invalid"), 1);
    assert_eq!(host.metric("curfew_requests_revoked"), 1);
}

#[test]
fn logs_and_metrics_carry_no_token_secret_or_user() {
    let mut host = host().unwrap();
    let good = sign(&claims_of("a-private-user")).unwrap();
    send_and_answer(&mut host, &good, "revoked").unwrap();
    send(&mut host, &format!("{good}x")).unwrap();
    let other = sign(&claims_of("a-private-user")).unwrap();
    send(&mut host, &other).unwrap();
    let callout = only_callout(&host).unwrap();
    host.answer(callout.token, 500, b"a-private-body").unwrap();
    let names: Vec<String> = host.metrics().into_iter().map(|(name, _)| name).collect();
    let told = format!("{}\n{}", host.log().join("\n"), names.join("\n"));
    for secret in [&good, &other, SECRET, INTERNAL_SECRET, "a-private-user", "a-private-body"] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn a_flood_of_tokens_stays_inside_the_cache_budget() {
    let mut host = Host::start(&configured(json!({"cache_bytes": 1_000_000, "max_staleness": "60s"}))).unwrap();
    let flood = |host: &mut Host, count: usize| {
        for _ in 0..count {
            let outcome = send_and_answer(host, &token().unwrap(), "active").unwrap();
            admitted(&outcome).unwrap();
        }
    };
    flood(&mut host, 4_000);
    let after_first = host.memory_size();
    flood(&mut host, 8_000);
    assert!(host.memory_size() <= after_first + 1_000_000, "{after_first} -> {}", host.memory_size());
}

#[test]
fn keys_that_are_not_used_are_told_once_and_the_others_are_used() {
    let keys = json!([
        {"kty": "oct", "alg": "HS256", "kid": "good", "k": base64(SECRET.as_bytes())},
        {"kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB"},
    ]);
    let issuers = json!({"issuers": [{"issuer": ISSUER, "jwks": {"keys": keys}}]});
    let mut host = Host::start(&configured(issuers)).unwrap();
    admitted(&send_and_answer(&mut host, &token().unwrap(), "active").unwrap()).unwrap();
    let told = "configuration: issuers[0].jwks.keys[1]: (kid enc) is not used: use is enc, and only keys for signatures are used";
    assert_eq!(host.log().iter().filter(|line| line.contains(told)).count(), 1, "{:?}", host.log());
}
