//! Keys: how filters get them, how a change of them reaches everything that proves tokens, and what it costs.

mod explained;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use axum::http::Request;
use curfew_control_plane::keys::{FetchNow, KeyIssuer, Keys, Origin, RefreshFailure};
use curfew_control_plane::leases;
use curfew_core::wire::{CheckAnswer, KEYS_PATH, KeysAnswer};
use curfew_core::{Policy, PublishedKeys};
use curfew_testbed::servers::Postgres;
use jwt_simple::algorithms::{Ed25519KeyPair, EdDSAKeyPairLike};
use serde_json::{Value, json};

use crate::plane::{Answer, Plane, ask, with_secret};
use crate::tokens::{ISSUER, NOW, OTHER_ISSUER, SECRET, claims, encoded, with};
use crate::worker::{Polling, Worker};

/// Key pairs by their names.
struct Pair {
    kid: &'static str,
    pair: Ed25519KeyPair,
}

impl Pair {
    fn new(kid: &'static str) -> Self {
        Self { kid, pair: Ed25519KeyPair::generate() }
    }

    fn jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": encoded(&self.pair.public_key().to_bytes())})
    }

    fn token(&self, user: &str) -> String {
        token(&self.pair, self.kid, user)
    }
}

fn token(pair: &Ed25519KeyPair, kid: &str, user: &str) -> String {
    let header = json!({"alg": "EdDSA", "kid": kid}).to_string();
    let input = format!("{}.{}", encoded(header.as_bytes()), encoded(claims(user, user).to_string().as_bytes()));
    let signature = pair.key_pair().as_ref().sk.sign(&input, None);
    format!("{input}.{}", encoded(signature.as_ref()))
}

fn jwks(pairs: &[&Pair]) -> Value {
    json!({ "keys": pairs.iter().map(|pair| pair.jwk()).collect::<Vec<_>>() })
}

/// An issuer that is asked for its keys.
#[derive(Clone, Default)]
struct Provider {
    listed: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    fn lists(&self, pairs: &[&Pair]) {
        *self.listed.lock().unwrap() = Some(jwks(pairs));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// How a control plane asks it. It takes a moment to answer.
    fn fetch(&self, keys: Arc<OnceLock<Weak<Keys>>>) -> FetchNow {
        let provider = self.clone();
        Arc::new(move |place, began_ms| {
            let (provider, keys) = (provider.clone(), keys.get().unwrap().upgrade().unwrap());
            Box::pin(async move {
                provider.asked.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
                let listed = provider.listed.lock().unwrap().clone();
                let failure = || RefreshFailure::NotGiven { code: "no_answer", detail: "It gave no answer.".into() };
                let listed = PublishedKeys::read(&listed.ok_or_else(failure)?, &[]).unwrap().0;
                Ok(keys.shelve(place, listed, "the issuer", Some(began_ms)).await?)
            })
        })
    }
}

/// A control plane with an issuer that is asked for its keys, and one with a secret.
async fn plane(url: Option<&str>, provider: &Provider) -> Plane {
    let issuers = json!([{"issuer": ISSUER}, {"issuer": OTHER_ISSUER, "secret": SECRET}]);
    let policy = json!({ "issuers": issuers });
    let mut plane = Plane::start_on(url, policy.clone(), None, leases::Settings::default()).await;
    let (policy, sets) = Policy::from_document(&policy).unwrap();
    let issuers =
        KeyIssuer::of_policy(&policy, &sets, &issuers, "the settings", |_| Some("the issuer".to_owned().into()));
    let state = Arc::get_mut(&mut plane.state).unwrap();
    let known: Arc<OnceLock<Weak<Keys>>> = Arc::default();
    let keys = Keys::new(issuers, sets, plane.store.clone(), state.clock.clone(), plane.metrics.keys.clone());
    let keys = Arc::new(keys.fetching(provider.fetch(Arc::clone(&known))));
    known.set(Arc::downgrade(&keys)).unwrap();
    state.keys = keys;
    state.keys.start().await.unwrap();
    plane
}

async fn handed_out(plane: &Plane, request: Value) -> KeysAnswer {
    let answer = plane.internal_post(KEYS_PATH, request).await;
    assert_eq!(answer.status, 200, "{}", answer.whole());
    serde_json::from_str(&answer.body).unwrap()
}

/// The names of the keys that filters get.
async fn kids(plane: &Plane) -> Vec<String> {
    let answer = handed_out(plane, json!({"issuers": [ISSUER]})).await;
    let keys = answer.sets[0].jwks.as_ref().unwrap()["keys"].as_array().unwrap().clone();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn change(plane: &Plane, what: &str, body: Value) -> Answer {
    plane.internal_post(&format!("/internal/v1/keys/{what}"), body).await
}

async fn checked(plane: &Plane, token: &str) -> CheckAnswer {
    let question = serde_json::to_value(plane.question(token)).unwrap();
    serde_json::from_str(&plane.internal_post("/internal/v1/check", question).await.body).unwrap()
}

#[tokio::test]
async fn a_filter_gets_the_keys_of_the_issuers_that_it_names_and_every_answer_says_how_new_they_are() {
    let (one, two, provider) = (Pair::new("one"), Pair::new("two"), Provider::default());
    let plane = plane(None, &provider).await;
    let all = json!({"issuers": [OTHER_ISSUER, ISSUER, "https://unknown.example.com"]});
    let before = handed_out(&plane, all.clone()).await;
    let named = |answer: &KeysAnswer| answer.sets.iter().map(|set| set.issuer.clone()).collect::<Vec<_>>();
    assert_eq!((named(&before), before.keys_seq), (vec![OTHER_ISSUER.to_owned(), ISSUER.to_owned()], 0));
    assert!(before.sets.iter().all(|set| set.jwks.is_none()), "none is known, and a secret is told nobody: {before:?}");
    provider.lists(&[&one, &two]);
    assert_eq!(change(&plane, "refresh", json!({"issuer": ISSUER})).await.status, 200);
    let after = handed_out(&plane, all).await;
    assert_eq!((after.sets[0].jwks.clone(), after.keys_seq), (None, 1));
    assert_eq!(kids(&plane).await, ["one", "two"]);
    assert_eq!(checked(&plane, &one.token("alice")).await.keys_seq, 1);
    let mut worker = Worker::new(1);
    assert_eq!(worker.poll(&plane, 0).await.keys_seq, 1);
    let wrong = plane.internal_post(KEYS_PATH, json!({"issuers": [ISSUER], "refresh": OTHER_ISSUER})).await;
    assert_eq!(wrong.problem(), (400, "request_malformed".to_owned()));
}

/// What is told of a token, after the last question to its issuer counts as over.
#[tokio::test]
async fn a_removed_key_proves_nothing_here_either() {
    let (one, two, provider) = (Pair::new("one"), Pair::new("two"), Provider::default());
    let plane = plane(None, &provider).await;
    provider.lists(&[&one, &two]);
    assert_eq!(change(&plane, "refresh", json!({"issuer": ISSUER})).await.status, 200);
    let answer = change(&plane, "remove", json!({"issuer": ISSUER, "key": "one"})).await;
    let done = format!(r#"{{"issuer":"{ISSUER}","changed":true}}"#);
    assert_eq!((answer.status, answer.body.as_str()), (200, done.as_str()));
    assert_eq!(kids(&plane).await, ["two"]);
    assert_eq!(plane.logout(&one.token("alice")).await.problem(), (401, "token_invalid".to_owned()));
    assert_eq!(plane.logout(&two.token("alice")).await.status, 200);
    // The source goes on listing it, and it stays away.
    assert_eq!(change(&plane, "refresh", json!({"issuer": ISSUER})).await.status, 200);
    assert_eq!(kids(&plane).await, ["two"]);
    let report = ask(plane.internal(), with_secret(Request::get("/internal/v1/keys/sets"))).await;
    let report: Value = serde_json::from_str(&report.body).unwrap();
    let states: Vec<_> = report["sets"][0]["keys"].as_array().unwrap().iter().map(|key| &key["state"]).collect();
    assert_eq!(states, ["removed", "in_force"]);
    assert_eq!(report["sets"][1]["secret"], true);
    assert_eq!(change(&plane, "trust", json!({"issuer": ISSUER, "key": "one"})).await.status, 200);
    assert_eq!(plane.logout(&one.token("bob")).await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_done_is_told_by_its_code() {
    let provider = Provider::default();
    let plane = plane(None, &provider).await;
    let key = |issuer: &str| json!({"issuer": issuer, "key": "x"});
    let code = async |what: &str, body: Value| change(&plane, what, body).await.problem();
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(code("remove", json!({"key": "x"})).await, is(404, "issuer_unknown"));
    assert_eq!(code("remove", key("https://unknown.example.com")).await, is(404, "issuer_unknown"));
    assert_eq!(code("distrust", key(OTHER_ISSUER)).await, is(409, "keys_are_secret"));
    assert_eq!(code("remove", key(ISSUER)).await, is(503, "keys_not_fetched"));
    assert_eq!(code("refresh", json!({"issuer": ISSUER})).await, is(503, "keys_not_fetched"));
    provider.lists(&[&Pair::new("one")]);
    assert_eq!(change(&plane, "refresh", json!({"issuer": ISSUER})).await.status, 200);
    for what in ["remove", "trust"] {
        assert_eq!(code(what, key(ISSUER)).await, is(404, "key_unknown"), "{what}");
    }
}

#[tokio::test]
async fn a_key_is_distrusted_before_anything_is_known_of_its_issuer() {
    let (one, two, provider) = (Pair::new("one"), Pair::new("two"), Provider::default());
    let plane = plane(None, &provider).await;
    let before = plane.store.head().await.unwrap();
    let distrust = async |key: &str| change(&plane, "distrust", json!({"issuer": ISSUER, "key": key})).await;
    let answer = |changed: bool, known: bool| format!(r#"{{"issuer":"{ISSUER}","changed":{changed},"known":{known}}}"#);
    let early = distrust("one").await;
    assert_eq!((early.status, early.body), (200, answer(false, false)));
    assert_eq!(plane.store.head().await.unwrap(), before, "no keys are in force, before and after");
    let report = ask(plane.internal(), with_secret(Request::get("/internal/v1/keys/sets"))).await;
    let report: Value = serde_json::from_str(&report.body).unwrap();
    let set = &report["sets"][0];
    assert_eq!((&set["keys"], &set["distrusted"], &set["changed_at"]), (&Value::Null, &json!(["one"]), &Value::Null));
    assert_eq!(handed_out(&plane, json!({"issuers": [ISSUER]})).await.sets[0].jwks, None);
    provider.lists(&[&one, &two]);
    assert_eq!(change(&plane, "refresh", json!({"issuer": ISSUER})).await.status, 200);
    assert_eq!(kids(&plane).await, ["two"]);
    assert_eq!(plane.logout(&one.token("alice")).await.problem(), (401, "token_invalid".to_owned()));
    assert_eq!(distrust("one").await.body, answer(false, true), "it was published since");
    assert_eq!(distrust("twoo").await.body, answer(false, false));
    assert_eq!(distrust("two").await.body, answer(true, true));
    provider.lists(&[&Pair::new("three")]);
    assert_eq!(change(&plane, "refresh", json!({"issuer": ISSUER})).await.status, 200);
    assert_eq!(distrust("two").await.body, answer(false, true), "it is remembered while it is distrusted");
}

#[tokio::test]
async fn a_token_with_a_new_key_is_logged_out_at_once_and_a_flood_of_names_asks_once() {
    let (one, two, provider) = (Pair::new("one"), Pair::new("two"), Provider::default());
    let plane = Arc::new(plane(None, &provider).await);
    provider.lists(&[&one]);
    // Nothing is known yet.
    assert_eq!(plane.logout(&one.token("alice")).await.status, 200);
    assert_eq!(provider.asked(), 1);
    // The issuer was asked a moment ago.
    provider.lists(&[&one, &two]);
    assert_eq!(plane.logout(&two.token("alice")).await.problem(), (401, "token_invalid".to_owned()));
    assert_eq!(provider.asked(), 1);
    plane.store.writer().change_fetch(ISSUER.to_owned(), Box::new(|_| Some(Default::default()))).await.unwrap();
    let fresh = self::plane(Some(&format!("sqlite://{}", plane.file().display())), &provider).await;
    let (stranger, started) = (Ed25519KeyPair::generate(), Instant::now());
    let flood = (0..200).map(|number| {
        let (plane, token) = (&fresh, token(&stranger, &format!("made-up-{number}"), "mallory"));
        async move { plane.logout(&token).await.status }
    });
    let good = two.token("bob");
    let (refused, logged_out) = tokio::join!(futures_util::future::join_all(flood), fresh.logout(&good));
    assert!(refused.iter().all(|status| *status == 401), "{refused:?}");
    assert_eq!((logged_out.status, provider.asked()), (200, 2));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_filter_that_meets_a_new_key_has_the_issuer_asked_once_for_all() {
    let (one, provider) = (Pair::new("one"), Provider::default());
    let plane = plane(None, &provider).await;
    provider.lists(&[&one]);
    let request = json!({"issuers": [ISSUER], "refresh": ISSUER});
    let answers = futures_util::future::join_all((0..50).map(|_| handed_out(&plane, request.clone()))).await;
    assert!(answers.iter().all(|answer| answer.keys_seq == 1 && answer.sets[0].jwks.is_some()));
    assert_eq!(provider.asked(), 1);
    // A secret is asked of nobody.
    handed_out(&plane, json!({"issuers": [OTHER_ISSUER], "refresh": OTHER_ISSUER})).await;
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_start_goes_on_with_what_is_stored_and_a_secret_ends_it() {
    let (one, provider) = (Pair::new("one"), Provider::default());
    let first = plane(None, &provider).await;
    let url = format!("sqlite://{}", first.file().display());
    provider.lists(&[&one]);
    assert_eq!(change(&first, "refresh", json!({"issuer": ISSUER})).await.status, 200);
    // The issuer gives no answer any more.
    let again = plane(Some(&url), &Provider::default()).await;
    assert_eq!(again.logout(&one.token("alice")).await.status, 200);
    let head = again.store.head().await.unwrap();
    // The same keys in the settings move no log, and other ones do.
    let two = Pair::new("two");
    for (set, seq) in [(jwks(&[&one]), head.seq), (jwks(&[&two]), head.seq + 1), (jwks(&[&two]), head.seq + 1)] {
        let policy = json!({"issuers": [{"issuer": ISSUER, "jwks": set}]});
        let plane = Plane::start_on(Some(&url), policy, None, leases::Settings::default()).await;
        assert_eq!(plane.store.head().await.unwrap().seq, seq);
    }
    let policy = json!({"issuers": [{"issuer": ISSUER, "secret": SECRET}]});
    let plane = Plane::start_on(Some(&url), policy, None, leases::Settings::default()).await;
    plane.state.keys.start().await.unwrap();
    let sets = plane.store.key_sets().await.unwrap();
    assert_eq!((sets.what, sets.keys_seq), (vec![], head.seq + 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_the_other_control_planes() {
    let postgres = Postgres::start().unwrap();
    let url = postgres.fresh_database("keys").unwrap();
    let (one, two, provider) = (Pair::new("one"), Pair::new("two"), Provider::default());
    let here = plane(Some(&url), &provider).await;
    provider.lists(&[&one, &two]);
    assert_eq!(change(&here, "refresh", json!({"issuer": ISSUER})).await.status, 200);
    let there = plane(Some(&url), &provider).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let _stopper = stop.clone().drop_guard();
    let following = Arc::clone(&there.state.keys);
    tokio::spawn(async move { following.follow(stop).await });
    let mut dead = Worker::new(1);
    dead.start(&there).await;
    assert_eq!(change(&here, "remove", json!({"issuer": ISSUER, "key": "one"})).await.status, 200);
    assert!(dead.lease_until.unwrap() <= Instant::now(), "a worker of the other control plane was not waited for");
    assert_eq!(kids(&there).await, ["two"], "filters get it at once, wherever they ask");
    let until = Instant::now() + Duration::from_secs(10);
    while there.logout(&one.token("alice")).await.status != 401 {
        assert!(Instant::now() < until, "the other control plane does not follow");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Two control planes ask once.
    let another = plane(Some(&url), &provider).await;
    let asked = provider.asked();
    let three = Pair::new("three");
    provider.lists(&[&one, &two, &three]);
    here.store.writer().change_fetch(ISSUER.to_owned(), Box::new(|_| Some(Default::default()))).await.unwrap();
    let (ours, theirs) = (three.token("bob"), three.token("carol"));
    let (first, second) = tokio::join!(here.logout(&ours), another.logout(&theirs));
    assert_eq!((first.status, second.status), (200, 200), "{} {}", first.whole(), second.whole());
    assert_eq!(provider.asked(), asked + 1);
}

/// A worker at each control plane follows, and one at the other control plane has died with a lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_at_either_control_plane_waits_for_the_workers_of_both() {
    let postgres = Postgres::start().unwrap();
    let url = postgres.fresh_database("refresh").unwrap();
    let (one, two, provider) = (Pair::new("one"), Pair::new("two"), Provider::default());
    provider.lists(&[&one, &two]);
    let planes = [Arc::new(plane(Some(&url), &provider).await), Arc::new(plane(Some(&url), &provider).await)];
    let workers = [Polling::start(&planes[0], 1).await, Polling::start(&planes[1], 2).await];
    for (place, list) in [(0, vec![&one, &two]), (1, vec![&two]), (0, vec![&one])] {
        provider.lists(&list);
        let mut dead = Worker::new(9);
        dead.start(&planes[1 - place]).await;
        let answer = change(&planes[place], "refresh", json!({"issuer": ISSUER})).await;
        assert_eq!(answer.status, 200, "{}", answer.whole());
        let head = planes[place].store.newest_keys().await.unwrap();
        for polling in &workers {
            let applied = polling.worker.lock().await.applied;
            assert!(applied >= head.keys_seq, "{applied} of {}", head.keys_seq);
        }
        assert!(dead.lease_until.unwrap() <= Instant::now(), "answered before the lease of a dead worker was over");
        for plane in &planes {
            assert_eq!(kids(plane).await.len(), list.len());
        }
    }
}

/// A filter answers 503 then. A 401 would tell the client that there is nothing to log out.
#[tokio::test]
async fn a_logout_before_the_issuers_keys_are_known_is_to_be_tried_again() {
    let mut plane = Plane::start_with(json!({"issuers": [{"issuer": ISSUER, "algorithms": ["EdDSA"]}]})).await;
    let mut issuers = plane.state.keys.issuers().to_vec();
    issuers[0].origin = Origin::Source("the issuer".to_owned().into());
    let (current, clock) = (plane.state.keys.current(), plane.state.clock.clone());
    let keys = Arc::new(Keys::new(issuers, current, plane.store.clone(), clock, plane.metrics.keys.clone()));
    Arc::get_mut(&mut plane.state).unwrap().keys = keys;
    let token = Pair::new("one").token("alice");
    let answer = plane.logout(&token).await;
    assert_eq!(answer.problem(), (503, "keys_not_fetched".to_owned()));
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
}
