//! Two issuers of one Envoy that differ in where their tokens are, how exact their clocks are, and what they sign with.

use curfew_testbed::http::{Answer, Request};
use curfew_testbed::stack::Plan;
use curfew_testbed::tokens::{Signer, claims, jwks, now, with};
use serde_json::json;

use crate::shared::told;

const WEB: &str = "https://web.example.com";
const MACHINES: &str = "https://machines.example.com";

#[test]
fn each_issuer_has_its_own_places_audiences_algorithms_and_clock() {
    let (web, machines) = (Signer::generate("ES256").unwrap(), Signer::generate("RS256").unwrap());
    let issuers = json!([
        {"issuer": WEB, "audiences": ["shop"], "algorithms": ["ES256"], "clock_skew": "60s", "jwks": jwks([&web])},
        {"issuer": MACHINES, "audiences": ["jobs"], "algorithms": ["RS256"], "clock_skew": "0s", "jwks": jwks([&machines])},
    ]);
    let plan = Plan::shipped().unwrap().with_issuers(issuers).unwrap().change_filter(|filter| {
        filter["sources"] = json!([
            {"cookie": "session", "issuers": [WEB]},
            {"header": "authorization", "issuers": [MACHINES]},
            {"header": "x-token"},
        ]);
    });
    let stack = plan.unwrap().start().unwrap();
    let of_web = |changes| web.sign(&with(with(claims("alice"), json!({"iss": WEB, "aud": "shop"})), changes)).unwrap();
    let of_machines =
        |changes| machines.sign(&with(with(claims("job"), json!({"iss": MACHINES, "aud": "jobs"})), changes)).unwrap();
    let send = |request: Request| -> Answer { stack.send(&request).unwrap() };
    let in_cookie = |token: &str| send(Request::get("/").header("cookie", format!("session={token}")));
    let in_header = |token: &str| send(Request::get("/").bearer(token));
    let in_both = |token: &str| send(Request::get("/").header("x-token", token));

    let (person, job) = (of_web(json!({})), of_machines(json!({})));
    assert_eq!([in_cookie(&person).status, in_header(&job).status], [200, 200]);
    assert_eq!([in_both(&person).status, in_both(&job).status], [200, 200]);
    let misplaced = in_header(&person);
    assert_eq!(told(&misplaced), (401, "token_invalid".into()));
    let detail = misplaced.json()["detail"].clone();
    assert_eq!(detail, "Tokens of this issuer are not taken from the header authorization.");
    assert_eq!(told(&in_cookie(&job)), (401, "token_invalid".into()));

    // The other's audience, and the other's key.
    assert_eq!(told(&in_cookie(&of_web(json!({"aud": "jobs"})))), (401, "token_invalid".into()));
    assert_eq!(told(&in_header(&of_web(json!({"iss": MACHINES, "aud": "jobs"})))), (401, "token_invalid".into()));

    // Thirty seconds over are nothing to the one and the end to the other.
    let over = json!({"iat": now() - 600, "exp": now() - 30});
    assert_eq!(in_cookie(&of_web(over.clone())).status, 200);
    assert_eq!(told(&in_header(&of_machines(over.clone()))), (401, "token_expired".into()));

    // A logout reaches a token that only the skew keeps alive.
    let late = of_web(over);
    assert_eq!(send(Request::post("/api/v2/logout").bearer(&late)).status, 200);
    assert_eq!(told(&in_cookie(&late)), (401, "token_revoked".into()));
}
