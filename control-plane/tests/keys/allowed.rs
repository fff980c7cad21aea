//! Which addresses are connected to: none of a private network, whoever names it, unless the operator allows that.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use curfew_control_plane::keys::{FetchTerms, Fetcher, Resolve};

use super::provider::{Answer, Provider, at, by, fetch, fetched, refused, set};

/// Answers each question for a name with the next of these lists, and the last one for ever. What was asked is noted.
fn resolver(answers: &[&[SocketAddr]]) -> (Arc<Resolve>, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (names, next) = (Arc::clone(&asked), AtomicUsize::new(0));
    let answers: Vec<Vec<_>> = answers.iter().map(|addresses| addresses.to_vec()).collect();
    let resolve: Arc<Resolve> = Arc::new(move |name, _| {
        names.lock().unwrap().push(name);
        let index = next.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let answer = answers[index].clone();
        Box::pin(async move { Ok(answer) })
    });
    (resolve, asked)
}

fn private() -> FetchTerms {
    FetchTerms { allow_private_network: true, allow_http: true, ..FetchTerms::default() }
}

fn unencrypted() -> FetchTerms {
    FetchTerms { allow_http: true, ..FetchTerms::default() }
}

#[tokio::test]
async fn a_public_name_with_a_private_address_is_not_connected_to() {
    let provider = Provider::plain(|_, _| Answer::json(&set())).await;
    let (resolve, asked) = resolver(&[&[provider.address()]]);
    let fetcher = Fetcher::resolving_by(resolve);
    let url = provider.url_as("keys.example.com", "/");
    let failure = fetcher.fetch(&by(&url, unencrypted()), None).await.unwrap_err();
    let expected = format!(
        "the keys at keys.example.com:{}: not asked, because its address 127.0.0.1 is in a private network, and \
         allow_private_network is not set",
        provider.address().port()
    );
    assert_eq!((failure.code(), failure.to_string()), ("refused_address", expected));
    assert!(provider.asked().is_empty());
    fetcher.fetch(&by(&url, private()), None).await.unwrap();
    assert_eq!(provider.asked().len(), 1);
    assert_eq!(*asked.lock().unwrap(), ["keys.example.com"; 2]);
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_connected_to() {
    let (good, bad) =
        (Provider::plain(|_, _| Answer::json(&set())).await, Provider::plain(|_, _| Answer::absent()).await);
    // A second look at the name would show the other provider.
    let (resolve, asked) = resolver(&[&[good.address()], &[bad.address()]]);
    let url = good.url_as("keys.example.com", "/");
    Fetcher::resolving_by(resolve).fetch(&by(&url, private()), None).await.unwrap();
    assert_eq!((good.asked().len(), bad.asked().len(), asked.lock().unwrap().len()), (1, 0, 1));
}

#[tokio::test]
async fn a_name_that_turns_to_a_private_address_on_the_way_is_refused() {
    let provider = Provider::plain(|_, _| Answer::to("http://keys.example.com/keys")).await;
    let port = provider.address().port();
    let inside: SocketAddr = "10.0.0.1:80".parse().unwrap();
    let metadata: SocketAddr = "169.254.169.254:80".parse().unwrap();
    // This machine names itself, so the first request is allowed, and nothing else is.
    for address in [inside, metadata, provider.address(), format!("[::ffff:10.0.0.1]:{port}").parse().unwrap()] {
        let (resolve, asked) = resolver(&[&[address]]);
        let failure = Fetcher::resolving_by(resolve).fetch(&by(&provider.url("/"), unencrypted()), None).await;
        assert_eq!(failure.unwrap_err().code(), "refused_address", "{address}");
        assert_eq!(*asked.lock().unwrap(), ["keys.example.com"]);
    }
    assert_eq!(provider.asked().len(), 4);
}

#[tokio::test]
async fn no_setting_allows_a_metadata_service() {
    let metadata = "169.254.169.254:80".parse().unwrap();
    let (resolve, _) = resolver(&[&[metadata]]);
    let fetcher = Fetcher::resolving_by(resolve);
    for url in
        ["http://keys.example.com/", "http://169.254.169.254/", "http://[::ffff:a9fe:a9fe]/", "http://[fd00:ec2::254]/"]
    {
        let failure = fetcher.fetch(&by(url, private()), None).await.unwrap_err();
        assert_eq!(failure.code(), "refused_address", "{url}");
    }
}

#[tokio::test]
async fn of_several_addresses_those_that_are_allowed_are_tried_in_turn() {
    let provider = Provider::plain(|_, _| Answer::json(&set())).await;
    // Nobody listens at the first, and the second is never connected to.
    let closed = SocketAddr::new("127.0.0.2".parse().unwrap(), provider.address().port());
    let (resolve, _) = resolver(&[&[closed, "169.254.169.254:80".parse().unwrap(), provider.address()]]);
    let url = provider.url_as("keys.example.com", "/");
    Fetcher::resolving_by(resolve).fetch(&by(&url, private()), None).await.unwrap();
    assert_eq!(provider.asked().len(), 1);
}

#[tokio::test]
async fn a_name_without_an_address_is_told_apart_from_a_resolver_that_hangs() {
    let url = "https://keys.example.com/";
    let (resolve, _) = resolver(&[&[]]);
    let failure = Fetcher::resolving_by(resolve).fetch(&at(url), None).await.unwrap_err();
    let sentence = "the keys at keys.example.com: the name cannot be resolved: it has no address";
    assert_eq!((failure.code(), failure.to_string().as_str()), ("dns", sentence));
    let fails: Arc<Resolve> = Arc::new(|_, _| Box::pin(async { Err(std::io::Error::other("no such name")) }));
    let failure = Fetcher::resolving_by(fails).fetch(&at(url), None).await.unwrap_err();
    assert_eq!(failure.code(), "dns");
    let hangs: Arc<Resolve> = Arc::new(|_, _| Box::pin(std::future::pending()));
    let terms = FetchTerms { timeout: Duration::from_millis(200), ..FetchTerms::default() };
    let failure = Fetcher::resolving_by(hangs).fetch(&by(url, terms), None).await.unwrap_err();
    assert_eq!(failure.code(), "timeout");
}

#[tokio::test]
async fn a_url_that_must_not_be_asked_is_not_even_resolved() {
    let (resolve, asked) = resolver(&[&["8.8.8.8:80".parse().unwrap()]]);
    let failure = Fetcher::resolving_by(resolve).fetch(&at("http://keys.example.com/"), None).await.unwrap_err();
    assert_eq!((failure.code(), asked.lock().unwrap().len()), ("unencrypted", 0));
}

#[tokio::test]
async fn an_operator_that_names_this_machine_needs_no_other_setting() {
    let provider = Provider::plain(|_, _| Answer::json(&set())).await;
    fetched(&at(&provider.url("/"))).await;
    fetched(&at(&provider.url_as("localhost", "/"))).await;
    let (code, _) = refused(&provider, &by("http://10.0.0.1/", unencrypted())).await;
    assert_eq!(code, "refused_address");
    assert_eq!(fetch(&by("http://0.0.0.0/", private())).await.unwrap_err().code(), "refused_address");
}
