//! A set that has not changed is not sent again, and an `ETag` counts at its own URL only.

use std::time::Duration;

use curfew_control_plane::keys::{Fetched, Fetcher, Outcome};
use serde_json::json;

use super::provider::{Answer, Provider, at, fetched, set};

fn with_etag(head: &str) -> Answer {
    if head.to_lowercase().contains("if-none-match: \"v1\"\r\n") {
        return Answer::new("304 Not Modified", &["cache-control: max-age=120"], "");
    }
    Answer::new("200 OK", &["etag: \"v1\"", "cache-control: public, max-age=300", "age: 10"], &set().to_string())
}

#[tokio::test]
async fn a_set_that_is_known_is_not_sent_again() {
    let provider = Provider::plain(|_, head| with_etag(head)).await;
    let from = at(&provider.url("/keys"));
    let Fetched { jwks, etag, fresh_for } = fetched(&from).await;
    assert_eq!((jwks, fresh_for), (set(), Some(Duration::from_secs(290))));
    let again = Fetcher::default().fetch(&from, etag.as_deref()).await.unwrap();
    assert_eq!(again, Outcome::NotModified { fresh_for: Some(Duration::from_secs(120)) });
}

#[tokio::test]
async fn an_etag_is_not_shown_at_another_url() {
    let provider = Provider::plain(|_, head| with_etag(head)).await;
    let etag = fetched(&at(&provider.url("/keys"))).await.etag;
    let other = Fetcher::default().fetch(&at(&provider.url("/keys?v=2")), etag.as_deref()).await.unwrap();
    assert!(matches!(other, Outcome::Fetched(_)));
    for nonsense in ["", "\"v1\"", "x\r\ny: z"] {
        let outcome = Fetcher::default().fetch(&at(&provider.url("/keys")), Some(nonsense)).await.unwrap();
        assert!(matches!(outcome, Outcome::Fetched(_)), "{nonsense:?}");
    }
}

#[tokio::test]
async fn the_etag_of_a_redirects_target_is_shown_there() {
    let provider = Provider::plain(|target, head| match target {
        "/old" => Answer::to("/keys"),
        _ => with_etag(head),
    })
    .await;
    let from = at(&provider.url("/old"));
    let etag = fetched(&from).await.etag;
    let again = Fetcher::default().fetch(&from, etag.as_deref()).await.unwrap();
    assert!(matches!(again, Outcome::NotModified { .. }));
    let heads = provider.asked();
    let conditional: Vec<_> = heads.iter().map(|head| head.to_lowercase().contains("if-none-match")).collect();
    assert_eq!(conditional, [false, false, false, true]);
}

#[tokio::test]
async fn an_etag_that_is_too_long_is_not_kept() {
    let long = format!("etag: \"{}\"", "x".repeat(200));
    let provider = Provider::plain(move |_, _| Answer::new("200 OK", &[&long], &json!({"keys": []}).to_string())).await;
    assert_eq!(fetched(&at(&provider.url("/"))).await.etag, None);
}
