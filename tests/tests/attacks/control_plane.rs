//! The rows about credentials, sent to `POST /api/v2/logout`: a refused request changes nothing, and an admitted one
//! logs its token out, once only.

use curfew_testbed::attacks::{Expected, rows};
use curfew_testbed::tokens::es256_twin;
use serde_json::json;

use crate::shared::{alone, arena};

/// True if the token of this row would be listed under its user: not if the row changes `sub`, nor if the token has
/// expired, even within the skew.
fn would_be_listed(id: &str) -> bool {
    !id.starts_with("claims-sub-") && id != "claims-exp-just-past"
}

#[test]
fn every_row_gets_the_same_from_the_logout_endpoint() {
    let (arena, _alone) = (arena(), alone());
    let address = arena.stack.control_plane.public();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for row in rows() {
        let before = arena.revocations().unwrap();
        let Some(request) = row.logout(&arena.forge(&row.id)).unwrap() else { continue };
        let answer = request.send(address).unwrap();
        let verdict = row.judge_at_control_plane(&request, &answer);
        asked += 1;
        if !verdict.met {
            wrong.push(format!("{}: {} instead of {:?}", row.id, verdict.answer, row.expected));
            continue;
        }
        let admitted = row.expected_of(&request) == Expected::Admitted;
        let sessions = arena.sessions(&row.id).unwrap();
        if would_be_listed(&row.id) {
            assert_eq!(sessions.len(), usize::from(admitted), "{}: {sessions:?}", row.id);
        }
        if admitted {
            let again = request.send(address).unwrap();
            assert_eq!((again.status, again.code().as_str()), (401, "token_revoked"), "{}", row.id);
        } else {
            assert_eq!(arena.revocations().unwrap(), before, "{} left a revocation behind", row.id);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(asked > 300, "only {asked} rows were asked");
}

#[test]
fn a_logout_of_either_twin_kills_both() {
    let (arena, _alone) = (arena(), alone());
    let row = rows().into_iter().find(|row| row.id == "signature-es256-good").unwrap();
    for twin_first in [false, true] {
        let token = String::from_utf8(row.token(&arena.forge("twins")).unwrap().unwrap()).unwrap();
        let twin = es256_twin(&token).unwrap();
        let (first, second) = if twin_first { (&twin, &token) } else { (&token, &twin) };
        assert_eq!(logout(first), (200, String::new()));
        for text in [first, second] {
            assert_eq!(logout(text), (401, "token_revoked".to_owned()));
        }
    }
}

#[test]
fn a_token_of_the_same_jti_by_another_issuer_stays_alive() {
    let (arena, _alone) = (arena(), alone());
    let forge = arena.forge("namesake");
    let claims = curfew_testbed::tokens::with(forge.claims(), json!({"jti": "shared", "sid": "shared"}));
    let other = curfew_testbed::tokens::with(forge.other_claims(), json!({"jti": "shared", "sid": "shared"}));
    let own = forge.hs256(r#"{"alg":"HS256"}"#, claims.to_string());
    assert_eq!(logout(&own), (200, String::new()));
    let use_it = curfew_testbed::http::Request::get("/orders").bearer(&forge.by_other_issuer(&other));
    assert_eq!(arena.stack.send(&use_it).unwrap().status, 200);
    assert_eq!(logout(&forge.by_other_issuer(&other)), (200, String::new()));
}

fn logout(token: &str) -> (u16, String) {
    let request = curfew_testbed::http::Request::post("/api/v2/logout").bearer(token);
    let answer = request.send(arena().stack.control_plane.public()).unwrap();
    (answer.status, answer.code())
}
