//! A worker for the stories. It polls, keeps a copy of the log, and acknowledges it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use curfew_core::wire::{FEED_PATH, FeedAnswer, FeedRequest};
use curfew_core::{Epoch, RevocationKey, WorkerId};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::plane::{Answer, Plane, ask_json, post, with_secret};

/// A worker's id, its copy of the log, and the end of its lease.
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) applied: u64,
    pub(crate) revoked: BTreeSet<RevocationKey>,
    pub(crate) lease_until: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(id: u8) -> Self {
        let id = WorkerId::from_bytes([id; 16]);
        Self { id, epoch: None, applied: 0, revoked: BTreeSet::new(), lease_until: None }
    }

    pub(crate) fn request(&self, plane: &Plane, hold_ms: u64) -> FeedRequest {
        let keyspaces = plane.state.policy.issuers().map(|issuer| plane.state.policy.keyspace(issuer)).collect();
        let (worker, epoch, applied) = (self.id, self.epoch, self.applied);
        FeedRequest { worker, keyspaces, epoch, applied, hold_ms, leaving: false }
    }

    /// Polls, and applies the answer.
    pub(crate) async fn poll(&mut self, plane: &Plane, hold_ms: u64) -> FeedAnswer {
        let sent = Instant::now();
        let answer = taken(&send(plane.internal(), &self.request(plane, hold_ms)).await);
        self.take(&answer, sent);
        answer
    }

    /// Polls until it has a lease, which comes with the last page.
    pub(crate) async fn start(&mut self, plane: &Plane) {
        for _ in 0..100 {
            if self.poll(plane, 0).await.lease_ms > 0 {
                return;
            }
        }
        panic!("no lease");
    }

    pub(crate) fn take(&mut self, answer: &FeedAnswer, sent: Instant) {
        assert_eq!(answer.from, self.applied);
        self.revoked.extend(answer.revocations.iter().map(|revocation| revocation.key));
        (self.epoch, self.applied) = (Some(answer.epoch), answer.to);
        if answer.lease_ms > 0 && !answer.more {
            let fresh = Duration::from_millis(answer.fresh_ms.unsigned_abs());
            let start = if answer.fresh_ms < 0 { sent - fresh } else { sent + fresh };
            self.lease_until = self.lease_until.max(Some(start + Duration::from_millis(answer.lease_ms)));
        }
    }

    /// True if it would admit a token with this key at this moment.
    pub(crate) fn admits(&self, key: RevocationKey) -> bool {
        self.lease_until.is_some_and(|until| Instant::now() < until) && !self.revoked.contains(&key)
    }
}

pub(crate) async fn send(router: Router, request: &FeedRequest) -> Answer {
    ask_json(router, with_secret(post(FEED_PATH)), &serde_json::to_string(request).unwrap()).await
}

pub(crate) fn taken(answer: &Answer) -> FeedAnswer {
    assert_eq!(answer.status, 200, "{}", answer.whole());
    serde_json::from_str(&answer.body).unwrap()
}

/// A worker that polls until it is dropped.
pub(crate) struct Polling {
    pub(crate) worker: Arc<Mutex<Worker>>,
    task: JoinHandle<()>,
}

impl Polling {
    pub(crate) async fn start(plane: &Arc<Plane>, id: u8) -> Self {
        let mut worker = Worker::new(id);
        worker.start(plane).await;
        let worker = Arc::new(Mutex::new(worker));
        let (plane, polled) = (Arc::clone(plane), Arc::clone(&worker));
        let task = tokio::spawn(async move {
            loop {
                let request = polled.lock().await.request(&plane, 600);
                let sent = Instant::now();
                let answer = taken(&send(plane.internal(), &request).await);
                polled.lock().await.take(&answer, sent);
            }
        });
        Self { worker, task }
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.task.abort();
    }
}
