//! Redirects: followed a few times, to the same scheme, by the rules of the first URL.

use curfew_testbed::servers::Authority;

use curfew_control_plane::keys::FetchTerms;

use super::provider::{Answer, Provider, at, by, fetched, refused, set};

#[tokio::test]
async fn five_redirects_are_followed_and_six_are_not() {
    for status in ["301 Moved", "302 Found", "303 See", "307 Same", "308 For ever"] {
        let provider = Provider::plain(move |target, _| match target.trim_start_matches("/a/").parse() {
            Ok(0) => Answer::json(&set()),
            Ok(count) => Answer::new(status, &[&format!("location: {}#x", count - 1_i32)], "<html>"),
            Err(_) => Answer::absent(),
        })
        .await;
        assert_eq!(fetched(&at(&provider.url("/a/5"))).await.jwks, set());
        assert_eq!(provider.targets(), ["/a/5", "/a/4", "/a/3", "/a/2", "/a/1", "/a/0"]);
        let expected =
            ("redirect", "the keys at HOST: the redirect is one too many: at most 5 are followed".to_owned());
        assert_eq!(refused(&provider, &at(&provider.url("/a/6"))).await, expected);
    }
}

#[tokio::test]
async fn a_loop_ends() {
    let provider = Provider::plain(|_, _| Answer::to("/")).await;
    assert_eq!(refused(&provider, &at(&provider.url("/"))).await.0, "redirect");
    assert_eq!(provider.asked().len(), 6);
}

#[tokio::test]
async fn a_redirect_that_leads_nowhere_useful_is_refused() {
    let table = [
        (Answer::new("302 Found", &[], ""), "redirect", "the redirect says no place"),
        (
            Answer::to("http://u:p@localhost/"),
            "redirect",
            "the redirect leads to a place that must have no user and no password in it",
        ),
        (
            Answer::to("file:///etc/passwd"),
            "redirect",
            "the redirect leads to a place that must begin with https:// and a host",
        ),
        (Answer::to("http://"), "redirect", "the redirect leads to a place that must be a URL"),
        (Answer::new("304 Not Modified", &["location: /"], ""), "status", "answers with status 304"),
        (Answer::new("300 Choose", &["location: /"], ""), "status", "answers with status 300"),
    ];
    for (answer, code, why) in table {
        let provider = Provider::plain(move |_, _| answer.clone()).await;
        let expected = (code, format!("the keys at HOST: {why}"));
        assert_eq!(refused(&provider, &at(&provider.url("/"))).await, expected);
    }
}

#[tokio::test]
async fn a_redirect_never_changes_the_scheme() {
    let authority = Authority::new().unwrap();
    let plain = Provider::plain(|_, _| Answer::json(&set())).await;
    let place = plain.url("/keys");
    let encrypted = Provider::encrypted(&authority, move |_, _| Answer::to(&place)).await;
    let terms = FetchTerms {
        ca_file: Some(authority.file()),
        allow_http: true,
        allow_private_network: true,
        ..FetchTerms::default()
    };
    let (code, sentence) = refused(&encrypted, &by(&encrypted.url("/"), terms.clone())).await;
    let expected = format!("the keys at HOST: the redirect leads from https to http or back, at {}", plain.address());
    assert_eq!((code, sentence), ("redirect", expected));
    assert!(plain.asked().is_empty());
    let place = encrypted.url("/");
    let back = Provider::plain(move |_, _| Answer::to(&place)).await;
    assert_eq!(refused(&back, &by(&back.url("/"), terms)).await.0, "redirect");
}

#[tokio::test]
async fn a_redirect_into_a_private_network_is_refused() {
    for place in ["http://10.0.0.1/", "http://[fd00::1]/", "http://192.168.0.1:8080/keys", "http://169.254.169.254/"] {
        let provider = Provider::plain(move |_, _| Answer::to(place)).await;
        let terms = FetchTerms { allow_http: true, ..FetchTerms::default() };
        assert_eq!(refused(&provider, &by(&provider.url("/"), terms)).await.0, "refused_address", "{place}");
    }
    let provider = Provider::plain(|_, _| Answer::to("http://keys.example.com/")).await;
    assert_eq!(refused(&provider, &at(&provider.url("/"))).await.0, "unencrypted");
}
