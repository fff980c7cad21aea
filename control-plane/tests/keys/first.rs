//! A filter that asks for keys before its issuer has given any.

use std::time::{Duration, Instant};

use curfew_control_plane::keys::FetchTerms;
use curfew_core::wire::KeysRequest;
use curfew_testbed::tokens::{Signer, jwks};
use serde_json::Value;

use super::scene::{ISSUER, Plane, Scene, until};

async fn handed_out(plane: &Plane) -> Value {
    let request = KeysRequest { issuers: vec![ISSUER.to_owned()], refresh: None };
    serde_json::from_str(&plane.keys.hand_out(&request).await.unwrap()).unwrap()
}

#[tokio::test]
async fn an_answer_waits_a_little_for_the_first_keys() {
    let scene = Scene::new().await;
    scene.issuer.lists(&jwks([&Signer::named("one").unwrap()]));
    scene.issuer.holds_next();
    let plane = scene.running_plane(FetchTerms::default()).await;
    until("the issuer is asked", async || scene.issuer.held() == 1).await;
    let asks = async {
        let begun = Instant::now();
        (handed_out(&plane).await, begun.elapsed())
    };
    let answers = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        scene.issuer.lets_go();
    };
    let ((answer, took), ()) = tokio::join!(asks, answers);
    assert_eq!(answer["sets"][0]["jwks"]["keys"][0]["kid"], "one", "after {took:?}");
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_holds_nobody_up_for_long() {
    let scene = Scene::new().await;
    scene.issuer.holds_next();
    let plane = scene.running_plane(FetchTerms::default()).await;
    let begun = Instant::now();
    assert_eq!(handed_out(&plane).await["sets"][0]["jwks"], Value::Null);
    let took = begun.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&took), "{took:?}");
    scene.issuer.lets_go();
}
