//! Logouts that fail too often, and real logouts among them.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use curfew_control_plane::abuse::VerificationLabels;
use curfew_control_plane::abuse::attempts::FailedAttempts;
use curfew_control_plane::abuse::source::Source;
use curfew_control_plane::http::Peer;
use jwt_simple::algorithms::{Ed25519KeyPair, EdDSAKeyPairLike};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::plane::{Answer, Plane, ask, ask_json, post};
use crate::tokens::{ISSUER, claims, encoded, token, token_of, with};

const TOO_MANY: &str = "429\ncache-control: no-store\ncontent-type: application/problem+json\nretry-after: N\n\n\
    {\"type\":\"about:blank\",\"title\":\"Too Many Requests\",\"status\":429,\
    \"detail\":\"The attempt failed, and so did too many before it from the same source or with the same token.\",\
    \"code\":\"too_many_requests\"}";

/// A control plane with these limits on failures in a minute, and this many trusted proxies in front of it.
async fn limited(per_source: u32, per_token: u32, proxies: usize) -> Plane {
    let mut plane = Plane::start().await;
    let state = Arc::get_mut(&mut plane.state).unwrap();
    state.attempts = FailedAttempts::per_minute(per_source, per_token);
    state.trusted_proxies = proxies;
    plane
}

async fn logout_from(plane: &Plane, peer: &str, token: &str, headers: HeaderMap) -> Answer {
    let mut request = post("/api/v2/logout")
        .header("authorization", format!("Bearer {token}"))
        .extension(Peer(peer.parse::<IpAddr>().unwrap()));
    request.headers_mut().unwrap().extend(headers);
    ask(plane.public(), request).await
}

/// The whole answer without its Retry-After, and the Retry-After.
fn without_wait(answer: &Answer) -> (String, Option<u64>) {
    let whole = answer.whole();
    let Some(line) = whole.lines().find_map(|line| line.strip_prefix("retry-after: ")) else { return (whole, None) };
    (whole.replace(&format!("retry-after: {line}"), "retry-after: N"), line.parse().ok())
}

/// The token with another signature.
fn respelled(token: &str, byte: u8) -> String {
    let (signing_input, _) = token.rsplit_once('.').unwrap();
    format!("{signing_input}.{}", encoded(&[byte; 32]))
}

#[tokio::test]
async fn a_source_that_fails_too_often_is_told_so_and_when_to_come_again() {
    let plane = limited(3, 0, 0).await;
    for attempt in 0..3 {
        assert_eq!(plane.logout(&respelled(&token_of("alice", "1"), attempt)).await.problem().0, 401);
    }
    let (whole, wait) = without_wait(&plane.logout("x.y.z").await);
    assert_eq!(whole, TOO_MANY);
    // With three failures a minute, the next one is within the limit after 20 s at most.
    assert!((1..=20).contains(&wait.unwrap()), "{wait:?}");
    let bare = ask(plane.public(), post("/api/v2/logout-all-device")).await;
    assert_eq!(bare.problem(), (429, "too_many_requests".to_owned()));
}

#[tokio::test]
async fn a_real_logout_passes_however_many_have_failed_at_its_source() {
    let plane = limited(2, 0, 0).await;
    for attempt in 0..200 {
        plane.logout(&respelled(&token_of("mallory", &attempt.to_string()), 0)).await;
    }
    assert_eq!(plane.logout("x.y.z").await.status, 429);
    let (first, second) = (token_of("alice", "1"), token_of("bob", "2"));
    assert_eq!(plane.logout(&first).await.body, r#"{"message":"Successfully Logged Out."}"#);
    assert_eq!(plane.logout_all(&second).await.body, r#"{"message":"Successfully Logged Out From All Device."}"#);
    for dead in [&first, &second] {
        assert_eq!(plane.verdict(dead).await, "revoked");
    }
}

#[tokio::test]
async fn failed_attempts_with_a_token_do_not_lock_its_owner_out() {
    let plane = limited(0, 2, 0).await;
    let token = token_of("alice", "1");
    for byte in 0..100 {
        plane.logout(&respelled(&token, byte)).await;
    }
    assert_eq!(without_wait(&plane.logout(&respelled(&token, 100)).await).0, TOO_MANY);
    assert_eq!(plane.logout(&token).await.status, 200);
    // The token is logged out now, so this attempt fails like the others.
    assert_eq!(plane.logout(&token).await.status, 429);
    assert_eq!(plane.verdict(&token).await, "revoked");
    // An attempt with another token from the same source gets its reason.
    assert_eq!(plane.logout("x.y.z").await.problem().0, 401);
}

#[tokio::test]
async fn failures_of_one_source_do_not_limit_another() {
    let plane = limited(1, 0, 0).await;
    for _ in 0..3 {
        logout_from(&plane, "192.0.2.1", "x.y.z", HeaderMap::new()).await;
    }
    let status = async |peer| logout_from(&plane, peer, "x.y.z", HeaderMap::new()).await.status;
    assert_eq!(status("192.0.2.1").await, 429);
    assert_eq!(status("::ffff:192.0.2.1").await, 429);
    assert_eq!(status("192.0.2.2").await, 401);
    assert_eq!(status("2001:db8::1").await, 401);
    assert_eq!(status("2001:db8::ffff:1").await, 429);
}

#[tokio::test]
async fn behind_a_proxy_its_entry_counts_and_the_clients_does_not() {
    let plane = limited(1, 0, 1).await;
    let forwarded = |value: &str| HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), value.parse().unwrap())]);
    let status = async |value: &str| logout_from(&plane, "10.0.0.1", "x.y.z", forwarded(value)).await.status;
    assert_eq!(status("198.51.100.1").await, 401);
    assert_eq!(status("203.0.113.9, 198.51.100.1").await, 429);
    assert_eq!(status("198.51.100.1, 198.51.100.2").await, 401);

    // Without the setting, the proxy is the only source.
    let plane = limited(1, 0, 0).await;
    let status = async |value: &str| logout_from(&plane, "10.0.0.1", "x.y.z", forwarded(value)).await.status;
    assert_eq!(status("198.51.100.1").await, 401);
    assert_eq!(status("198.51.100.2").await, 429);
}

#[tokio::test]
async fn wrong_credentials_of_an_application_are_limited_and_right_ones_are_not() {
    let plane = limited(2, 0, 0).await;
    let call = |key: &str| plane.lgt_all(json!({"user_id": "alice", "app_id": "app", "app_key": key}));
    for _ in 0..2 {
        assert_eq!(call("wrong").await.problem(), (401, "credentials_invalid".to_owned()));
    }
    assert_eq!(without_wait(&call("wrong").await).0, TOO_MANY);
    assert_eq!(call("key").await.status, 200);
    // A call with the right key and without a user is not a guess.
    for _ in 0..5 {
        let nobody = plane.lgt_all(json!({"app_id": "app", "app_key": "key"})).await;
        assert_eq!(nobody.problem(), (401, "user_id_missing".to_owned()));
    }
    // A malformed body says nothing about credentials either.
    let malformed = ask_json(plane.internal(), post("/api/v2/lgt-all"), "{").await;
    assert_eq!(malformed.problem(), (400, "request_malformed".to_owned()));
}

#[tokio::test]
async fn a_backend_cannot_choose_where_it_is_counted() {
    let plane = limited(1, 0, 1).await;
    let body = json!({"user_id": "alice", "app_id": "app", "app_key": "wrong"}).to_string();
    let call = async |from: &str| {
        let request = post("/api/v2/lgt-all").header("x-forwarded-for", from);
        ask_json(plane.internal(), request.extension(Peer([192, 0, 2, 1].into())), &body).await.status
    };
    assert_eq!((call("198.51.100.1").await, call("198.51.100.2").await), (401, 429));
}

#[tokio::test]
async fn failures_are_counted_with_what_became_of_them() {
    let plane = limited(2, 1, 0).await;
    let forged = respelled(&token_of("alice", "1"), 0);
    for _ in 0..2 {
        plane.logout(&forged).await;
    }
    plane.logout(&token(&with(claims("alice", "2"), json!({"exp": 1, "iat": 0})))).await;
    plane.logout("x.y.z").await;
    let line = "token_invalid/signature=1 too_many_requests/encoding=1 too_many_requests/signature=1 \
                too_many_requests/token_expired=1";
    assert_eq!(plane.state.failures.take().as_deref(), Some(line));
    let metrics = plane.state.measured().unwrap();
    for line in [
        r#"curfew_logouts_total{endpoint="logout",outcome="too_many_requests"} 3"#,
        r#"curfew_logouts_total{endpoint="logout",outcome="token_invalid"} 1"#,
        r#"curfew_failed_logouts_limited_total{by="source"} 2"#,
        r#"curfew_failed_logouts_limited_total{by="token"} 1"#,
        r#"curfew_tokens_refused_total{reason="signature"} 2"#,
        r#"curfew_verifications_waiting{lane="ordinary"} 0"#,
        r#"curfew_verifications_waiting{lane="suspect"} 0"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
}

/// Accepts Ed25519, which is checked on a thread of its own.
async fn with_public_key(pair: &Ed25519KeyPair) -> Plane {
    let x = encoded(&pair.public_key().to_bytes());
    let key = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x});
    Plane::start_with(json!({"issuers": [{"issuer": ISSUER, "jwks": {"keys": [key]}}]})).await
}

fn signed_by(pair: &Ed25519KeyPair, claims: &Value) -> String {
    let input = format!("{}.{}", encoded(br#"{"alg":"EdDSA"}"#), encoded(claims.to_string().as_bytes()));
    let signature = pair.key_pair().as_ref().sk.sign(&input, None);
    format!("{input}.{}", encoded(signature.as_ref()))
}

#[tokio::test]
async fn a_source_that_has_failed_too_often_waits_in_a_lane_of_its_own() {
    let pair = Ed25519KeyPair::generate();
    let mut plane = with_public_key(&pair).await;
    Arc::get_mut(&mut plane.state).unwrap().attempts = FailedAttempts::per_minute(1, 0);
    let (first, second) = (signed_by(&pair, &claims("alice", "1")), signed_by(&pair, &claims("alice", "2")));
    assert_eq!(plane.logout(&first).await.status, 200);
    let forged = format!("{}.{}", first.rsplit_once('.').unwrap().0, encoded(&[7; 64]));
    assert_eq!(plane.logout(&forged).await.problem().0, 401);
    assert_eq!(plane.logout(&forged).await.problem().0, 429);
    // A token that is refused by a check before its signature does not wait for a thread.
    assert_eq!(plane.logout(&signed_by(&pair, &with(claims("alice", "3"), json!({"exp": 1})))).await.status, 429);
    assert_eq!(plane.logout(&second).await.status, 200);
    let metrics = plane.state.measured().unwrap();
    for line in [
        r#"curfew_verifications_total{lane="ordinary",outcome="accepted"} 1"#,
        r#"curfew_verifications_total{lane="ordinary",outcome="refused"} 2"#,
        r#"curfew_verifications_total{lane="suspect",outcome="accepted"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains(r#"lane="suspect",outcome="refused""#), "{metrics}");
}

/// The token with a signature that only looks like one.
fn forged(pair: &Ed25519KeyPair, id: &str) -> String {
    let token = signed_by(pair, &claims("mallory", id));
    format!("{}.{}", token.rsplit_once('.').unwrap().0, encoded(&[7; 64]))
}

/// The number of checks in this lane with this outcome.
fn verifications(plane: &Plane, lane: &'static str, outcome: &'static str) -> u64 {
    plane.metrics.abuse.verifications.get_or_create(&VerificationLabels { lane, outcome }).get()
}

/// Takes all threads of both lanes for as long as the answer lives.
async fn all_threads_busy(plane: &Plane) -> Vec<mpsc::Sender<()>> {
    let nobody = |number: u8| Source::of([198, 51, 100, number].into(), &HeaderMap::new(), 0);
    // There are more pieces of work than cores, from many sources, so that no source has used up its share.
    let mut held = Vec::new();
    for number in 0..=u8::MAX {
        for is_suspect in [false, true] {
            let (let_go, work) = mpsc::channel::<()>();
            let Ok(slot) = plane.state.lanes.admit(&nobody(number), is_suspect) else { continue };
            tokio::spawn(slot.run(
                Duration::from_secs(60),
                || (),
                move || {
                    let _ = work.recv();
                },
            ));
            held.push(let_go);
        }
    }
    held
}

/// Sends three forged tokens from one address, and gives each up as soon as its check has begun. False if a check was
/// done before the client could hang up.
async fn three_hang_up(plane: &Plane, pair: &Ed25519KeyPair, address: [u8; 4]) -> bool {
    for number in 0..3 {
        // This yields to get a new budget: without one, tokio makes every future wait for the next turn.
        tokio::task::yield_now().await;
        let request =
            post("/api/v2/logout").header("authorization", format!("Bearer {}", forged(pair, &number.to_string())));
        let request = request.extension(Peer(address.into())).body(Body::empty()).unwrap();
        let mut logout = Box::pin(plane.public().oneshot(request));
        // After one poll the check has begun. Then the client hangs up.
        if !poll_fn(|context| Poll::Ready(logout.as_mut().poll(context).is_pending())).await {
            return false;
        }
        drop(logout);
        // The work goes on, and the next check needs its thread.
        while plane.state.lanes.all().iter().any(|lane| lane.waiting() > 0) {
            tokio::task::yield_now().await;
        }
    }
    true
}

#[tokio::test]
async fn a_client_that_hangs_up_while_the_signature_is_checked_has_failed() {
    let pair = Ed25519KeyPair::generate();
    let mut plane = with_public_key(&pair).await;
    Arc::get_mut(&mut plane.state).unwrap().attempts = FailedAttempts::per_minute(2, 0);
    // On a busy machine the check may be done before this thread runs again.
    let (mut number, mut address) = (1_u16, [198, 18, 0, 1]);
    while !three_hang_up(&plane, &pair, address).await {
        number += 1;
        let [high, low] = number.to_be_bytes();
        address = [198, 18, high, low];
    }
    let accepted = [verifications(&plane, "suspect", "accepted"), verifications(&plane, "ordinary", "accepted")];
    assert_eq!(accepted, [0, 0]);
    assert!(plane.state.attempts.is_suspect(&Source::of(address.into(), &HeaderMap::new(), 0)));
    let token = signed_by(&pair, &claims("alice", "1"));
    assert_eq!(
        logout_from(&plane, &std::net::Ipv4Addr::from(address).to_string(), &token, HeaderMap::new()).await.status,
        200
    );
    assert_eq!((verifications(&plane, "suspect", "accepted"), verifications(&plane, "ordinary", "accepted")), (1, 0));
}

#[tokio::test]
async fn an_attempt_whose_check_never_began_has_not_failed() {
    let pair = Ed25519KeyPair::generate();
    let mut plane = with_public_key(&pair).await;
    let state = Arc::get_mut(&mut plane.state).unwrap();
    state.attempts = FailedAttempts::per_minute(1, 0);
    state.request_timeout = Duration::from_millis(100);
    let busy = all_threads_busy(&plane).await;
    tokio::task::yield_now().await;
    for number in 0..10 {
        let logout = logout_from(&plane, "192.0.2.1", &forged(&pair, &number.to_string()), HeaderMap::new()).await;
        assert_eq!(logout.status, 503);
    }
    drop(busy);
    assert!(!plane.state.attempts.is_suspect(&Source::of([192, 0, 2, 1].into(), &HeaderMap::new(), 0)));
}

#[tokio::test]
async fn a_logout_whose_turn_does_not_come_is_told_that_nothing_has_happened() {
    let pair = Ed25519KeyPair::generate();
    let mut plane = with_public_key(&pair).await;
    Arc::get_mut(&mut plane.state).unwrap().request_timeout = Duration::from_millis(400);
    let token = signed_by(&pair, &claims("alice", "1"));
    let busy = all_threads_busy(&plane).await;
    tokio::task::yield_now().await;
    assert_eq!(
        plane.logout(&token).await.whole(),
        "503\ncache-control: no-store\ncontent-type: application/problem+json\nretry-after: 1\n\n\
         {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
         \"detail\":\"The request was not carried out and nothing was changed: a token to be logged out is still valid. \
         Try again.\",\"code\":\"unavailable\"}"
    );
    assert_eq!(verifications(&plane, "ordinary", "late"), 1);
    drop(busy);
    assert_eq!(plane.verdict(&token).await, "active");
    let state = Arc::get_mut(&mut plane.state).unwrap();
    state.request_timeout = Duration::from_secs(10);
    assert_eq!(plane.logout(&token).await.status, 200);
}

#[tokio::test]
async fn a_token_of_failed_attempts_waits_in_the_first_lane() {
    let pair = Ed25519KeyPair::generate();
    let mut plane = with_public_key(&pair).await;
    Arc::get_mut(&mut plane.state).unwrap().attempts = FailedAttempts::per_minute(0, 1);
    let token = signed_by(&pair, &claims("alice", "1"));
    let played = format!("{}.{}", token.rsplit_once('.').unwrap().0, encoded(&[7; 64]));
    let from = async |last: u8, token: &str| {
        logout_from(&plane, &format!("192.0.2.{last}"), token, HeaderMap::new()).await.status
    };
    // A malformed text is not counted for the token whose parts it contains.
    let malformed = format!("{}.!", token.rsplit_once('.').unwrap().0);
    for last in 0..5 {
        assert_eq!(from(last, &malformed).await, 401);
    }
    assert_eq!((from(10, &played).await, from(11, &played).await), (401, 429));
    assert_eq!(from(12, &token).await, 200);
    assert_eq!((verifications(&plane, "ordinary", "accepted"), verifications(&plane, "suspect", "accepted")), (1, 0));
}

#[tokio::test]
async fn without_a_limit_a_source_that_fails_still_waits_apart() {
    let pair = Ed25519KeyPair::generate();
    let plane = with_public_key(&pair).await;
    for number in 0..62 {
        let status = plane.logout(&forged(&pair, &number.to_string())).await.status;
        assert_eq!(status, 401, "{number}");
    }
    assert_eq!((verifications(&plane, "ordinary", "refused"), verifications(&plane, "suspect", "refused")), (61, 1));
}

#[tokio::test]
async fn a_crowd_at_one_source_is_served_one_after_the_other() {
    let pair = Ed25519KeyPair::generate();
    let mut plane = with_public_key(&pair).await;
    Arc::get_mut(&mut plane.state).unwrap().attempts = FailedAttempts::per_minute(1, 0);
    let plane = Arc::new(plane);
    let forged =
        format!("{}.{}", signed_by(&pair, &claims("mallory", "0")).rsplit_once('.').unwrap().0, encoded(&[7; 64]));
    let flood: Vec<_> = (0..8)
        .map(|_| {
            let (plane, forged) = (Arc::clone(&plane), forged.clone());
            tokio::spawn(async move {
                loop {
                    plane.logout(&forged).await;
                }
            })
        })
        .collect();
    for number in 0..20 {
        let token = signed_by(&pair, &claims("alice", &number.to_string()));
        let answer = tokio::time::timeout(Duration::from_secs(20), plane.logout(&token)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.whole());
    }
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}
