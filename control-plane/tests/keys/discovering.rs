//! An issuer's URL is enough: the provider's own document says where its keys are.

use std::sync::atomic::{AtomicUsize, Ordering};

use curfew_control_plane::keys::{Discovery, FetchTerms, Fetcher, KeySource, KeyUrl, Outcome, Source};
use serde_json::{Value, json};

use super::provider::{Answer, Provider, fetched, of_issuer, refused, set};

/// A provider whose document is at this path, for the issuer with that path.
async fn provider(document: &'static str, issuer: &'static str) -> Provider {
    Provider::plain(move |target, head| match target {
        "/keys" => Answer::json(&set()),
        target if target == document => Answer::json(&described(head, issuer)),
        _ => Answer::absent(),
    })
    .await
}

/// The document of the provider that was asked with this head.
fn described(head: &str, issuer: &str) -> Value {
    let host = head.to_lowercase().lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned)).unwrap();
    json!({"issuer": format!("http://{host}{issuer}"), "jwks_uri": format!("http://{host}/keys")})
}

#[tokio::test]
async fn the_keys_of_an_issuer_are_found_by_either_standard() {
    let (openid, oauth) = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server");
    for (issuer, document, asked) in [
        ("", openid, vec![openid]),
        ("/", openid, vec![openid]),
        ("/realms/a", "/realms/a/.well-known/openid-configuration", vec!["/realms/a/.well-known/openid-configuration"]),
        (
            "/realms/a/",
            "/realms/a/.well-known/openid-configuration",
            vec!["/realms/a/.well-known/openid-configuration"],
        ),
        ("", oauth, vec![openid, oauth]),
        (
            "/a/b/",
            "/.well-known/oauth-authorization-server/a/b",
            vec!["/a/b/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/a/b"],
        ),
    ] {
        let provider = provider(document, issuer).await;
        assert_eq!(fetched(&of_issuer(&provider.url(issuer))).await.jwks, set(), "{issuer} {document}");
        let expected: Vec<_> = asked.into_iter().chain(["/keys"]).collect();
        assert_eq!(provider.targets(), expected, "{issuer} {document}");
    }
}

#[tokio::test]
async fn a_document_of_another_issuer_is_refused() {
    let provider = provider("/.well-known/openid-configuration", "/").await;
    let expected = "the OpenID configuration at HOST: names another issuer: http://HOST/".to_owned();
    assert_eq!(refused(&provider, &of_issuer(&provider.url(""))).await, ("wrong_issuer", expected));
    assert_eq!(provider.targets().len(), 1, "the keys are not asked for");
}

#[tokio::test]
async fn a_document_for_any_tenant_says_what_to_set_instead() {
    let template =
        json!({"issuer": "https://login.example.com/{tenantid}/v2.0", "jwks_uri": "https://login.example.com/k"});
    let provider = Provider::plain(move |_, _| Answer::json(&template)).await;
    let expected = "the OpenID configuration at HOST: names a template as its issuer, so it is for any tenant: set the \
                    tenant's own URL as issuer, or jwks_url";
    let refusal = refused(&provider, &of_issuer(&provider.url("/common/v2.0"))).await;
    assert_eq!(refusal, ("wrong_issuer", expected.to_owned()));
}

#[tokio::test]
async fn a_failure_says_at_which_step() {
    let absent = Provider::plain(|_, _| Answer::absent()).await;
    let expected = "the OpenID configuration at HOST: answers with status 404; then the authorization server's metadata \
                    at HOST: answers with status 404";
    assert_eq!(refused(&absent, &of_issuer(&absent.url("/a"))).await, ("status", expected.to_owned()));

    let broken = Provider::plain(|_, _| Answer::new("500 Oops", &[], "")).await;
    let expected = "the OpenID configuration at HOST: answers with status 500".to_owned();
    assert_eq!(refused(&broken, &of_issuer(&broken.url("/a"))).await, ("status", expected));

    let page = Provider::plain(|_, _| Answer::new("200 OK", &[], "<html>")).await;
    let why = "is not valid JSON (line 1, column 1)";
    let expected =
        format!("the OpenID configuration at HOST: {why}; then the authorization server's metadata at HOST: {why}");
    assert_eq!(refused(&page, &of_issuer(&page.url("/a"))).await, ("not_json", expected));

    let without_keys = Provider::plain(|target, head| match target {
        "/keys" => Answer::absent(),
        _ => Answer::json(&described(head, "")),
    })
    .await;
    let expected = "the keys at HOST: answers with status 404".to_owned();
    assert_eq!(refused(&without_keys, &of_issuer(&without_keys.url(""))).await, ("status", expected));
}

#[tokio::test]
async fn a_document_cannot_lead_into_a_private_network_or_out_of_encryption() {
    for (place, code) in [
        ("https://10.0.0.1/keys", "refused_address"),
        ("https://169.254.169.254/latest", "refused_address"),
        ("http://keys.example.com/keys", "unencrypted"),
        ("file:///etc/passwd", "no_jwks_uri"),
        ("https://u:p@keys.example.com/", "no_jwks_uri"),
    ] {
        let provider = Provider::plain(move |_, head| {
            let mut document = described(head, "");
            document["jwks_uri"] = place.into();
            Answer::json(&document)
        })
        .await;
        assert_eq!(refused(&provider, &of_issuer(&provider.url(""))).await.0, code, "{place}");
    }
}

#[tokio::test]
async fn another_place_may_be_asked_for_the_same_issuer() {
    let issuer = "https://login.example.com/a";
    let provider = Provider::plain(move |target, head| {
        let mut document = described(head, "");
        document["issuer"] = issuer.into();
        match target {
            "/keys" => Answer::json(&set()),
            "/inside/.well-known/openid-configuration" | "/x/.well-known/openid-configuration?p=policy" => {
                Answer::json(&document)
            }
            _ => Answer::absent(),
        }
    })
    .await;
    for place in ["/inside", "/x/.well-known/openid-configuration?p=policy"] {
        let at = KeyUrl::parse(&provider.url(place)).unwrap();
        let source = Source::Discovery(Discovery { issuer: issuer.to_owned(), at });
        fetched(&KeySource { source, terms: FetchTerms::default() }).await;
    }
}

#[tokio::test]
async fn a_keys_url_that_moves_does_not_take_the_old_etag_along() {
    let looks = AtomicUsize::new(0);
    let provider = Provider::plain(move |target, head| {
        if target.starts_with("/keys") {
            return Answer::new("200 OK", &["etag: \"v1\""], &set().to_string());
        }
        let mut document = described(head, "");
        // The first two looks find the keys at the old place.
        if looks.fetch_add(1, Ordering::Relaxed) == 2 {
            document["jwks_uri"] = format!("{}2", document["jwks_uri"].as_str().unwrap()).into();
        }
        Answer::json(&document)
    })
    .await;
    let from = of_issuer(&provider.url(""));
    let etag = fetched(&from).await.etag;
    for _ in 0..2 {
        let again = Fetcher::default().fetch(&from, etag.as_deref()).await.unwrap();
        assert!(matches!(again, Outcome::Fetched(_)));
    }
    let asked = provider.asked().into_iter().map(|head| head.to_lowercase()).filter(|head| head.contains("/keys"));
    let conditional: Vec<_> = asked.map(|head| head.contains("if-none-match: \"v1\"")).collect();
    assert_eq!(conditional, [false, true, false]);
}
