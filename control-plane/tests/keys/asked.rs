//! An issuer is asked again and again: what stays in force while it is away, what is told of that, and when it is asked next.

use std::cell::Cell;
use std::time::Duration;

use curfew_control_plane::keys::{FetchTerms, RefreshFailure};
use curfew_control_plane::store::keys::KeysChange;
use curfew_testbed::key_server::KeyServer;
use curfew_testbed::tokens::{Signer, jwks};
use serde_json::json;

use super::scene::{Scene, until};

const AWAY: &str = "an issuer does not give its keys";

/// The code of a question that must fail.
fn code(refused: Result<KeysChange, RefreshFailure>) -> &'static str {
    match refused {
        Err(RefreshFailure::NotGiven { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_issuer_that_goes_away_keeps_its_keys_and_is_told_of_once_until_it_is_back() {
    let scene = Scene::new().await;
    let one = Signer::named("one").unwrap();
    scene.issuer.lists(&jwks([&one]));
    let plane = scene.plane().await;
    plane.refresh().await.unwrap();
    assert_eq!((plane.in_force(), plane.noted().await.failures), (vec!["one".to_owned()], 0));

    scene.issuer.answers("500 Internal Server Error", &[]);
    for failures in 1..=3 {
        assert_eq!(code(plane.refresh().await), "status");
        let noted = plane.noted().await;
        assert_eq!((noted.failures, noted.error_code.as_deref()), (failures, Some("status")));
        assert!(noted.error.unwrap().ends_with("answers with status 500"));
    }
    assert_eq!(plane.in_force(), ["one"]);
    assert_eq!(plane.metric(r#"keys_fetch_failures_total{issuer="0",code="status"}"#), Some(3));
    assert_eq!(plane.metric(r#"keys_fetches_total{issuer="0"}"#), Some(1));
    let told = scene.log.with(AWAY);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("WARN") && told[0].contains("answers with status 500"), "{told:?}");

    // Another reason is news.
    scene.issuer.goes_down();
    assert_eq!(code(plane.refresh().await), "http");
    assert_eq!(plane.metric(r#"keys_fetch_failures_total{issuer="0",code="http"}"#), Some(1));
    assert_eq!(scene.log.with(AWAY).len(), 2);
    assert_eq!(scene.log.with("gives its keys again").len(), 0);

    scene.issuer.lists(&jwks([&one]));
    for _ in 0..2 {
        assert_eq!(plane.refresh().await, Ok(KeysChange::Same));
    }
    let noted = plane.noted().await;
    assert_eq!((noted.failures, noted.error_code, noted.error), (0, None, None));
    assert_eq!(scene.log.with("gives its keys again").len(), 1);
}

#[tokio::test]
async fn a_list_without_a_usable_key_changes_nothing() {
    let scene = Scene::new().await;
    let one = Signer::named("one").unwrap();
    scene.issuer.lists(&jwks([&one]));
    let plane = scene.plane().await;
    plane.refresh().await.unwrap();
    for list in
        [json!({"keys": []}), json!({"keys": [{"kty": "RSA", "kid": "x", "use": "enc", "n": "AQAB", "e": "AQAB"}]})]
    {
        scene.issuer.lists(&list);
        assert_eq!(code(plane.refresh().await), "no_usable_key", "{list}");
        assert_eq!(plane.in_force(), ["one"]);
    }
    assert_eq!(plane.metric(r#"keys_fetch_failures_total{issuer="0",code="no_usable_key"}"#), Some(2));
    assert_eq!(scene.plane().await.in_force(), ["one"], "a restart goes on with it");
}

#[tokio::test]
async fn a_key_that_is_not_used_is_named_once_for_as_long_as_it_is_listed() {
    let scene = Scene::new().await;
    let one = Signer::named("one").unwrap();
    let (good, mut bad) = (jwks([&one]), jwks([&one]));
    let broken = json!({"kty": "RSA", "kid": "old", "n": "AQAB=", "e": "AQAB"});
    bad["keys"].as_array_mut().unwrap().push(broken);
    let plane = scene.plane().await;
    let told = |count: usize| {
        let lines = scene.log.with("a key of an issuer is not used");
        assert_eq!(lines.len(), count, "{lines:?}");
        lines.last().cloned().unwrap()
    };
    for round in 0..3 {
        // Another document each time, so that it is sent and read.
        bad["round"] = round.into();
        scene.issuer.lists(&bad);
        plane.refresh().await.unwrap();
        let line = told(1);
        assert!(line.contains("WARN") && line.contains("https://issuer.example.com"), "{line}");
        assert!(line.contains("keys[1]: (kid old) is not used: n is not base64url: it ends with '='"), "{line}");
    }
    // It is gone, and comes back.
    for (list, count) in [(&good, 1), (&bad, 2)] {
        scene.issuer.lists(list);
        plane.refresh().await.unwrap();
        told(count);
    }
}

#[tokio::test]
async fn the_wait_after_a_failure_outlasts_a_restart() {
    let scene = Scene::new().await;
    scene.issuer.answers("503 Service Unavailable", &["retry-after: 30"]);
    let plane = scene.running_plane(FetchTerms::default()).await;
    until("the start asks", async || scene.issuer.fetches() == 1).await;
    until("its end is noted", async || plane.noted().await.failures == 1).await;
    drop(plane);
    for (seconds, fetches) in [(29, 1), (1, 2)] {
        scene.advance(seconds);
        let plane = scene.running_plane(FetchTerms::default()).await;
        until("it looks", async || scene.issuer.fetches() == fetches).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(scene.issuer.fetches(), fetches);
        drop(plane);
    }
}

#[tokio::test]
async fn keys_are_kept_for_ever_unless_a_setting_says_for_how_long() {
    const YEAR: i64 = 365 * 24 * 3600;
    let keep_for = Some(Duration::from_secs(3600));
    for (keep_for, kept) in [(None, true), (keep_for, false)] {
        let scene = Scene::new().await;
        let one = Signer::named("one").unwrap();
        scene.issuer.lists(&jwks([&one]));
        let plane = scene.running_plane(FetchTerms { keep_for, ..FetchTerms::default() }).await;
        until("the keys come", async || plane.in_force() == ["one"]).await;
        scene.issuer.goes_down();
        scene.advance(3_599);
        assert_eq!(code(plane.refresh().await), "http");
        plane.provider.hang_up();
        until("it is asked once more", async || plane.noted().await.failures >= 2).await;
        assert_eq!(plane.in_force(), ["one"], "they are kept for an hour");
        scene.advance(if kept { YEAR } else { 1 });
        // Whatever the issuer does, it is asked before its keys go.
        plane.provider.hang_up();
        until("it is asked at the end", async || plane.noted().await.failures >= 3).await;
        if kept {
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(plane.in_force(), ["one"]);
            continue;
        }
        until("the keys go", async || plane.in_force().is_empty()).await;
        assert_eq!(plane.metric(r#"keys_in_force{issuer="0"}"#), Some(0));
        let told = scene.log.with("for as long as they may be kept: they are in force no longer");
        assert_eq!(told.len(), 1, "{told:?}");
        scene.issuer.lists(&jwks([&one]));
        plane.refresh().await.unwrap();
        assert_eq!(plane.in_force(), ["one"]);
    }
}

/// The issuer is asked each second, so no look comes between two questions.
#[tokio::test]
async fn keys_go_in_time_where_intervals_are_as_short_as_can_be() {
    let scene = Scene::new().await;
    scene.issuer.lists(&jwks([&Signer::named("one").unwrap()]));
    let second = Duration::from_secs(1);
    let terms = FetchTerms { min_interval: second, max_interval: second, ..FetchTerms::default() };
    let plane = scene.running_plane(FetchTerms { keep_for: Some(second * 60), ..terms }).await;
    until("the keys come", async || plane.in_force() == ["one"]).await;
    scene.issuer.goes_down();
    let before = scene.issuer.fetches();
    scene.advance(60);
    let seen = Cell::new(before);
    until("the keys go", async || {
        // The next question is due as soon as this one has failed.
        if scene.issuer.fetches() > seen.replace(scene.issuer.fetches()) {
            scene.advance(2);
        }
        plane.in_force().is_empty()
    })
    .await;
    assert_eq!(
        scene.issuer.fetches(),
        before + 1,
        "the first question after a minute is the last one that they outlast"
    );
}

#[tokio::test]
async fn another_source_than_that_of_the_keys_is_asked_at_once_after_a_start() {
    let mut scene = Scene::new().await;
    let [one, two] = ["one", "two"].map(|kid| Signer::named(kid).unwrap());
    scene.issuer.lists(&jwks([&one]));
    let plane = scene.running_plane(FetchTerms::default()).await;
    until("the start asks", async || plane.in_force() == ["one"]).await;
    drop(plane);
    scene.issuer = KeyServer::start().unwrap();
    scene.issuer.lists(&jwks([&two]));
    scene.advance(10);
    let plane = scene.running_plane(FetchTerms::default()).await;
    until("the new source is asked", async || plane.in_force() == ["two"]).await;
    drop(plane);
    scene.advance(10);
    let plane = scene.running_plane(FetchTerms::default()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((scene.issuer.fetches(), plane.in_force()), (1, vec!["two".to_owned()]), "the same source is not");
}

#[tokio::test]
async fn a_url_whose_query_alone_is_new_is_another_source() {
    let mut scene = Scene::new().await;
    scene.query = "?key=hunter1";
    let [one, two] = ["one", "two"].map(|kid| Signer::named(kid).unwrap());
    scene.issuer.lists(&jwks([&one]));
    let plane = scene.running_plane(FetchTerms::default()).await;
    until("the start asks", async || plane.in_force() == ["one"]).await;
    drop(plane);
    scene.query = "?key=hunter2";
    scene.issuer.lists(&jwks([&two]));
    scene.advance(10);
    let plane = scene.running_plane(FetchTerms::default()).await;
    until("the new source is asked", async || plane.in_force() == ["two"]).await;
    assert!(scene.log.with("hunter").is_empty());
}

#[tokio::test]
async fn a_new_source_that_wants_to_be_left_alone_is_left_alone_after_a_restart_too() {
    let mut scene = Scene::new().await;
    scene.issuer.lists(&jwks([&Signer::named("one").unwrap()]));
    let plane = scene.running_plane(FetchTerms::default()).await;
    until("the start asks", async || plane.in_force() == ["one"]).await;
    drop(plane);
    scene.issuer = KeyServer::start().unwrap();
    scene.issuer.answers("503 Service Unavailable", &["retry-after: 60"]);
    for (seconds, fetches) in [(10, 1), (30, 1), (29, 1), (1, 2)] {
        scene.advance(seconds);
        let plane = scene.running_plane(FetchTerms::default()).await;
        until("it looks", async || scene.issuer.fetches() == fetches).await;
        until("the end is noted", async || plane.noted().await.failures == fetches as u64).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!((scene.issuer.fetches(), plane.in_force()), (fetches, vec!["one".to_owned()]), "{seconds}");
    }
}
