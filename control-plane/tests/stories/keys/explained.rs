//! What operators are told of a token by the keys of its issuer.

use super::*;

async fn explained(plane: &Plane, token: &str) -> Value {
    plane.advance(11);
    let answer = plane.internal_post("/internal/v1/explain", json!({ "token": token })).await;
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn a_token_is_explained_by_the_set_of_its_key_and_by_the_key_that_was_taken_away() {
    let (one, two, provider) = (Pair::new("one"), Pair::new("two"), Provider::default());
    let plane = plane(None, &provider).await;
    provider.lists(&[&one, &two]);
    change(&plane, "refresh", json!({"issuer": ISSUER})).await;
    let token = one.token("alice");
    let before = explained(&plane, &token).await;
    let key = &before["token"]["key"];
    assert_eq!((&key["kid"], &key["source"]), (&json!("one"), &json!("the issuer")));
    assert!(key["changed_at"].is_i64() && before.get("held_back").is_none(), "{before}");
    let thumbprint = key["thumbprint"].clone();
    assert!(thumbprint.is_string());
    change(&plane, "remove", json!({"issuer": ISSUER, "key": "one"})).await;
    let removed = explained(&plane, &token).await;
    assert_eq!(removed["accepted"], false);
    // The time of each change, by the clock that `explained` moves.
    let held = |state: &str, since: i64, thumbprint: &Value, signed: bool| {
        let key = json!({"kid": "one", "thumbprint": thumbprint, "state": state});
        with(key, json!({"since": since, "signed": signed}))
    };
    assert_eq!(removed["held_back"], held("removed", NOW + 11, &thumbprint, true));
    let held = |thumbprint: &Value, signed: bool| held("distrusted", NOW + 22, thumbprint, signed);
    change(&plane, "distrust", json!({"issuer": ISSUER, "key": "one"})).await;
    assert_eq!(explained(&plane, &token).await["held_back"], held(&thumbprint, true));
    // A forged token only names the key.
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    assert_eq!(explained(&plane, &forged).await["held_back"], held(&thumbprint, false));
    // The issuer has ceased to list it: the name is all that is known.
    provider.lists(&[&two]);
    change(&plane, "refresh", json!({"issuer": ISSUER})).await;
    assert_eq!(explained(&plane, &token).await["held_back"], held(&Value::Null, false));
    let filter = json!({
        "issuers": [{"issuer": ISSUER}],
        "control_plane": {"cluster": "curfew", "secret": "0123456789abcdef"},
    });
    let (body, other) = (|token: &str| json!({"token": token, "filter": filter}), two.token("bob"));
    for (token, decision) in [(&token, "refused"), (&other, "admitted")] {
        plane.advance(11);
        let answer = plane.internal_post("/internal/v1/explain", body(token)).await;
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(told["filter"]["decision"], decision, "{told}");
    }
}

#[tokio::test]
async fn a_token_of_an_issuer_without_keys_is_explained_by_that() {
    let (one, provider) = (Pair::new("one"), Provider::default());
    let plane = plane(None, &provider).await;
    let before = explained(&plane, &one.token("alice")).await;
    assert_eq!((&before["accepted"], &before["without_keys"]), (&json!(false), &json!({"source": "the issuer"})));
    // Its name is distrusted before it is known: that brings no keys.
    assert_eq!(change(&plane, "distrust", json!({"issuer": ISSUER, "key": "two"})).await.status, 200);
    assert_eq!(explained(&plane, &one.token("alice")).await["without_keys"], json!({"source": "the issuer"}));
    provider.lists(&[&one]);
    assert_eq!(change(&plane, "refresh", json!({"issuer": ISSUER})).await.status, 200);
    let stranger = token(&Ed25519KeyPair::generate(), "one", "alice");
    for token in [one.token("alice"), stranger] {
        assert_eq!(explained(&plane, &token).await.get("without_keys"), None);
    }
}

#[tokio::test]
async fn explaining_a_filter_leaves_the_answer_at_hand_that_filters_ask_for() {
    let (one, provider) = (Pair::new("one"), Provider::default());
    let plane = plane(None, &provider).await;
    provider.lists(&[&one]);
    assert_eq!(change(&plane, "refresh", json!({"issuer": ISSUER})).await.status, 200);
    let request = serde_json::from_value(json!({"issuers": [ISSUER, "https://unknown.example.com"]})).unwrap();
    let text = plane.state.keys.hand_out(&request).await.unwrap();
    let filter = json!({"issuers": [{"issuer": ISSUER}], "control_plane": {"cluster": "c", "secret_env": "HOME"}});
    let answer =
        plane.internal_post("/internal/v1/explain", json!({"token": one.token("alice"), "filter": filter})).await;
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer["filter"]["decision"], "admitted", "{answer}");
    assert!(Arc::ptr_eq(&text, &plane.state.keys.hand_out(&request).await.unwrap()));
}
