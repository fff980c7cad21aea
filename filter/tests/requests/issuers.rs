//! How an issuer's tokens name their key, their user and their time, through the gate.

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use curfew_core::wire::CheckVerdict;
use curfew_filter::gate::Step;
use serde_json::{Value, json};

use crate::story::{NOW, SECRET, Story, outcomes, token_with};

const OTHER_SECRETS: [&str; 2] = ["1123456789abcdef0123456789abcdef", "2123456789abcdef0123456789abcdef"];

fn encode(text: impl AsRef<[u8]>) -> String {
    Base64UrlSafeNoPadding::encode_to_string(text).unwrap()
}

fn signed(secret: &str, header: &Value) -> String {
    let claims = json!({"sub": 42, "iat": NOW, "exp": NOW + 600});
    let input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    format!("{input}.{}", encode(hmac_sha256::HMAC::mac(&input, secret)))
}

/// An issuer with three keys of one algorithm.
fn three_keys(try_all_keys: bool) -> Story {
    let secrets = [SECRET, OTHER_SECRETS[0], OTHER_SECRETS[1]];
    let keys = secrets.iter().zip(["a", "b", "c"]);
    let keys: Vec<Value> =
        keys.map(|(secret, kid)| json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": encode(secret)})).collect();
    Story::new(json!({"issuers": [{"jwks": {"keys": keys}, "try_all_keys": try_all_keys}]}))
}

/// The sentence of the refusal; empty if the token is good.
fn said(story: &mut Story, token: &str) -> String {
    match story.get(1, 0, token) {
        Step::Refuse(refusal) => refusal.detail,
        Step::Wait { .. } => String::new(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_that_does_not_name_its_key_is_tried_with_three_or_told_which_of_three_things_it_lacks() {
    let mut named = three_keys(false);
    let nameless = json!({"alg": "HS256"});
    for (token, sentence) in [
        (signed(SECRET, &nameless), "The token does not name its key (kid), and its issuer has several."),
        (
            signed(SECRET, &json!({"alg": "HS256", "kid": "d"})),
            "The token's key is not known here: no key of its issuer has its kid.",
        ),
        (
            signed(SECRET, &json!({"alg": "HS384", "kid": "a"})),
            "The token's algorithm (alg) is not accepted from its issuer, or is not that of its key.",
        ),
    ] {
        assert_eq!(said(&mut named, &token), sentence);
    }
    assert_eq!(named.signatures, 0, "none of them costs a check");

    let mut tried = three_keys(true);
    for secret in [SECRET, OTHER_SECRETS[0], OTHER_SECRETS[1]] {
        assert_eq!(said(&mut tried, &signed(secret, &nameless)), "");
    }
    let before = tried.signatures;
    let foreign = signed("3123456789abcdef0123456789abcdef", &nameless);
    assert_eq!(said(&mut tried, &foreign), "The token's signature does not verify.");
    assert_eq!(tried.signatures - before, 3, "each key once");
}

#[test]
fn a_user_inside_another_claim_is_told_to_the_upstream() {
    let changes = json!({"user_claim": "user.id", "identity_headers": {"x-user-id": "user.id"}});
    let mut story = Story::new(changes);
    let step = story.get(1, 0, &token_with(json!({"user": {"id": "alice"}})));
    let Step::Wait { edits, .. } = &step else { panic!("{step:?}") };
    assert_eq!(edits.set, [("x-user-id".into(), "alice".into())]);
    // The claim that names the user decides about admission, however deep it is.
    let step = story.get(2, 0, &token_with(json!({"user": {"id": " alice"}})));
    assert!(matches!(step, Step::Refuse(_)), "{step:?}");
}

#[test]
fn a_token_without_auth_time_is_refused_where_that_is_compared_and_one_with_it_asked_about() {
    let mut story = Story::new(json!({"issued_at_claim": "auth_time"}));
    let detail = said(&mut story, &token_with(json!({})));
    assert!(detail.starts_with("The token does not say when it was issued (auth_time)"), "{detail}");
    let step = story.get(1, 0, &token_with(json!({"auth_time": NOW - 100})));
    let Step::Wait { question: Some(question), .. } = &step else { panic!("{step:?}") };
    assert_eq!(question.request.issued_at, Some(NOW - 100), "the control plane compares it too");
    let call = story.sent(step);
    assert_eq!(outcomes(&story.answer(call, 3, Some(CheckVerdict::Active)).streams), [(1, "resumed")]);
}
