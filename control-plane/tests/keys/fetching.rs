//! A set at a URL: what is asked, what is taken, and what is refused.

use std::time::{Duration, Instant};

use curfew_control_plane::keys::{FetchTerms, Fetched};
use curfew_testbed::servers::Authority;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::provider::{Answer, Provider, at, by, fetch, fetched, refused, set};

#[tokio::test]
async fn a_set_is_fetched_over_tls_with_the_authoritys_file() {
    let authority = Authority::new().unwrap();
    let provider = Provider::encrypted(&authority, |_, _| Answer::json(&set())).await;
    let terms = FetchTerms { ca_file: Some(authority.file()), ..FetchTerms::default() };
    for url in [provider.url("/keys?tenant=a"), provider.url_as("localhost", "/keys?tenant=a")] {
        let expected = Fetched { jwks: set(), etag: None, fresh_for: None };
        assert_eq!(fetched(&by(&url, terms.clone())).await, expected);
    }
    let head = provider.asked().first().unwrap().to_lowercase();
    assert!(head.starts_with("get /keys?tenant=a http/1.1\r\n"), "{head}");
    for line in [
        format!("host: {}", provider.address()),
        format!("user-agent: curfew/{}", env!("CARGO_PKG_VERSION")),
        "accept-encoding: identity".to_owned(),
        "connection: close".to_owned(),
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} is not in {head}");
    }
    assert!(!head.contains("if-none-match"));
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let provider = Provider::encrypted(&authority, |_, _| Answer::json(&set())).await;
    let expected = "the keys at HOST: the certificate or the encryption is not accepted: \
                    invalid peer certificate: ";
    let terms = FetchTerms { ca_file: Some(other.file()), ..FetchTerms::default() };
    let (code, sentence) = refused(&provider, &by(&provider.url("/"), terms)).await;
    assert_eq!(code, "tls");
    assert!(sentence.starts_with(expected), "{sentence}");
    // For its own name alone.
    let terms = FetchTerms { ca_file: Some(authority.file()), ..FetchTerms::default() };
    let (code, sentence) = refused(&provider, &by(&provider.url_as("[::ffff:127.0.0.1]", "/"), terms)).await;
    assert_eq!(code, "refused_address", "{sentence}");
    let elsewhere =
        FetchTerms { ca_file: Some(authority.file()), allow_private_network: true, ..FetchTerms::default() };
    assert_eq!(refused(&provider, &by(&provider.url_as("127.0.0.2", "/"), elsewhere)).await.0, "connect");
    assert!(provider.asked().iter().all(|head| head == "no handshake"));
}

#[tokio::test]
async fn an_authoritys_file_that_went_away_is_named() {
    let provider = Provider::plain(|_, _| Answer::json(&set())).await;
    let terms = FetchTerms { ca_file: Some("/nowhere/ca.crt".into()), ..FetchTerms::default() };
    let url = provider.url("/").replace("http:", "https:");
    let (code, sentence) = refused(&provider, &by(&url, terms)).await;
    let expected = "the keys at HOST: no certificate can be trusted: /nowhere/ca.crt cannot be read: No such file or \
                    directory (os error 2)";
    assert_eq!((code, sentence.as_str()), ("authority", expected));
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_https_is_written() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = Authority::new().unwrap();
    let from = by(
        &format!("https://{}/", listener.local_addr().unwrap()),
        FetchTerms { ca_file: Some(authority.file()), ..FetchTerms::default() },
    );
    let answers = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let (failure, _stream) = tokio::join!(fetch(&from), answers);
    assert_eq!(failure.unwrap_err().code(), "tls");
}

#[tokio::test]
async fn each_answer_that_is_no_set_is_refused_with_its_code() {
    let two = r#"{"keys": [], "keys": []}"#;
    let table = [
        (Answer::new("200 OK", &[], "<html>"), "not_json", "is not valid JSON (line 1, column 1)"),
        (Answer::new("200 OK", &[], two), "not_json", "names a member twice, or is nested too deeply"),
        (Answer::new("200 OK", &[], "[]"), "not_jwks", "is no JWK Set: it has no list \"keys\""),
        (Answer::new("200 OK", &[], r#"{"a": "-----BEGIN"}"#), "not_jwks", "is no JWK Set: it has no list \"keys\""),
        (Answer::new("200 OK", &[], r#"{"keys": {}}"#), "not_jwks", "is no JWK Set: it has no list \"keys\""),
        (
            Answer::new("200 OK", &["content-encoding: gzip"], "x"),
            "compressed",
            "is compressed, though asked not to be",
        ),
        (Answer::new("204 No Content", &[], ""), "status", "answers with status 204"),
        (Answer::new("304 Not Modified", &[], ""), "status", "answers with status 304"),
        (Answer::new("401 Unauthorized", &[], ""), "status", "answers with status 401"),
        (Answer::new("500 Oops", &[], r#"{"keys": []}"#), "status", "answers with status 500"),
    ];
    for (answer, code, why) in table {
        let provider = Provider::plain(move |_, _| answer.clone()).await;
        let expected = (code, format!("the keys at HOST: {why}"));
        assert_eq!(refused(&provider, &at(&provider.url("/keys?key=hunter2"))).await, expected);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_or_ends_too_early_is_refused() {
    let early = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\": []}";
    for bytes in ["", "SSH-2.0-x\r\n", early, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"ke"] {
        let provider = Provider::plain(move |_, _| Answer::default().then(0, bytes)).await;
        assert_eq!(refused(&provider, &at(&provider.url("/"))).await.0, "http", "{bytes}");
    }
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1_000_000));
    let provider = Provider::plain(move |_, _| Answer::default().then(0, &long)).await;
    assert_eq!(refused(&provider, &at(&provider.url("/"))).await.0, "http");
}

#[tokio::test]
async fn a_set_has_half_a_mebibyte_at_most_with_and_without_a_length() {
    let of_length = |length: usize| format!("{{\"keys\": []{}}}", " ".repeat(length - 12));
    let fits = Provider::plain(move |_, _| Answer::new("200 OK", &[], &of_length(512 * 1024))).await;
    fetched(&at(&fits.url("/"))).await;
    let told = Provider::plain(move |_, _| Answer::new("200 OK", &[], &of_length(512 * 1024 + 1))).await;
    let untold = Provider::plain(move |_, _| {
        Answer::default().then(0, "HTTP/1.1 200 OK\r\n\r\n").then(0, &of_length(512 * 1024 + 1))
    })
    .await;
    // The length alone is enough: nothing of the body comes.
    let announced = Provider::plain(|_, _| {
        Answer::default().then(0, "HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n").then(60_000, "")
    })
    .await;
    for provider in [told, untold, announced] {
        let expected = ("too_large", "the keys at HOST: is longer than 524288 bytes".to_owned());
        assert_eq!(refused(&provider, &at(&provider.url("/"))).await, expected);
    }
}

#[tokio::test]
async fn a_fetch_ends_in_its_time_wherever_the_provider_stops() {
    let head = "HTTP/1.1 200 OK\r\n";
    let drops = (0..100).fold(Answer::default().then(0, "HTTP/1.1 200 OK\r\n\r\n"), |answer, _| answer.then(50, " "));
    let stops = [
        Answer::default().then(60_000, ""),
        Answer::default().then(0, head).then(60_000, ""),
        Answer::default().then(0, "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{").then(60_000, ""),
        drops,
    ];
    for answer in stops {
        let provider = Provider::plain(move |_, _| answer.clone()).await;
        let terms = FetchTerms { timeout: Duration::from_millis(300), ..FetchTerms::default() };
        let began = Instant::now();
        let expected = ("timeout", "the keys at HOST: no answer within 300ms".to_owned());
        assert_eq!(refused(&provider, &by(&provider.url("/"), terms)).await, expected);
        assert!(began.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_takes_no_longer() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = Authority::new().unwrap();
    let terms =
        FetchTerms { timeout: Duration::from_millis(300), ca_file: Some(authority.file()), ..FetchTerms::default() };
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let failure = fetch(&by(&url, terms)).await.unwrap_err();
    assert_eq!(failure.code(), "timeout");
}

#[tokio::test]
async fn a_provider_that_is_away_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let failure = fetch(&at(&url)).await.unwrap_err();
    assert_eq!((failure.code(), failure.retry_after()), ("connect", None));
}

#[tokio::test]
async fn a_provider_may_ask_to_be_left_alone() {
    for (status, expected) in [("429 Too Many", Some(7)), ("503 Away", Some(7)), ("500 Oops", None)] {
        let provider = Provider::plain(move |_, _| Answer::new(status, &["retry-after: 7"], "")).await;
        let failure = fetch(&at(&provider.url("/"))).await.unwrap_err();
        assert_eq!((failure.code(), failure.retry_after()), ("status", expected.map(Duration::from_secs)), "{status}");
    }
}
