//! Logging out one token.

use std::future::Future;
use std::sync::Arc;

use axum::http::HeaderValue;
use ct_codecs::{Base64UrlSafeNoPadding, Decoder};
use jwt_simple::prelude::{Claims, Duration, ECDSAP256KeyPairLike, ES256KeyPair};
use serde_json::{Value, json};
use sqlx::Executor;
use tokio::task::JoinSet;

use crate::plane::{Plane, ask, post};
use crate::tokens::{ISSUER, NOW, OTHER_ISSUER, claims, encoded, token, token_of, with};

#[tokio::test]
async fn a_logged_out_token_is_dead_and_another_of_the_same_user_lives() {
    let plane = Plane::start().await;
    let (phone, laptop) = (token_of("alice", "phone"), token_of("alice", "laptop"));
    assert_eq!(
        plane.logout(&phone).await.whole(),
        "200\ncache-control: no-store\ncontent-type: application/json\n\n\
         {\"message\":\"Successfully Logged Out.\"}"
    );
    assert_eq!(plane.verdict(&phone).await, "revoked");
    assert_eq!(plane.verdict(&laptop).await, "active");
}

#[tokio::test]
async fn a_second_logout_is_told_that_the_token_is_revoked() {
    let plane = Plane::start().await;
    let token = token_of("alice", "1");
    plane.logout(&token).await;
    let rows = plane.rows().await;
    assert_eq!(
        plane.logout(&token).await.whole(),
        "401\ncache-control: no-store\ncontent-type: application/problem+json\n\
         www-authenticate: Bearer realm=\"curfew\", error=\"invalid_token\", \
         error_description=\"The token was logged out.\"\n\n\
         {\"type\":\"about:blank\",\"title\":\"Unauthorized\",\"status\":401,\
         \"detail\":\"The token was logged out.\",\"code\":\"token_revoked\"}"
    );
    assert_eq!(plane.rows().await, rows);
}

#[tokio::test]
async fn without_a_token_the_challenge_names_no_error() {
    let plane = Plane::start().await;
    assert_eq!(
        ask(plane.public(), post("/api/v2/logout")).await.whole(),
        "401\ncache-control: no-store\ncontent-type: application/problem+json\n\
         www-authenticate: Bearer realm=\"curfew\"\n\n\
         {\"type\":\"about:blank\",\"title\":\"Unauthorized\",\"status\":401,\
         \"detail\":\"No token was sent.\",\"code\":\"token_missing\"}"
    );
}

#[tokio::test]
async fn the_scheme_may_have_any_case_or_be_missing() {
    let plane = Plane::start().await;
    for (jti, scheme) in ["Bearer ", "bearer ", "BEARER   ", ""].into_iter().enumerate() {
        let token = token_of("alice", &jti.to_string());
        let request = post("/api/v2/logout").header("authorization", format!("{scheme}{token}"));
        assert_eq!(ask(plane.public(), request).await.status, 200, "{scheme:?}");
        assert_eq!(plane.verdict(&token).await, "revoked", "{scheme:?}");
    }
}

#[tokio::test]
async fn browsers_are_told_to_clear_the_sites_data() {
    let plane = Plane::start().await;
    for (jti, header) in ["origin", "sec-fetch-mode", "sec-fetch-site"].into_iter().enumerate() {
        let authorization = format!("Bearer {}", token_of("alice", &jti.to_string()));
        let request = || post("/api/v2/logout").header("authorization", &authorization).header(header, "x");
        let answer = ask(plane.public(), request()).await;
        assert!(answer.head.contains("clear-site-data: \"storage\"\n"), "{}", answer.whole());
        let again = ask(plane.public(), request()).await;
        assert_eq!(again.status, 401);
        assert!(again.head.contains("clear-site-data: \"storage\"\n"), "a second click: {}", again.whole());
        let refused = ask(plane.public(), post("/api/v2/logout").header(header, "x")).await;
        assert!(!refused.head.contains("clear-site-data"), "{}", refused.whole());
    }
    let script = post("/api/v2/logout").header("authorization", token_of("alice", "script"));
    assert!(!ask(plane.public(), script).await.head.contains("clear-site-data"));
}

#[tokio::test]
async fn of_two_concurrent_logouts_one_succeeds() {
    let plane = Plane::start().await;
    let token = token_of("alice", "1");
    let answers = tokio::join!(plane.logout(&token), plane.logout(&token), plane.logout(&token));
    let mut statuses = [answers.0.status, answers.1.status, answers.2.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401, 401]);
    assert_eq!(plane.rows().await, (1, 1, 1));
}

#[tokio::test]
async fn logouts_that_wait_share_a_transaction_and_are_numbered_without_a_gap() {
    let plane = Arc::new(Plane::start().await);
    let mut logouts = JoinSet::new();
    for jti in 0..300 {
        let plane = Arc::clone(&plane);
        logouts.spawn(async move { plane.logout(&token_of("alice", &jti.to_string())).await.status });
    }
    assert!(logouts.join_all().await.iter().all(|&status| status == 200));
    assert_eq!(plane.rows().await, (300, 300, 300));
    let (least, most): (i64, i64) = sqlx::query_as("SELECT min(seq), max(seq) FROM revocations")
        .fetch_one(&mut plane.database().await)
        .await
        .unwrap();
    assert_eq!((least, most), (1, 300));
    let metrics = plane.state.measured().unwrap();
    let count = metrics.lines().find_map(|line| line.strip_prefix("curfew_writer_batch_size_count ")).unwrap();
    assert!(count.parse::<u32>().unwrap() < 100, "{count} transactions");
}

#[tokio::test]
async fn a_full_queue_is_unavailable_at_once() {
    let plane = Arc::new(Plane::start().await);
    let mut other = plane.database().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let mut logouts = JoinSet::new();
    for jti in 0..2100 {
        let plane = Arc::clone(&plane);
        logouts.spawn(async move { plane.logout(&token_of("alice", &jti.to_string())).await.status });
    }
    assert_eq!(logouts.join_next().await.unwrap().unwrap(), 503);
    // The answer did not wait until the writer gave up on the lock.
    assert_eq!(plane.metrics.store.failures.get(), 0);
    other.execute("ROLLBACK").await.unwrap();
    let (done, refused): (Vec<_>, Vec<_>) = logouts.join_all().await.into_iter().partition(|&status| status == 200);
    assert!(refused.iter().all(|&status| status == 503));
    assert_eq!(plane.rows().await.1, i64::try_from(done.len()).unwrap());
    assert!(plane.state.measured().unwrap().contains("curfew_writer_queue 0\n"));
}

#[tokio::test]
async fn the_same_jti_of_another_issuer_lives_on() {
    let plane = Plane::start().await;
    let ours = token_of("alice", "1");
    let theirs = token(&with(claims("alice", "1"), json!({"iss": OTHER_ISSUER})));
    plane.logout(&ours).await;
    assert_eq!(plane.verdict(&theirs).await, "active");
}

#[tokio::test]
async fn a_logout_is_kept_until_the_token_is_dead_everywhere() {
    let plane = Plane::start().await;
    plane.logout(&token_of("alice", "1")).await;
    let kept: (i64, i64, String, String) = sqlx::query_as("SELECT cutoff, expires_at, reason, actor FROM revocations")
        .fetch_one(&mut plane.database().await)
        .await
        .unwrap();
    // exp, the skew of 5 s, the lease of 2 s, the margin of 60 s.
    assert_eq!(kept, (NOW, NOW + 3600 + 5 + 2 + 60, "logout".to_owned(), "user".to_owned()));
}

#[tokio::test]
async fn a_client_that_hangs_up_is_logged_out_all_the_same() {
    let plane = Plane::start().await;
    let token = token_of("alice", "1");
    {
        let mut logout = std::pin::pin!(plane.logout(&token));
        // After one poll the command is in the writer's queue. Then the caller goes away.
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(logout.as_mut().poll(context))).await;
        assert!(polled.is_pending());
    }
    plane.register(&[&token_of("bob", "2")]).await;
    assert_eq!(plane.verdict(&token).await, "revoked");
}

#[tokio::test]
async fn two_authorization_headers_are_no_token_whichever_is_good() {
    let plane = Plane::start().await;
    let good = HeaderValue::try_from(format!("Bearer {}", token_of("alice", "1"))).unwrap();
    let bad = HeaderValue::from_static("Bearer x");
    for (first, second) in [(&good, &bad), (&bad, &good), (&good, &good)] {
        let request = post("/api/v2/logout").header("authorization", first).header("authorization", second);
        let answer = ask(plane.public(), request).await;
        assert_eq!(
            answer.body,
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"More than one Authorization header was sent.","code":"token_invalid"}"#
        );
    }
    assert_eq!(plane.rows().await, (0, 0, 0));
}

#[tokio::test]
async fn a_logout_of_either_spelling_of_an_ecdsa_signature_kills_both() {
    let key = ES256KeyPair::generate();
    let jwk: Value = serde_json::from_str(&key.public_key().to_jwk()).unwrap();
    let issuer = json!({"issuer": ISSUER, "jwks": {"keys": [jwk]}, "algorithm": "ES256"});
    let plane = Plane::start_with(json!({"issuers": [issuer]})).await;
    let mut claims = Claims::create(Duration::from_hours(1)).with_issuer(ISSUER);
    claims.issued_at = Some(Duration::from_secs(NOW.unsigned_abs()));
    claims.expires_at = Some(Duration::from_secs(NOW.unsigned_abs() + 60));
    claims.invalid_before = None;
    let one = key.sign(claims).unwrap();
    let two = respelled(&one);
    assert_ne!(one, two);
    assert_eq!(plane.verdict(&two).await, "active");
    assert_eq!(plane.logout(&one).await.status, 200);
    assert_eq!(plane.verdict(&two).await, "revoked");
    assert_eq!(plane.logout(&two).await.problem(), (401, "token_revoked".to_owned()));
}

/// The token with the signature `(r, n - s)`. Any holder of the token can compute it, and it verifies as well.
fn respelled(token: &str) -> String {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut signature = Base64UrlSafeNoPadding::decode_to_vec(signature, None).unwrap();
    let mut borrow = 0;
    for index in (0..32).rev() {
        let difference = i16::from(ORDER[index]) - i16::from(signature[32 + index]) - borrow;
        borrow = i16::from(difference < 0);
        signature[32 + index] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    format!("{input}.{}", encoded(&signature))
}
