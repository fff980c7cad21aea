//! The rows about one token, put to the core's policy: each breaks exactly the rule that it is about.

use curfew_core::{Policy, verify_natively};
use curfew_testbed::attacks::{Attack, Expected, Keys, rows};
use curfew_testbed::tokens::now;
use serde_json::json;

#[test]
fn every_token_breaks_the_rule_that_its_row_is_about() {
    let keys = Keys::generate().unwrap();
    let policy = Policy::from_document(&json!({"issuers": keys.issuers().unwrap()})).unwrap();
    let forge = keys.forge("alice");
    let mut wrong = Vec::new();
    let mut judged = 0;
    for row in rows().iter().filter(|row| matches!(row.attack, Attack::Token(_))) {
        let token = row.token(&forge).unwrap().unwrap();
        let outcome = match policy.prove(&token, now(), verify_natively) {
            Ok(_) => Expected::Admitted,
            Err(error) => Expected::Breaks(error),
        };
        judged += 1;
        if outcome != row.expected {
            wrong.push(format!("{}: {outcome:?} instead of {:?}", row.id, row.expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judged > 250, "only {judged} rows are about tokens");
}
