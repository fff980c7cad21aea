//! Control planes that ask an issuer for its keys, over a database of the story's own. The story moves their clock.

use std::io::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use curfew_control_plane::clock::Clock;
use curfew_control_plane::keys::{
    Counters, FetchTerms, KeyIssuer, KeySource, KeyUrl, Keys, LastFetch, Provider, RefreshFailure, Source,
};
use curfew_control_plane::store::keys::KeysChange;
use curfew_control_plane::store::{self, CommitObserver, Database, Settings, Store};
use curfew_core::Policy;
use curfew_testbed::key_server::KeyServer;
use prometheus_client::registry::Registry;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::subscriber::DefaultGuard;

const NOW: i64 = 1_800_000_000;

pub(crate) const ISSUER: &str = "https://issuer.example.com";

/// How long a story waits for an event.
const PATIENCE: Duration = Duration::from_secs(20);

/// A database, an issuer and a clock.
pub(crate) struct Scene {
    pub(crate) issuer: KeyServer,
    pub(crate) log: Log,
    /// What its URL ends with, such as `?key=one`.
    pub(crate) query: &'static str,
    database: Database,
    now: Arc<AtomicI64>,
    _directory: TempDir,
}

/// A control plane's part that asks for keys.
pub(crate) struct Plane {
    pub(crate) keys: Arc<Keys>,
    pub(crate) provider: Arc<Provider>,
    registry: Registry,
    _stop: DropGuard,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let database = Database::in_file(&directory.path().join("curfew.db"));
        store::migrate(&database).await.unwrap();
        let (issuer, now) = (KeyServer::start().unwrap(), Arc::new(AtomicI64::new(NOW)));
        Self { issuer, log: Log::begin(), query: "", database, now, _directory: directory }
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    /// A control plane on this database by the usual terms. It asks only when it is told to.
    pub(crate) async fn plane(&self) -> Plane {
        self.plane_with(FetchTerms::default()).await
    }

    pub(crate) async fn plane_with(&self, terms: FetchTerms) -> Plane {
        let url = KeyUrl::parse(&format!("{}{}", self.issuer.url(), self.query)).unwrap();
        let source = KeySource { source: Source::Url(url), terms };
        let issuers = json!([{"issuer": ISSUER}]);
        let (policy, sets) = Policy::from_document(&json!({ "issuers": issuers })).unwrap();
        let place = source.name();
        let key_issuers = KeyIssuer::of_policy(&policy, &sets, &issuers, "a file", |_| Some(place.clone()));
        let settings = Settings::of(&policy);
        store::prepare(&self.database, &settings, NOW, false).await.unwrap();
        let read = Arc::clone(&self.now);
        let clock = Clock::new(move || read.load(Ordering::SeqCst));
        let counters = store::Counters::default();
        let (store, writer) = Store::open(&self.database, settings, clock.clone(), counters, CommitObserver::none());
        let stop = CancellationToken::new();
        tokio::spawn(writer.run(stop.clone()));
        let counters = Counters::default();
        let mut registry = Registry::default();
        counters.register(&mut registry);
        let provider = Provider::new(vec![Some(source)], counters.clone());
        let keys = Keys::new(key_issuers, sets, store, clock, counters).fetching(provider.fetch_now());
        let keys = Arc::new(keys);
        keys.start().await.unwrap();
        // It ends at once, and knows from then on where its answers go.
        let ended = CancellationToken::new();
        ended.cancel();
        Arc::clone(&provider).run(&keys, ended).await;
        Plane { keys, provider, registry, _stop: stop.drop_guard() }
    }

    /// One that asks when it is due, too.
    pub(crate) async fn running_plane(&self, terms: FetchTerms) -> Plane {
        let plane = self.plane_with(terms).await;
        plane.run();
        plane
    }
}

impl Plane {
    /// Asks when it is due, until the end of the story.
    pub(crate) fn run(&self) {
        let (provider, keys) = (Arc::clone(&self.provider), Arc::clone(&self.keys));
        tokio::spawn(async move { provider.run(&keys, CancellationToken::new()).await });
    }

    /// What an operator's `refresh` leads to.
    pub(crate) async fn refresh(&self) -> Result<KeysChange, RefreshFailure> {
        self.keys.fetch_for_operator(0).await.map(|committed| committed.outcome().clone())
    }

    /// The names of the keys that prove tokens here.
    pub(crate) fn in_force(&self) -> Vec<String> {
        let sets = self.keys.current();
        sets.get(0).unwrap().keys().map(|key| key.kid().unwrap_or_default().to_owned()).collect()
    }

    /// What is noted of the questions to the issuer.
    pub(crate) async fn noted(&self) -> LastFetch {
        self.keys.reports().await.unwrap().sets.remove(0).fetch.unwrap()
    }

    /// The value of this line of the metrics.
    pub(crate) fn metric(&self, line: &str) -> Option<u64> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let value = text.lines().find_map(|shown| shown.strip_prefix(line)?.strip_prefix(' '))?;
        Some(value.parse().unwrap())
    }
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The lines of the log that the story's own thread writes.
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink(Arc::clone(&lines));
        let format = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
        let subscriber = format.with_writer(move || sink.clone()).finish();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines with these words in them.
    pub(crate) fn with(&self, words: &str) -> Vec<String> {
        let lines = String::from_utf8(self.lines.lock().unwrap().clone()).unwrap();
        lines.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }
}
