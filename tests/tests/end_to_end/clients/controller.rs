//! The routes of Laravel's `AuthController.php`, with stand-ins for Laravel and jwt-auth.

use curfew_testbed::clients::Client;
use serde_json::{Value, json};

use super::answers::settings;
use super::{installed, play};

const LOG_IN: &str = "Nothing is logged out: the token has expired or is invalid. Log in and try again.";
const CAN_BE_REFRESHED: &str = "The logout is NOT confirmed: the token can still be refreshed. Try again.";

/// A success: whether jwt-auth has ended the token.
fn done(body: &Value, is_logout: bool, has_ended: bool) -> Value {
    json!({"status": 200, "body": body, "deletesCookie": is_logout, "ended": has_ended, "sent": 1, "reported": []})
}

/// 401, after so many calls of Curfew.
fn unauthorized(why: &str, has_ended: bool, sent: usize) -> Value {
    let headers = json!({"WWW-Authenticate": "Bearer"});
    json!({"status": 401, "why": why, "headers": headers, "ended": has_ended, "sent": sent, "reported": []})
}

/// 503 before any call of Curfew, with what the application reports.
fn not_ended(reason: &str) -> Value {
    let reported = [format!("The token could not be ended: {reason}")];
    let headers = json!({"Retry-After": 1});
    json!({
        "status": 503, "why": CAN_BE_REFRESHED, "headers": headers, "ended": false, "sent": 0, "reported": reported
    })
}

/// Plays routes: the route, the state of the token for jwt-auth, and Curfew's answer.
fn plays(scenes: &[(&str, Value)]) {
    let Some(client) = installed(Client::Laravel) else { return };
    let calls: Vec<_> = scenes.iter().map(|(scene, _)| ("route", *scene)).collect();
    let results = play(&client, &settings("http://edge.example"), &calls);
    for ((scene, wanted), result) in scenes.iter().zip(&results) {
        assert_eq!(result, wanted, "{scene}");
    }
}

/// The manager of jwt-auth is shared: it must not go on to take expired tokens.
fn with_its_flow_reset(mut result: Value) -> Value {
    result["refreshFlow"] = false.into();
    result
}

/// An expired token can still be refreshed, so it ends, too. What fails for another reason than the token is no logout.
#[test]
fn laravels_logout_ends_the_token_or_says_that_it_did_not() {
    let outcome = |outcome: &str, has_ended| done(&json!({"outcome": outcome}), true, has_ended);
    let away = "The logout is NOT confirmed, and the token may still be valid (503 unavailable). Try again.";
    let away = json!({
        "status": 503, "why": away, "headers": {"Retry-After": 30}, "ended": true, "sent": 1, "reported": []
    });
    let no_cache = not_ended("The cache is away.");
    let no_blacklist = not_ended("You must have the blacklist enabled to invalidate a token.");
    let scenes = [
        ("logout good done", outcome("logged_out", true)),
        ("logout ended done", outcome("logged_out", true)),
        ("logout expired refused", outcome("refused", true)),
        ("logout invalid refused", outcome("refused", false)),
        ("logout good away", away.clone()),
        ("logout no-cache done", no_cache.clone()),
        ("logout no-blacklist done", no_blacklist.clone()),
        ("logoutAllDevices good done", outcome("logged_out", true)),
        ("logoutAllDevices expired refused", unauthorized(LOG_IN, true, 1)),
        ("logoutAllDevices invalid refused", unauthorized(LOG_IN, false, 1)),
        ("logoutAllDevices good away", away),
        ("logoutAllDevices no-cache done", no_cache),
        ("logoutAllDevices no-blacklist done", no_blacklist),
    ];
    plays(&scenes.map(|(scene, result)| (scene, with_its_flow_reset(result))));
}

#[test]
fn laravels_refresh_asks_for_a_login_if_no_token_is_left() {
    let handed_out = done(&json!({"access_token": "new.access.token"}), false, true);
    plays(&[
        ("refresh good registered", handed_out.clone()),
        ("refresh expired registered", handed_out),
        (
            "refresh ended registered",
            unauthorized("The token has expired, has ended or is invalid. Log in again.", false, 0),
        ),
        (
            "refresh good away",
            unauthorized("The old token has ended, and the new one is not registered. Log in again.", true, 1),
        ),
    ]);
}
