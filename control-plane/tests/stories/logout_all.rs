//! Logging out all tokens of a user, by the user.

use curfew_core::REVOKED_IN_SAME_SECOND;
use curfew_core::wire::{CheckAnswer, CheckVerdict};
use serde_json::{Value, json};

use crate::plane::{Answer, Plane};
use crate::tokens::{ISSUER, NOW, OTHER_ISSUER, SECRET, claims, token, token_of, with};

/// A control plane whose issuer writes no `iat` and registers each login.
async fn with_timeless_tokens() -> Plane {
    let issuer = json!({"issuer": ISSUER, "secret": SECRET, "require_issued_at": false});
    Plane::start_with(json!({"issuers": [issuer]})).await
}

fn timeless(jti: &str) -> String {
    token(&with(claims("alice", jti), json!({"iat": null})))
}

#[tokio::test]
async fn every_token_of_the_user_dies_registered_or_not() {
    let plane = Plane::start().await;
    let [phone, laptop, never_registered] = ["phone", "laptop", "tv"].map(|jti| token_of("alice", jti));
    let others = token_of("bob", "1");
    let elsewhere = token(&with(claims("alice", "1"), json!({"iss": OTHER_ISSUER})));
    plane.register(&[&phone, &laptop, &others, &elsewhere]).await;
    plane.advance(10);
    assert_eq!(
        plane.logout_all(&phone).await.whole(),
        "200\ncache-control: no-store\ncontent-type: application/json\n\n\
         {\"message\":\"Successfully Logged Out From All Device.\"}"
    );
    for (name, token) in [("phone", &phone), ("laptop", &laptop), ("tv", &never_registered)] {
        assert_eq!(plane.verdict(token).await, "revoked", "{name}");
    }
    for (name, token) in [("bob", &others), ("elsewhere", &elsewhere)] {
        assert_eq!(plane.verdict(token).await, "active", "{name}");
    }
    // Two known tokens and the subject, with seqs without a gap.
    let seqs: Vec<(i64, String)> = sqlx::query_as("SELECT seq, kind FROM revocations ORDER BY seq")
        .fetch_all(&mut plane.database().await)
        .await
        .unwrap();
    let kinds = ["token", "token", "subject"].map(str::to_owned);
    assert_eq!(seqs, [1, 2, 3].into_iter().zip(kinds).collect::<Vec<_>>());
    assert_eq!(plane.rows().await.2, 3);
}

#[tokio::test]
async fn a_token_issued_afterwards_lives() {
    let plane = Plane::start().await;
    plane.logout_all(&token_of("alice", "1")).await;
    plane.advance(1);
    let new = token(&with(claims("alice", "2"), json!({"iat": NOW + 1})));
    assert_eq!(plane.verdict(&new).await, "active");
}

#[tokio::test]
async fn in_the_cutoffs_second_only_what_was_registered_afterwards_lives() {
    let plane = Plane::start().await;
    let [before, after, never] = ["before", "after", "never"].map(|jti| token_of("alice", jti));
    plane.register(&[&before]).await;
    plane.logout_all(&token_of("alice", "caller")).await;
    plane.register(&[&after]).await;
    assert_eq!(plane.verdict(&before).await, "revoked");
    assert_eq!(plane.verdict(&never).await, "revoked");
    assert_eq!(plane.verdict(&after).await, "active");
    plane.register(&[&before]).await;
    assert_eq!(plane.verdict(&before).await, "revoked");
}

#[tokio::test]
async fn a_login_in_the_cutoffs_second_is_told_why_it_counts_as_logged_out() {
    let plane = Plane::start().await;
    let [before, never, other] = ["before", "never", "other"].map(|jti| token_of("alice", jti));
    plane.register(&[&before]).await;
    plane.logout_all(&token_of("alice", "caller")).await;
    let check = async |token: &str| {
        let question = serde_json::to_value(plane.question(token)).unwrap();
        let answer = plane.internal_post("/internal/v1/check", question).await;
        serde_json::from_str::<CheckAnswer>(&answer.body).unwrap()
    };
    assert!(check(&never).await.same_second);
    let logged_out = check(&before).await;
    assert_eq!(
        (logged_out.verdict, logged_out.same_second),
        (CheckVerdict::Revoked, false),
        "it was logged out itself"
    );
    let told = async |answer: Answer| {
        assert_eq!(answer.problem(), (401, "token_revoked".to_owned()));
        serde_json::from_str::<Value>(&answer.body).unwrap()["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(told(plane.logout(&never).await).await, REVOKED_IN_SAME_SECOND);
    assert_eq!(told(plane.logout_all(&other).await).await, REVOKED_IN_SAME_SECOND);
    // From then on it is logged out by itself, and no registration helps.
    assert_eq!(told(plane.logout(&never).await).await, "The token was logged out.");
    assert!(!check(&never).await.same_second);
}

#[tokio::test]
async fn the_calling_token_dies_whatever_its_time_of_issue() {
    for iat in [json!(NOW - 1), json!(NOW), json!(NOW + 5), json!(null)] {
        let plane = with_timeless_tokens().await;
        let caller = token(&with(claims("alice", "1"), json!({"iat": iat})));
        plane.register(&[&caller]).await;
        assert_eq!(plane.logout_all(&caller).await.status, 200, "{iat}");
        assert_eq!(plane.verdict(&caller).await, "revoked", "{iat}");
        assert_eq!(plane.logout_all(&caller).await.problem(), (401, "token_revoked".to_owned()), "{iat}");
    }
}

#[tokio::test]
async fn an_issuer_whose_clock_runs_ahead_keeps_no_token_alive() {
    let plane = Plane::start().await;
    let ahead = |jti: &str, iat: i64| token(&with(claims("alice", jti), json!({"iat": iat, "exp": iat + 3600})));
    let [caller, sibling, next] = [("1", NOW + 4), ("2", NOW + 4), ("3", NOW + 5)].map(|(jti, iat)| ahead(jti, iat));
    assert_eq!(plane.logout_all(&caller).await.status, 200);
    assert_eq!(plane.verdict(&sibling).await, "revoked");
    assert_eq!(plane.verdict(&next).await, "active");
    let entry: (i64, i64, i64) =
        sqlx::query_as("SELECT cutoff, expires_at - cutoff, created_at FROM revocations WHERE kind = 'subject'")
            .fetch_one(&mut plane.database().await)
            .await
            .unwrap();
    assert_eq!(entry, (NOW + 4, 30 * 24 * 3600 + 5 + 5 + 2 + 60, NOW));
    // A token of the past does not make a cutoff of the past.
    let old = token(&with(claims("bob", "1"), json!({"iat": NOW - 100})));
    assert_eq!(plane.logout_all(&old).await.status, 200);
    assert_eq!(plane.verdict(&token_of("bob", "2")).await, "revoked");
}

#[tokio::test]
async fn the_latest_of_several_cutoffs_wins_even_if_the_clock_goes_back() {
    let plane = Plane::start().await;
    plane.advance(100);
    plane.lgt_all(json!({"user_id": "alice", "app_id": "app", "app_key": "key"})).await;
    plane.advance(-50);
    plane.lgt_all(json!({"user_id": "alice", "app_id": "app", "app_key": "key"})).await;
    let between = token(&with(claims("alice", "1"), json!({"iat": NOW + 75})));
    assert_eq!(plane.verdict(&between).await, "revoked");
}

#[tokio::test]
async fn a_number_and_its_decimal_text_are_one_user() {
    let plane = Plane::start().await;
    let number = token(&with(claims("", "1"), json!({"sub": 42, "iat": NOW - 1})));
    let text = token(&with(claims("42", "2"), json!({"iat": NOW - 1})));
    assert_eq!(plane.logout_all(&number).await.status, 200);
    assert_eq!(plane.verdict(&text).await, "revoked");
}

#[tokio::test]
async fn a_token_that_names_no_user_cannot_log_out_all_devices() {
    let plane = Plane::start().await;
    let nobodys = token(&with(claims("", "1"), json!({"sub": null})));
    assert_eq!(
        plane.logout_all(&nobodys).await.whole(),
        "401\ncache-control: no-store\ncontent-type: application/problem+json\n\
         www-authenticate: Bearer realm=\"curfew\", error=\"invalid_token\", \
         error_description=\"The token names no user.\"\n\n\
         {\"type\":\"about:blank\",\"title\":\"Unauthorized\",\"status\":401,\
         \"detail\":\"Missing User ID\",\"code\":\"user_id_missing\"}"
    );
    assert_eq!(plane.rows().await, (0, 0, 0));
    assert_eq!(plane.logout(&nobodys).await.status, 200);
}

/// PyJWT writes no `iat` unless it is told to.
#[tokio::test]
async fn tokens_without_iat_are_judged_by_their_registration() {
    let plane = with_timeless_tokens().await;
    let [phone, laptop, never] = ["phone", "laptop", "never"].map(timeless);
    plane.register(&[&phone, &laptop]).await;
    assert_eq!(plane.verdict(&never).await, "active", "nobody has logged out");
    assert_eq!(plane.logout_all(&phone).await.status, 200);
    for (name, token) in [("phone", &phone), ("laptop", &laptop), ("never", &never)] {
        assert_eq!(plane.verdict(token).await, "revoked", "{name}");
    }
    plane.advance(3);
    let login = timeless("login");
    plane.register(&[&login]).await;
    assert_eq!(plane.verdict(&login).await, "active", "a login after the logout is no lock-out");
    plane.register(&[&laptop]).await;
    assert_eq!(plane.verdict(&laptop).await, "revoked", "registering again brings nothing back");
    plane.advance(3);
    assert_eq!(plane.logout_all(&login).await.status, 200);
    assert_eq!(plane.verdict(&login).await, "revoked", "the next logout ends it");
    assert_eq!(plane.logout_all(&never).await.problem(), (401, "token_revoked".to_owned()));
    plane.register(&[&never]).await;
    assert_eq!(plane.verdict(&never).await, "revoked", "its holder was told that it is dead");
}

#[tokio::test]
async fn a_lifetime_tells_logins_after_the_logout_from_those_before() {
    let issuer = json!({"issuer": ISSUER, "secret": SECRET, "token_lifetime": "1h"});
    let plane = Plane::start_with(json!({"issuers": [issuer]})).await;
    let until = |exp: i64| token(&with(claims("alice", &exp.to_string()), json!({"iat": null, "exp": exp})));
    let before = until(NOW + 3600);
    assert_eq!(plane.logout_all(&until(NOW + 3599)).await.status, 200);
    plane.advance(3);
    assert_eq!(plane.verdict(&before).await, "revoked");
    assert_eq!(plane.verdict(&until(NOW + 3603)).await, "active", "never registered");
}

/// A refresh has a new `iat` and the `auth_time` of its login.
#[tokio::test]
async fn where_auth_time_is_compared_a_refresh_is_as_old_as_its_login() {
    let issuer = json!({"issuer": ISSUER, "secret": SECRET});
    let plane = Plane::start_with(json!({"issuers": [issuer], "issued_at_claim": "auth_time"})).await;
    let of = |jti: &str, auth_time: i64| token(&with(claims("alice", jti), json!({"auth_time": auth_time})));
    let [caller, refreshed] = [of("1", NOW - 500), of("2", NOW - 500)];
    let without = token_of("alice", "3");
    for answer in [plane.logout(&without).await, plane.logout_all(&without).await, plane.register(&[&without]).await] {
        let said = "The token does not say when it was issued (auth_time)";
        assert!(answer.status != 200 && answer.body.contains(said), "{}", answer.whole());
    }
    assert_eq!(plane.verdict(&refreshed).await, "active");
    assert_eq!(plane.logout_all(&caller).await.status, 200);
    plane.advance(3);
    let changes = json!({"iat": NOW + 3, "exp": NOW + 3603, "auth_time": NOW - 500});
    for (name, token) in
        [("issued before", &refreshed), ("refreshed since", &token(&with(claims("alice", "4"), changes)))]
    {
        assert_eq!(plane.verdict(token).await, "revoked", "{name}");
    }
    assert_eq!(plane.verdict(&of("5", NOW + 1)).await, "active", "a new login");
    // In the second of the cutoff, the registration decides.
    let [tied, registered] = [of("6", NOW), of("7", NOW)];
    plane.register(&[&registered]).await;
    assert_eq!((plane.verdict(&tied).await, plane.verdict(&registered).await), ("revoked".into(), "active".into()));
}
