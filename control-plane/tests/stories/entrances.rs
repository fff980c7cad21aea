//! Every entrance of the route table, in all cases that a logout may meet. A new row needs a recipe here.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use curfew_control_plane::abuse::attempts::FailedAttempts;
use curfew_control_plane::abuse::source::Source;
use curfew_control_plane::http::{Access, Listener, Peer, ROUTES, Route};
use curfew_control_plane::keys::shelf::Hold;
use curfew_control_plane::keys::{FetchNow, Keys, Origin};
use curfew_control_plane::leases::Settings;
use curfew_control_plane::leases::protocol::LeaseTimes;
use curfew_core::PublishedKeys;
use jwt_simple::algorithms::{Ed25519KeyPair, EdDSAKeyPairLike};
use serde_json::{Value, json};
use sqlx::Executor;
use tower::ServiceExt;

use crate::plane::{Answer, Plane, ask, with_secret};
use crate::tokens::{ISSUER, NOW, claims, encoded, with};
use crate::worker::Worker;

/// The lease is short, so that the stories are short, too.
const LEASE: Duration = Duration::from_millis(1_000);

/// Long enough for several logouts on a busy machine; the story with it does not wait for its end.
const LONG_LEASE: Duration = Duration::from_secs(20);

const PEER: [u8; 4] = [192, 0, 2, 77];

/// A request to an entrance, and the token that is logged out when it is answered.
struct Attempt {
    request: axum::http::request::Builder,
    body: Body,
    token: String,
}

/// A control plane whose tokens are signed with Ed25519, which is checked in a lane, with the entrance that is tried.
///
/// For the entrances that change keys, each user has a key of that name, and the user is logged out when that key is out of
/// force; or in force again, where keys are trusted.
struct Scene {
    plane: Plane,
    pair: Ed25519KeyPair,
    route: &'static Route,
    /// The keys that the issuer ceases to list at the next question.
    unlisted: Arc<Mutex<Vec<String>>>,
}

const USERS: [&str; 3] = ["alice", "bob", "carol"];

fn jwk(pair: &Ed25519KeyPair, kid: Option<&str>) -> Value {
    let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": encoded(&pair.public_key().to_bytes())});
    jwk.as_object_mut().unwrap().extend(kid.map(|kid| ("kid".to_owned(), kid.into())));
    jwk
}

/// The request for each entrance, and the token that it logs out.
fn recipe(name: &str, token: String, user: &str) -> (axum::http::request::Builder, Body, String) {
    let request = Request::builder();
    let bearer = format!("Bearer {token}");
    match name {
        "logout" | "logout_all_device" => (request.header("authorization", bearer), Body::empty(), token),
        "lgt_all" => {
            let body = json!({"user_id": user, "app_id": "app", "app_key": "key"}).to_string();
            (request.header("content-type", "application/json"), Body::from(body), token)
        }
        "keys_refresh" => with_body(request, json!({}), token),
        "keys_remove" | "keys_distrust" | "keys_trust" => with_body(request, json!({"key": user}), token),
        other => panic!("no recipe for the entrance {other}: write one, so that it is tried like the others"),
    }
}

fn with_body(
    request: axum::http::request::Builder,
    body: Value,
    token: String,
) -> (axum::http::request::Builder, Body, String) {
    let request = with_secret(request).header("content-type", "application/json");
    (request, Body::from(body.to_string()), token)
}

impl Scene {
    /// All entrances, each at a control plane of its own.
    async fn all(lease: Duration) -> Vec<Self> {
        let mut scenes = Vec::new();
        for route in ROUTES.iter().filter(|route| route.entrance().is_some()) {
            let pair = Ed25519KeyPair::generate();
            let of_users = USERS.map(|user| jwk(&Ed25519KeyPair::generate(), Some(user)));
            let keys: Vec<_> = std::iter::once(jwk(&pair, None)).chain(of_users).collect();
            let policy = json!({"issuers": [{"issuer": ISSUER, "jwks": {"keys": keys}}]});
            let times = LeaseTimes { lease, hold: lease / 3, ..LeaseTimes::default() };
            let leases = Settings { times, ..Settings::default() };
            let mut plane = Plane::start_on_terms(policy, None, leases).await;
            let unlisted = Arc::default();
            if route.entrance() == Some("keys_refresh") {
                asks_an_issuer(&mut plane, json!({ "keys": keys }), &unlisted);
            }
            if route.entrance() == Some("keys_trust") {
                for user in USERS {
                    let change = plane.state.keys.holding(0, Hold::Distrust, user.to_owned()).into_parts().0;
                    let _ = plane.store.writer().change_keys(ISSUER.to_owned(), change).await.unwrap();
                }
            }
            scenes.push(Self { plane, pair, route, unlisted });
        }
        assert!(scenes.len() >= 7);
        scenes
    }

    fn name(&self) -> &'static str {
        self.route.entrance().unwrap()
    }

    /// The user's token, if it were signed by this key.
    fn signed_by(pair: &Ed25519KeyPair, user: &str) -> String {
        // Issued before the cutoff's second, so that a logout of all devices covers it without a doubt.
        let claims = with(claims(user, user), json!({"iat": NOW - 1}));
        let input = format!("{}.{}", encoded(br#"{"alg":"EdDSA"}"#), encoded(claims.to_string().as_bytes()));
        let signature = pair.key_pair().as_ref().sk.sign(&input, None);
        format!("{input}.{}", encoded(signature.as_ref()))
    }

    /// The first attempt for this user, or the same again.
    fn attempt(&self, user: &str) -> Attempt {
        let token = Self::signed_by(&self.pair, user);
        self.unlisted.lock().unwrap().push(user.to_owned());
        let (request, body, token) = recipe(self.name(), token, user);
        let request = request.method(self.route.method.as_str()).uri(self.route.path);
        Attempt { request: request.extension(Peer(IpAddr::from(PEER))), body, token }
    }

    fn router(&self) -> axum::Router {
        match self.route.listener {
            Listener::Public => self.plane.public(),
            Listener::Internal => self.plane.internal(),
        }
    }

    async fn send(&self, attempt: Attempt) -> Answer {
        Answer::read(self.router().oneshot(attempt.request.body(attempt.body).unwrap()).await.unwrap()).await
    }

    /// Logs this user out.
    async fn log_out(&self, user: &str) -> Answer {
        self.send(self.attempt(user)).await
    }

    async fn is_revoked(&self, user: &str) -> bool {
        if self.name().starts_with("keys_") {
            let in_force =
                self.plane.store.key_sets().await.unwrap().what[0].jwks.contains(&format!(r#""kid":"{user}""#));
            return in_force == (self.name() == "keys_trust");
        }
        self.plane.verdict(&self.attempt(user).token).await == "revoked"
    }

    /// A worker that has a lease and never polls again.
    async fn dead_worker(&self) -> Worker {
        let mut dead = Worker::new(1);
        dead.start(&self.plane).await;
        dead
    }

    /// The number of calls of this entrance with this outcome.
    fn counted(&self, outcome: &str) -> u64 {
        let line = format!(r#"curfew_logouts_total{{endpoint="{}",outcome="{outcome}"}} "#, self.name());
        let text = self.plane.state.measured().unwrap();
        text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
    }

    /// All calls of all entrances that were counted.
    fn counted_in_all(&self) -> u64 {
        let text = self.plane.state.measured().unwrap();
        let lines = text.lines().filter(|line| line.starts_with("curfew_logouts_total{"));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }
}

/// Has the control plane ask an issuer, which lists these keys but for some.
fn asks_an_issuer(plane: &mut Plane, keys: Value, unlisted: &Arc<Mutex<Vec<String>>>) {
    let known: Arc<OnceLock<Weak<Keys>>> = Arc::default();
    let (asked, unlisted) = (Arc::clone(&known), Arc::clone(unlisted));
    let fetch: FetchNow = Arc::new(move |place, began_ms| {
        let listed = PublishedKeys::read(&keys, &[]).unwrap().0;
        let unlisted = unlisted.lock().unwrap().clone();
        let listed = listed.filtered(|key| key.kid.as_ref().is_none_or(|kid| !unlisted.contains(kid)));
        let keys = asked.get().unwrap().upgrade().unwrap();
        Box::pin(async move { Ok(keys.shelve(place, listed, "the issuer", Some(began_ms)).await?) })
    });
    let (store, state) = (plane.store.clone(), Arc::get_mut(&mut plane.state).unwrap());
    let mut issuers = state.keys.issuers().to_vec();
    issuers[0].origin = Origin::Source("the issuer".to_owned().into());
    let keys = Keys::new(issuers, state.keys.current(), store, state.clock.clone(), plane.metrics.keys.clone());
    state.keys = Arc::new(keys.fetching(fetch));
    known.set(Arc::downgrade(&state.keys)).unwrap();
}

#[test]
fn each_entrance_has_a_name_of_its_own() {
    let mut names: Vec<_> = ROUTES.iter().filter_map(Route::entrance).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
}

#[test]
fn only_the_internal_listener_checks_the_internal_secret() {
    let checked = |route: &&Route| route.access == Access::InternalSecret;
    assert!(ROUTES.iter().filter(checked).all(|route| route.listener == Listener::Internal));
}

#[tokio::test]
async fn a_caller_without_the_right_credentials_revokes_nothing() {
    for scene in Scene::all(LEASE).await {
        let rows = scene.plane.rows().await;
        let stranger = Ed25519KeyPair::generate();
        let forged = Scene::signed_by(&stranger, "alice");
        for (authorization, body) in [
            (None, "{}".to_owned()),
            (Some(format!("Bearer {forged}")), json!({"user_id": "alice", "token": forged}).to_string()),
            (Some("Bearer key".to_owned()), json!({"user_id": "alice", "app_id": "app", "app_key": "yek"}).to_string()),
        ] {
            let request = Request::builder().method(scene.route.method.as_str()).uri(scene.route.path);
            let request = request.extension(Peer(IpAddr::from(PEER)));
            let request = match scene.route.body.media_type() {
                Some(media_type) => request.header("content-type", media_type),
                None => request,
            };
            let request = match authorization {
                Some(value) => request.header("authorization", value),
                None => request,
            };
            let answer =
                Answer::read(scene.router().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap()).await;
            assert_eq!(answer.status, 401, "{}: {}", scene.name(), answer.whole());
        }
        assert_eq!(scene.plane.rows().await, rows, "{}", scene.name());
        assert!(!scene.is_revoked("alice").await, "{}", scene.name());
    }
}

#[tokio::test]
async fn a_dead_worker_is_waited_for_until_its_lease_is_over() {
    for scene in Scene::all(LEASE).await {
        let dead = scene.dead_worker().await;
        let answer = scene.log_out("alice").await;
        assert_eq!(answer.status, 200, "{}: {}", scene.name(), answer.whole());
        assert!(dead.lease_until.unwrap() <= Instant::now(), "{} was answered too early", scene.name());
        assert!(scene.is_revoked("alice").await, "{}", scene.name());
        assert_eq!((scene.counted("ok"), scene.counted_in_all()), (1, 1), "{}", scene.name());
    }
}

#[tokio::test]
async fn a_caller_that_prefers_an_early_answer_gets_one_and_can_ask_on() {
    for scene in Scene::all(LEASE).await {
        let dead = scene.dead_worker().await;
        let mut attempt = scene.attempt("alice");
        attempt.request = attempt.request.header("prefer", "respond-async");
        let answer = scene.send(attempt).await;
        assert_eq!(answer.status, 202, "{}: {}", scene.name(), answer.whole());
        assert!(answer.head.contains("preference-applied: respond-async\n"), "{}", answer.whole());
        assert!(scene.is_revoked("alice").await, "{}", scene.name());
        assert_eq!((scene.counted("ok"), scene.counted_in_all()), (1, 1), "{}", scene.name());
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let status = body["status"].as_str().unwrap();
        let is_complete = async || {
            let answer = ask(scene.plane.public(), Request::get(status)).await;
            assert_eq!(answer.status, 200, "{}: {}", scene.name(), answer.whole());
            serde_json::from_str::<Value>(&answer.body).unwrap()["complete"] == true
        };
        let started = Instant::now();
        let mut was_incomplete = false;
        while !is_complete().await {
            was_incomplete = true;
            assert!(started.elapsed() < 10 * LEASE, "{}", scene.name());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(was_incomplete, "{} did not answer early", scene.name());
        assert!(dead.lease_until.unwrap() <= Instant::now(), "{}", scene.name());
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_already_is_told_so() {
    for scene in Scene::all(LEASE).await {
        assert_eq!(scene.log_out("alice").await.status, 200, "{}", scene.name());
        let answer = scene.log_out("alice").await;
        let mut early = scene.attempt("alice");
        early.request = early.request.header("prefer", "respond-async");
        let early = scene.send(early).await;
        if scene.route.access == Access::Token {
            for answer in [answer, early] {
                assert_eq!(answer.problem(), (401, "token_revoked".to_owned()), "{}", scene.name());
            }
            assert_eq!(scene.counted("token_revoked"), 2, "{}", scene.name());
        } else {
            assert_eq!((answer.status, early.status), (200, 202), "{}", scene.name());
        }
    }
}

#[tokio::test]
async fn a_logout_that_cannot_be_written_is_503_and_the_token_lives() {
    for scene in Scene::all(LEASE).await {
        let mut database = scene.plane.database().await;
        let trap = "CREATE TRIGGER trap BEFORE UPDATE ON feed_head BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
        database.execute(trap).await.unwrap();
        for prefer in ["return=minimal", "respond-async"] {
            let mut attempt = scene.attempt("alice");
            attempt.request = attempt.request.header("prefer", prefer);
            let answer = scene.send(attempt).await;
            assert_eq!(answer.problem(), (503, "unavailable".to_owned()), "{}", scene.name());
            assert!(answer.head.contains("retry-after: 1\n"), "{}: {}", scene.name(), answer.whole());
        }
        assert!(!scene.is_revoked("alice").await, "{}", scene.name());
        assert_eq!((scene.counted("unavailable"), scene.counted_in_all()), (2, 2), "{}", scene.name());
        database.execute("DROP TRIGGER trap").await.unwrap();
        assert_eq!(scene.log_out("alice").await.status, 200, "{}", scene.name());
    }
}

#[tokio::test]
async fn a_short_request_timeout_does_not_cut_the_wait_for_leases_short() {
    for mut scene in Scene::all(LEASE).await {
        // A signature waits for its turn for half of this; a lease is much longer.
        Arc::get_mut(&mut scene.plane.state).unwrap().request_timeout = LEASE / 2;
        let dead = scene.dead_worker().await;
        let answer = scene.log_out("alice").await;
        assert_eq!(answer.status, 200, "{}: {}", scene.name(), answer.whole());
        assert!(dead.lease_until.unwrap() <= Instant::now(), "{} was answered too early", scene.name());
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_at_the_barrier_has_not_failed() {
    for mut scene in Scene::all(LONG_LEASE).await {
        Arc::get_mut(&mut scene.plane.state).unwrap().attempts = FailedAttempts::per_minute(1, 0);
        let dead = scene.dead_worker().await;
        for user in ["alice", "bob", "carol"] {
            let attempt = scene.attempt(user);
            let mut logout = Box::pin(scene.router().oneshot(attempt.request.body(attempt.body).unwrap()));
            let seq = scene.plane.rows().await.2;
            while scene.plane.rows().await.2 == seq {
                let pending = poll_fn(|context| Poll::Ready(logout.as_mut().poll(context).is_pending())).await;
                assert!(pending, "{} did not wait", scene.name());
            }
            // The commit returns within this time, and then the caller hangs up.
            let waited = tokio::time::timeout(Duration::from_millis(50), logout.as_mut()).await;
            assert!(waited.is_err(), "{} did not wait", scene.name());
            drop(logout);
            assert!(scene.is_revoked(user).await, "{}", scene.name());
        }
        assert!(dead.lease_until.unwrap() > Instant::now(), "{}: the lease was over meanwhile", scene.name());
        let source = Source::of(PEER.into(), &axum::http::HeaderMap::new(), 0);
        assert!(!scene.plane.state.attempts.is_suspect(&source), "{}", scene.name());
        // The source's first failure is still within its limit.
        assert!(scene.plane.state.attempts.failed(&source, None).is_ok(), "{}", scene.name());
    }
}
