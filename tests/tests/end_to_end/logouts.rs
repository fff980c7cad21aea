//! Logouts of all kinds, and the token afterwards.

use std::time::Instant;

use curfew_core::REVOKED_IN_SAME_SECOND;
use curfew_testbed::http::Request;
use curfew_testbed::stack::Plan;
use curfew_testbed::story::Story;
use curfew_testbed::tokens::{Signer, claims, es256_twin, respelled_base64, with};
use serde_json::json;

use crate::shared::{BOUND, dies_within_the_bound, shared, told};

#[test]
fn the_story_of_the_demo_comes_out_as_told() {
    let plan = Plan::shipped().unwrap();
    let filter = plan.bootstrap.filter().unwrap();
    let stack = plan.start().unwrap();
    let mut told = Vec::new();
    let result = Story::new(&stack, &filter, &mut told).unwrap().play();
    assert!(result.is_ok(), "{result:?}\n{}", String::from_utf8_lossy(&told));
}

#[test]
fn a_slash_at_the_end_is_the_logout_too_and_opens_nothing_else() {
    let stack = Plan::shipped().unwrap().start().unwrap();
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    let logouts = [
        ("/api/v2/logout/", "Successfully Logged Out."),
        ("/api/v2/logout/?from=menu", "Successfully Logged Out."),
        ("/api/v2/logout-all-device/", "Successfully Logged Out From All Device."),
    ];
    for (path, message) in logouts {
        let token = signer.sign(&claims(path)).unwrap();
        let answer = stack.send(&Request::post(path).bearer(&token)).unwrap();
        assert_eq!((answer.status, answer.json()), (200, json!({"message": message})), "{path}");
        let refused = stack.send(&Request::get("/orders").bearer(&token)).unwrap();
        assert_eq!(told(&refused), (401, "token_revoked".into()), "{path}");
    }
    for path in ["/api/v2/logout/x", "/api/v2/logout-all-device/x", "/api/v2/logout-all-device.json", "/api/v2/"] {
        let answer = stack.send(&Request::post(path)).unwrap();
        assert_eq!(told(&answer), (401, "token_missing".into()), "{path}");
    }
}

#[test]
fn logout_takes_the_bare_jwt_and_answers_as_documented() {
    let shared = shared();
    let token = shared.log_in("alice").unwrap();
    assert_eq!(shared.use_token(&token).status, 200);
    let logout = Request::post("/api/v2/logout").header("Authorization", &token);
    let answer = shared.send(&logout);
    let at = Instant::now();
    assert_eq!((answer.status, answer.json()), (200, json!({"message": "Successfully Logged Out."})));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("clear-site-data"), None);
    dies_within_the_bound(&shared.stack, &token, at, BOUND).unwrap();

    let again = shared.send(&logout);
    assert_eq!(told(&again), (401, "token_revoked".into()));
    assert_eq!(again.json()["title"], "Unauthorized");
    assert!(again.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
}

#[test]
fn a_browser_is_told_to_forget_what_it_stored() {
    let shared = shared();
    let token = shared.log_in("alice").unwrap();
    let logout = Request::post("/api/v2/logout").bearer(&token).header("Origin", "https://shop.example");
    let answer = shared.send(&logout);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("clear-site-data"), Some("\"storage\""));
    let again = shared.send(&logout);
    assert_eq!((told(&again).1.as_str(), again.header("clear-site-data")), ("token_revoked", Some("\"storage\"")));
}

#[test]
fn a_refusal_is_a_problem_document_with_a_challenge() {
    let shared = shared();
    let token = shared.log_in("alice").unwrap();
    shared.log_out(&token);
    let answer = shared.use_token(&token);
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.json(),
        json!({
            "type": "about:blank",
            "title": "Unauthorized",
            "status": 401,
            "detail": "The token was logged out.",
            "code": "token_revoked",
        })
    );
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer realm=\"curfew\", error=\"invalid_token\", error_description=\"The token was logged out.\"")
    );
}

/// In bounded mode no worker has a copy of the log: the answer to its question tells.
#[test]
fn a_login_in_the_second_of_a_logout_of_all_devices_is_told_so_by_filter_and_control_plane() {
    let shared = shared();
    let mut of_its_second = 0;
    for round in 0..10 {
        let user = format!("login-of-the-second-{round}");
        let mine = shared.log_in(&user).unwrap();
        let everywhere = shared.send(&Request::post("/api/v2/logout-all-device").bearer(&mine));
        assert_eq!(everywhere.status, 200, "{}", everywhere.text());
        let late = shared.demo.sign(&claims(&user)).unwrap();
        let refused = shared.use_token(&late);
        if refused.status == 401 {
            assert_eq!(refused.json()["detail"], REVOKED_IN_SAME_SECOND);
            let logout = shared.log_out(&late);
            assert_eq!(told(&logout), (401, "token_revoked".into()));
            assert_eq!(logout.json()["detail"], REVOKED_IN_SAME_SECOND);
            of_its_second += 1;
        }
        let registered_before_its_use = shared.log_in(&user).unwrap();
        assert_eq!(shared.use_token(&registered_before_its_use).status, 200);
    }
    assert!(of_its_second > 0, "no token was issued in the second of its user's logout");
}

#[test]
fn the_other_spelling_of_an_es256_signature_dies_with_the_first() {
    let shared = shared();
    for log_out_the_twin in [false, true] {
        let token = shared.keyed_token("ES256", "alice").unwrap();
        let twin = es256_twin(&token).unwrap();
        assert_eq!(shared.use_token(&token).status, 200);
        assert_eq!(shared.use_token(&twin).status, 200, "both are valid signatures");
        let answer = shared.log_out(if log_out_the_twin { &twin } else { &token });
        let at = Instant::now();
        assert_eq!(answer.status, 200, "{}", answer.text());
        dies_within_the_bound(&shared.stack, &token, at, BOUND).unwrap();
        dies_within_the_bound(&shared.stack, &twin, at, BOUND).unwrap();
    }
}

#[test]
fn a_respelled_base64_is_refused_before_and_after_a_logout() {
    let shared = shared();
    let token = shared.keyed_token("ES256", "alice").unwrap();
    let respelled = respelled_base64(&token);
    assert_eq!(told(&shared.use_token(&respelled)), (401, "token_invalid".into()));
    assert_eq!(told(&shared.log_out(&respelled)), (401, "token_invalid".into()));
    assert_eq!(shared.use_token(&token).status, 200, "and has logged nothing out");
    assert_eq!(shared.log_out(&token).status, 200);
    assert_eq!(told(&shared.use_token(&respelled)), (401, "token_invalid".into()));
}

#[test]
fn a_jti_means_nothing_at_another_issuer() {
    let shared = shared();
    let claims = claims("alice");
    let token = shared.demo.sign(&claims).unwrap();
    let foreign = with(claims, json!({"iss": crate::shared::KEYED_ISSUER}));
    let foreign = shared.keyed["HS256"].sign(&foreign).unwrap();
    assert_eq!(shared.log_out(&token).status, 200);
    let at = Instant::now();
    dies_within_the_bound(&shared.stack, &token, at, BOUND).unwrap();
    assert_eq!(shared.use_token(&foreign).status, 200);
}

#[test]
fn logging_out_everywhere_spares_other_users_and_later_logins() {
    let shared = shared();
    let (mine, other) = (shared.log_in("many-devices").unwrap(), shared.log_in("somebody-else").unwrap());
    let unregistered = shared.demo.sign(&claims("many-devices")).unwrap();
    assert_eq!(shared.use_token(&unregistered).status, 200);
    let answer = shared.send(&Request::post("/api/v2/logout-all-device").bearer(&mine));
    let at = Instant::now();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let again = shared.log_in("many-devices").unwrap();
    assert_eq!(shared.use_token(&again).status, 200, "a login in the second of the logout");
    dies_within_the_bound(&shared.stack, &mine, at, BOUND).unwrap();
    dies_within_the_bound(&shared.stack, &unregistered, at, BOUND).unwrap();
    assert_eq!(shared.use_token(&other).status, 200);
    assert_eq!(shared.use_token(&again).status, 200);
}

#[test]
#[ignore = "takes a minute; cargo verify --long runs it"]
fn a_minute_of_logouts_never_breaks_the_bound() {
    let shared = shared();
    let until = Instant::now() + std::time::Duration::from_secs(60);
    std::thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || {
                while Instant::now() < until {
                    let token = shared.log_in(&format!("user-{worker}")).unwrap();
                    for _ in 0..10 {
                        assert_eq!(shared.use_token(&token).status, 200);
                    }
                    assert_eq!(shared.log_out(&token).status, 200);
                    dies_within_the_bound(&shared.stack, &token, Instant::now(), BOUND).unwrap();
                }
            });
        }
    });
}
