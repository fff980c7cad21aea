//! A control plane that follows a script, for the filter in a real Envoy. A story writes its log and hands out keys; it
//! answers the filter's polls, questions and calls for keys by their contract, and it can fall silent. Stories about logouts use the real
//! control plane.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use curfew_core::wire::{
    CHECK_PATH, CheckAnswer, CheckRequest, CheckVerdict, FEED_PATH, FeedAnswer, FeedRequest, FeedRevocation,
    IssuerKeys, KEYS_PATH, KeysAnswer, KeysRequest,
};
use curfew_core::{Epoch, Kind, WorkerId};
use tokio::sync::Notify;

use crate::local_server::LocalServer;
use crate::ports::loopback;

const EPOCH: Epoch = Epoch::from_bytes([0x5c; 16]);
const LEASE_MS: u64 = 1_700;
const MAX_HOLD_MS: u64 = 550;

/// Longer than any timeout of the filter's.
const SILENCE: Duration = Duration::from_secs(3600);

/// A scripted control plane on a thread of its own, stopped when dropped.
#[derive(Debug)]
pub struct Scripted {
    server: LocalServer,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    script: Mutex<Script>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Script {
    /// A change of keys takes a place in the log, and is no revocation.
    log: Vec<Option<FeedRevocation>>,
    sets: BTreeMap<String, serde_json::Value>,
    keys_seq: u64,
    /// The last seq that each worker has applied.
    workers: BTreeMap<WorkerId, u64>,
    polls: u64,
    checks: u64,
    key_calls: u64,
    silent: bool,
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scripted {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start() -> Result<Self> {
        let shared = Arc::new(Shared::default());
        Ok(Self { server: LocalServer::start(loopback(0), router(shared.clone()))?, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many questions have been asked.
    pub fn checks(&self) -> u64 {
        self.shared.script().checks
    }

    /// How many polls have come.
    pub fn polls(&self) -> u64 {
        self.shared.script().polls
    }

    /// How many calls for keys have come.
    pub fn key_calls(&self) -> u64 {
        self.shared.script().key_calls
    }

    /// How many workers follow the feed.
    pub fn workers(&self) -> usize {
        self.shared.script().workers.len()
    }

    /// Stops answering, or starts again.
    pub fn set_silent(&self, silent: bool) {
        self.shared.script().silent = silent;
    }

    /// Appends to the log, and waits until each worker has acknowledged it.
    ///
    /// # Errors
    /// When a worker has not acknowledged it within ten seconds.
    pub fn commit(&self, revocation: FeedRevocation) -> Result<()> {
        self.append(Some(revocation), |_, _| {})
    }

    /// Hands out these keys of an issuer from now on, and waits until each worker has acknowledged the change.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn hand_out(&self, issuer: &str, jwks: serde_json::Value) -> Result<()> {
        self.append(None, |script, seq| {
            script.sets.insert(issuer.to_owned(), jwks);
            script.keys_seq = seq;
        })
    }

    fn append(&self, entry: Option<FeedRevocation>, change: impl FnOnce(&mut Script, u64)) -> Result<()> {
        let seq = {
            let mut script = self.shared.script();
            script.log.push(entry);
            let seq = script.log.len() as u64;
            change(&mut script, seq);
            seq
        };
        self.shared.news.notify_waiters();
        let begun = Instant::now();
        while self.shared.script().workers.values().any(|held| *held < seq) {
            ensure!(begun.elapsed() < Duration::from_secs(10), "a worker does not acknowledge");
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a stand-in for a control plane has no route table")]
fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(CHECK_PATH, post(check))
        .route(FEED_PATH, post(feed))
        .route(KEYS_PATH, post(keys))
        .with_state(shared)
}

async fn check(State(shared): State<Arc<Shared>>, Json(question): Json<CheckRequest>) -> Json<CheckAnswer> {
    let (answer, silent) = {
        let mut script = shared.script();
        script.checks += 1;
        let revoked = |entry: &FeedRevocation| entry.kind == Kind::Token && entry.key == question.token;
        let revoked = script.log.iter().flatten().any(revoked);
        let verdict = if revoked { CheckVerdict::Revoked } else { CheckVerdict::Active };
        let (seq, keys_seq) = (script.log.len() as u64, script.keys_seq);
        (CheckAnswer { epoch: EPOCH.to_string(), seq, keys_seq, verdict, same_second: false }, script.silent)
    };
    if silent {
        tokio::time::sleep(SILENCE).await;
    }
    Json(answer)
}

async fn feed(State(shared): State<Arc<Shared>>, Json(poll): Json<FeedRequest>) -> Json<FeedAnswer> {
    let arrived = Instant::now();
    let hold = Duration::from_millis(poll.hold_ms.min(MAX_HOLD_MS));
    loop {
        // Registered before the log is read, so that no later entry is missed.
        let news = shared.news.notified();
        let (answer, silent) = shared.script().page(&poll, arrived);
        if silent {
            tokio::time::sleep(SILENCE).await;
        }
        let left = hold.saturating_sub(arrived.elapsed());
        if answer.to > answer.from || left.is_zero() || poll.leaving {
            return Json(answer);
        }
        let _ = tokio::time::timeout(left, news).await;
    }
}

async fn keys(State(shared): State<Arc<Shared>>, Json(request): Json<KeysRequest>) -> Json<KeysAnswer> {
    let (answer, silent) = {
        let mut script = shared.script();
        script.key_calls += 1;
        let set = |issuer: String| IssuerKeys { jwks: script.sets.get(&issuer).cloned(), issuer };
        let sets = request.issuers.into_iter().map(set).collect();
        (KeysAnswer { epoch: EPOCH, keys_seq: script.keys_seq, sets }, script.silent)
    };
    if silent {
        tokio::time::sleep(SILENCE).await;
    }
    Json(answer)
}

impl Script {
    /// Records what the worker has applied, and reads the rest of the log.
    fn page(&mut self, poll: &FeedRequest, arrived: Instant) -> (FeedAnswer, bool) {
        self.polls += 1;
        let from = if poll.epoch == Some(EPOCH) { poll.applied } else { 0 };
        if poll.leaving || self.silent {
            self.workers.remove(&poll.worker);
        } else {
            self.workers.insert(poll.worker, from);
        }
        let skipped = usize::try_from(from).unwrap_or(usize::MAX);
        let answer = FeedAnswer {
            epoch: EPOCH,
            from,
            to: self.log.len() as u64,
            more: false,
            keys_seq: self.keys_seq,
            revocations: self.log.iter().skip(skipped).copied().flatten().collect(),
            lease_ms: LEASE_MS,
            fresh_ms: i64::try_from(arrived.elapsed().as_millis()).unwrap_or(0),
        };
        (answer, self.silent)
    }
}

/// The revocation of one token, by the filter's configuration.
///
/// # Errors
/// When the configuration is invalid, or does not accept the token.
pub fn logout(filter: &serde_json::Value, token: &str, now: i64) -> Result<FeedRevocation> {
    let config = curfew_filter::config::Config::parse(filter.to_string().as_bytes())?;
    let proven = config.policy.prove(token.as_bytes(), now, &config.keys, curfew_core::verify_natively);
    let question = CheckRequest::about(&proven.context("a token to log out")?);
    Ok(FeedRevocation { kind: Kind::Token, key: question.token, cutoff: now, expires_at: now + 7200 })
}
