//! A control plane in a temporary directory. The stories call it without a socket, and move its clock.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Request, Response};
use curfew_control_plane::abuse::attempts::FailedAttempts;
use curfew_control_plane::abuse::lanes::Lanes;
use curfew_control_plane::abuse::summary::FailedLogouts;
use curfew_control_plane::app::metrics::Metrics;
use curfew_control_plane::clock::Clock;
use curfew_control_plane::config::ClearSiteData;
use curfew_control_plane::http::{AppState, Entrances, Notices, Records, internal_router, public_router};
use curfew_control_plane::keys::{KeyIssuer, Keys, Origin};
use curfew_control_plane::leases::{self, Leases};
use curfew_control_plane::logout::Logouts;
use curfew_control_plane::redis::Settings;
use curfew_control_plane::redis_copy::{self, RedisCopy};
use curfew_control_plane::secret::{AppCredentials, Secret};
use curfew_control_plane::store::{self, Database, Settings as StoreSettings, Store};
use curfew_core::wire::CheckRequest;
use curfew_core::{Policy, UnverifiedToken, verify_natively};
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

use crate::tokens::{ISSUER, NOW, OTHER_ISSUER, SECRET};

pub(crate) const INTERNAL_SECRET: &str = "an internal secret";

pub(crate) struct Plane {
    pub(crate) state: Arc<AppState>,
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    now: Arc<AtomicI64>,
    directory: TempDir,
    keeper: tokio::task::AbortHandle,
    stopper: Option<DropGuard>,
}

impl Plane {
    /// A control plane that accepts two issuers with the same secret.
    pub(crate) async fn start() -> Self {
        let issuers = json!([{"issuer": ISSUER, "secret": SECRET}, {"issuer": OTHER_ISSUER, "secret": SECRET}]);
        Self::start_with(json!({"issuers": issuers})).await
    }

    pub(crate) async fn start_with(policy: Value) -> Self {
        Self::start_beside(policy, None).await
    }

    /// With a Redis. It does not wait until Redis is in use.
    pub(crate) async fn start_beside(policy: Value, redis: Option<Settings>) -> Self {
        Self::start_on_terms(policy, redis, leases::Settings::default()).await
    }

    /// With leases of another length than usual.
    pub(crate) async fn start_on_terms(policy: Value, redis: Option<Settings>, leases: leases::Settings) -> Self {
        Self::start_on(None, policy, redis, leases).await
    }

    /// On the shared database with this URL, or on its own database.
    pub(crate) async fn start_on(
        url: Option<&str>,
        policy: Value,
        redis: Option<Settings>,
        leases: leases::Settings,
    ) -> Self {
        let directory = TempDir::new().unwrap();
        let database = match url {
            Some(url) => Database::from_url(url).unwrap(),
            None => Database::in_file(&directory.path().join("curfew.db")),
        };
        store::migrate(&database).await.unwrap();
        let issuers = policy["issuers"].clone();
        let (policy, keys) = Policy::from_document(&policy).unwrap();
        let issuers = KeyIssuer::of_policy(&policy, &keys, &issuers, "the settings", |_| None);
        let settings = StoreSettings::of(&policy);
        store::prepare(&database, &settings, NOW, false).await.unwrap();
        let now = Arc::new(AtomicI64::new(NOW));
        let read = Arc::clone(&now);
        let clock = Clock::new(move || read.load(Ordering::SeqCst));
        let metrics = Metrics::default();
        let redis_copy = match redis {
            None => RedisCopy::none(),
            Some(redis) => {
                let head = store::head(&database).await.unwrap();
                RedisCopy::new(redis, head, clock.clone(), metrics.redis.clone())
            }
        };
        redis_copy.start().await.unwrap();
        let (store, writer) =
            Store::open(&database, settings, clock.clone(), metrics.store.clone(), redis_copy.observer());
        let stop = CancellationToken::new();
        let stopper = stop.clone().drop_guard();
        tokio::spawn(writer.run(stop.clone()));
        let settling = stop.clone();
        let (keeping, kept) = (redis_copy.clone(), store.clone());
        tokio::spawn(async move { redis_copy::run(&keeping, &kept, stop).await });
        let secret = Secret::new(INTERNAL_SECRET);
        let leases = Arc::new(Leases::new(store.clone(), metrics.leases.clone(), &secret, leases).unwrap());
        let state = AppState {
            policy,
            keys: Arc::new(Keys::new(issuers, keys, store.clone(), clock.clone(), metrics.keys.clone())),
            entrances: Entrances::new(&store, Logouts::new(Arc::clone(&leases), &secret)),
            records: Records::of(store.clone()),
            leases,
            redis_copy,
            clock,
            counters: metrics.http.clone(),
            abuse_counters: metrics.abuse.clone(),
            store_counters: metrics.store.clone(),
            registry: metrics.registry(),
            internal_secret: secret,
            app: AppCredentials { id: Secret::new("app"), key: Secret::new("key") },
            failures: FailedLogouts::default(),
            notices: Notices::default(),
            // Stories about limits set their own.
            attempts: FailedAttempts::per_minute(0, 0),
            trusted_proxies: 0,
            default_scopes: std::collections::BTreeMap::default(),
            clear_site_data: ClearSiteData::read("storage").unwrap(),
            lanes: Lanes::of_machine(),
            check_timeout: Duration::from_millis(400),
            request_timeout: Duration::from_secs(10),
        };
        // Stories about secrets have a database to themselves for a moment.
        if state.keys.issuers().iter().any(|issuer| issuer.origin != Origin::Secret) {
            state.keys.start().await.unwrap();
            let (followed, following) = (Arc::clone(&state.keys), settling.clone());
            tokio::spawn(async move { followed.follow(following).await });
        }
        let (settled, gossip) = (Arc::clone(&state.leases), state.redis_copy.clone());
        let keeper = tokio::spawn(async move {
            tokio::join!(leases::run(&settled, settling.clone()), leases::gossip(&settled, gossip.settings(), settling))
        });
        Self {
            state: Arc::new(state),
            store,
            metrics,
            now,
            directory,
            keeper: keeper.abort_handle(),
            stopper: Some(stopper),
        }
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Ends it like a process that is told to end.
    pub(crate) fn stop(&mut self) {
        self.stopper = None;
    }

    /// Ends it like a process that is killed: it has granted leases, and sends nothing more.
    pub(crate) fn die(&self) {
        self.keeper.abort();
    }

    pub(crate) fn public(&self) -> Router {
        public_router(Arc::clone(&self.state))
    }

    pub(crate) fn internal(&self) -> Router {
        internal_router(Arc::clone(&self.state))
    }

    pub(crate) async fn logout(&self, token: &str) -> Answer {
        ask(self.public(), post("/api/v2/logout").header("authorization", format!("Bearer {token}"))).await
    }

    pub(crate) async fn logout_all(&self, token: &str) -> Answer {
        let request = post("/api/v2/logout-all-device").header("authorization", format!("Bearer {token}"));
        ask(self.public(), request).await
    }

    pub(crate) async fn lgt_all(&self, body: Value) -> Answer {
        ask_json(self.internal(), post("/api/v2/lgt-all"), &body.to_string()).await
    }

    pub(crate) async fn register(&self, tokens: &[&str]) -> Answer {
        let tokens: Vec<_> = tokens.iter().map(|token| json!({"token": token})).collect();
        self.internal_post("/internal/v1/tokens", json!({"tokens": tokens})).await
    }

    pub(crate) async fn internal_post(&self, path: &str, body: Value) -> Answer {
        ask_json(self.internal(), with_secret(post(path)), &body.to_string()).await
    }

    /// The control plane's verdict on a token. It is asked like the filter asks, with the keys of the proven token.
    pub(crate) async fn verdict(&self, token: &str) -> String {
        let question = self.question(token);
        let answer = self.internal_post("/internal/v1/check", serde_json::to_value(question).unwrap()).await;
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        body["verdict"].as_str().unwrap_or(&answer.body).to_owned()
    }

    pub(crate) fn question(&self, token: &str) -> CheckRequest {
        // The token is read at its own time and not at the plane's, because the question is about its keys.
        let (_, claims) = UnverifiedToken::to_json(token.as_bytes()).unwrap();
        let issued_at = claims["iat"].as_i64().unwrap_or_else(|| self.state.clock.now());
        let keys = self.state.keys.current();
        let proven = self.state.policy.prove(token.as_bytes(), issued_at, &keys, verify_natively).unwrap();
        CheckRequest::about(&proven)
    }

    /// A connection to the same file that does not belong to the control plane.
    pub(crate) async fn database(&self) -> SqliteConnection {
        SqliteConnection::connect_with(&options(&self.directory)).await.unwrap()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("curfew.db")
    }

    /// Rows of `user_token_logs` and of `revocations`, and the head's seq.
    pub(crate) async fn rows(&self) -> (i64, i64, i64) {
        let mut database = self.database().await;
        let counts =
            "SELECT (SELECT count(*) FROM user_token_logs), (SELECT count(*) FROM revocations), seq FROM feed_head";
        sqlx::query_as(counts).fetch_one(&mut database).await.unwrap()
    }
}

fn options(directory: &TempDir) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(directory.path().join("curfew.db"))
}

pub(crate) fn post(path: &str) -> axum::http::request::Builder {
    Request::post(path)
}

pub(crate) fn with_secret(request: axum::http::request::Builder) -> axum::http::request::Builder {
    request.header("authorization", format!("Bearer {INTERNAL_SECRET}"))
}

pub(crate) async fn ask(router: Router, request: axum::http::request::Builder) -> Answer {
    Answer::read(router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await
}

pub(crate) async fn ask_json(router: Router, request: axum::http::request::Builder, body: &str) -> Answer {
    let request = request.header("content-type", "application/json").body(Body::from(body.to_owned())).unwrap();
    Answer::read(router.oneshot(request).await.unwrap()).await
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn read(response: Response<Body>) -> Self {
        let status = response.status().as_u16();
        let mut lines: Vec<_> = response
            .headers()
            .iter()
            .filter(|(name, _)| *name != CONTENT_LENGTH)
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        let mut head = String::new();
        lines.iter().for_each(|line| writeln!(head, "{line}").unwrap());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Self { status, head, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// The status, the headers in alphabetical order (without the length), and the body, as text.
    pub(crate) fn whole(&self) -> String {
        format!("{}\n{}\n{}", self.status, self.head, self.body)
    }

    /// The status and the stable code of a problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert!(self.head.contains("content-type: application/problem+json\n"), "{}", self.whole());
        let body: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(body["status"], self.status);
        (self.status, body["code"].as_str().unwrap().to_owned())
    }
}
