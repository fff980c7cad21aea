//! Floods: the effect of many tokens that are used once on the memory of the VM and on the tokens in use.

use curfew_testbed::tokens::{self, base64, hs256_text};
use curfew_testbed::wasm_host::{Host, Outcome, START};
use serde_json::json;

use crate::support::{SECRET, admitted, configured, refused, send, verdict};

const BUDGET: usize = 2 << 20;

fn host_with_a_budget() -> Host {
    Host::start(&configured(json!({"cache_bytes": BUDGET}))).unwrap()
}

/// The payload of a new token, longer by this many bytes than necessary.
fn payload(index: usize, filler: usize) -> String {
    json!({
        "iss": tokens::ISSUER, "sub": format!("user-{index}"), "iat": START, "exp": START + 600,
        "jti": format!("flood-{index}"), "filler": "x".repeat(filler),
    })
    .to_string()
}

fn good(index: usize, filler: usize) -> String {
    hs256_text(SECRET, r#"{"alg":"HS256","typ":"JWT"}"#, &payload(index, filler))
}

/// Plays a request to its end, with this answer to its question if it raises one.
fn through(host: &mut Host, token: &str, says: &str) -> Outcome {
    let (stream, _) = send(host, token).unwrap();
    for callout in host.callouts() {
        host.answer(callout.token, 200, &verdict(says)).unwrap();
    }
    let outcome = host.outcome(stream).unwrap();
    host.close(stream).unwrap();
    outcome
}

#[test]
fn a_flood_takes_little_more_memory_than_the_budget() {
    for filler in [0, 1_000, 4_000] {
        let mut host = host_with_a_budget();
        through(&mut host, &good(0, filler), "active");
        let before = host.memory_size();
        // Twice what fits, and more.
        for index in 1..=2 * BUDGET / (500 + filler * 4 / 3) {
            admitted(&through(&mut host, &good(index, filler), "active")).unwrap();
        }
        let grown = host.memory_size() - before;
        // The budget counts entries; gaps of the allocator and the doubling of tables come in addition.
        assert!(grown < BUDGET * 5 / 4, "{filler}: {grown}");
        assert!(grown > BUDGET / 2, "{filler}: the flood was too small to tell: {grown}");
    }
}

#[test]
fn tokens_in_use_are_proven_and_asked_about_once_in_a_flood() {
    const FLOOD: usize = 4_000;
    let mut host = host_with_a_budget();
    let in_use: Vec<_> = (0..100).map(|index| good(index, 0)).collect();
    let says = |place: usize| if place.is_multiple_of(2) { "active" } else { "revoked" };
    let judge = |outcome: &Outcome, place: usize| match says(place) {
        "active" => drop(admitted(outcome).unwrap()),
        _ => refused(outcome, 401, "token_revoked"),
    };
    for (place, token) in in_use.iter().enumerate().chain(in_use.iter().enumerate()) {
        judge(&through(&mut host, token, says(place)), place);
    }
    let (missed, sent) = (host.metric("curfew_proofs_missed"), host.metric("curfew_checks_sent"));
    assert_eq!((missed, sent), (100, 100));
    for index in 0..FLOOD {
        admitted(&through(&mut host, &good(1_000 + index, 0), "active")).unwrap();
        let place = index % in_use.len();
        judge(&through(&mut host, &in_use[place], says(place)), place);
    }
    let new = u64::try_from(FLOOD).unwrap();
    assert_eq!(host.metric("curfew_proofs_missed"), missed + new);
    assert_eq!(host.metric("curfew_proofs_hit"), 100 + new);
    assert_eq!(host.metric("curfew_checks_sent"), sent + new);
}

#[test]
fn forgeries_and_junk_leave_nothing_behind() {
    const FLOOD: usize = 1_000;
    let mut host = host_with_a_budget();
    let known = good(0, 0);
    let claims = |index, exp| json!({"iss": tokens::ISSUER, "jti": index, "iat": START - 900, "exp": exp}).to_string();
    let header = r#"{"alg":"HS256"}"#;
    let flood = |index: usize| {
        let forged = hs256_text("another-secret-0123456789-0123456789", header, &payload(index, 400));
        let unknown =
            hs256_text(SECRET, &json!({"alg": "HS512", "kid": index.to_string()}).to_string(), &payload(index, 400));
        let expired = hs256_text(SECRET, header, &claims(index.to_string(), START - 600));
        let junk = base64(format!("{index:0>700}").as_bytes());
        [(forged, "token_invalid"), (unknown, "token_invalid"), (junk, "token_invalid"), (expired, "token_expired")]
    };
    let send_all = |host: &mut Host, from: usize, to: usize| {
        for (token, code) in (from..to).flat_map(flood) {
            refused(&through(host, &token, "active"), 401, code);
        }
    };
    admitted(&through(&mut host, &known, "active")).unwrap();
    send_all(&mut host, 0, 10);
    let before = host.memory_size();
    send_all(&mut host, 10, FLOOD);
    assert_eq!(host.memory_size(), before);
    assert_eq!((host.metric("curfew_proofs_hit"), host.metric("curfew_checks_sent")), (0, 1));
    admitted(&through(&mut host, &known, "revoked")).unwrap();
    assert_eq!((host.metric("curfew_proofs_hit"), host.metric("curfew_checks_sent")), (1, 1));
}
