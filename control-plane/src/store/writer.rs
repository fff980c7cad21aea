//! The way to change anything: commands go into a queue, which one task works off ([`super::writer_task`]).
//!
//! A command is answered after the commit that holds it. A caller that goes away changes nothing; its command is in the
//! queue and is carried out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::FeedHead;
use super::command::{Cause, LogoutOutcome, Purged, Registered, Registration, Subject, TokenRecord, Unavailable};
use super::job::{Job, Reply};
use crate::metrics::Metrics;

/// Commands that may wait. A full queue is answered with 503 at once, which is kinder than a time-out.
const QUEUE: usize = 1024;

/// How long a caller waits: longer than the writer may wait for a lock, twice over.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// A transaction of this process that was committed. The times are those of [`crate::clock::since_boot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// How far the log reached before it. What lies between this and the commit before was committed by others.
    pub before: FeedHead,
    /// How far the log reaches with it.
    pub head: FeedHead,
    /// When it began, before its first statement.
    pub began: Duration,
    /// When the commit had returned.
    pub returned: Duration,
}

/// The way to the writer task.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
    commits: watch::Receiver<Option<Commit>>,
    metrics: Arc<Metrics>,
}

/// What [`channel`] makes: the way to the task, and the task's two ends.
type Channel = (Writer, mpsc::Receiver<Job>, watch::Sender<Option<Commit>>);

/// Makes the queue, and the place where the newest commit is shown.
pub(super) fn channel(metrics: Arc<Metrics>) -> Channel {
    let (queue, jobs) = mpsc::channel(QUEUE);
    let (committed, commits) = watch::channel(None);
    (Writer { queue, commits, metrics }, jobs, committed)
}

impl Writer {
    /// Revokes a token.
    ///
    /// # Errors
    ///
    /// See [`Unavailable`]; the same holds for all commands.
    pub async fn logout(&self, token: TokenRecord) -> Result<LogoutOutcome, Unavailable> {
        self.ask(|reply| Job::Logout(token, reply)).await
    }

    /// Revokes a token and everything else of its user.
    pub async fn logout_all(&self, token: TokenRecord, user: String) -> Result<LogoutOutcome, Unavailable> {
        self.ask(|reply| Job::LogoutAll(token, user, reply)).await
    }

    /// Revokes everything of some subjects, all or none.
    pub async fn revoke_user(&self, subjects: Vec<Subject>, cause: Cause) -> Result<(), Unavailable> {
        self.ask(|reply| Job::RevokeUser(subjects, cause, reply)).await
    }

    /// Records tokens at their issue, all or none.
    pub async fn register(&self, tokens: Vec<Registration>) -> Result<Registered, Unavailable> {
        self.ask(|reply| Job::Register(tokens, reply)).await
    }

    /// Removes one portion of what is no longer needed.
    pub async fn purge(&self) -> Result<Purged, Unavailable> {
        self.ask(Job::Purge).await
    }

    /// Begins a transaction and ends it: one that finds another history gives it a new name.
    pub(super) async fn look(&self) -> Result<(), Unavailable> {
        self.ask(Job::Look).await
    }

    /// The newest commit; none before the first. It is shown before the commands in it are answered, so whoever has an
    /// answer finds its own commit here, or a later one.
    pub fn commits(&self) -> watch::Receiver<Option<Commit>> {
        self.commits.clone()
    }

    /// Whether the task lives.
    pub fn is_alive(&self) -> bool {
        !self.queue.is_closed()
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, Unavailable> {
        let (reply, answer) = Reply::channel();
        self.metrics.writer_queue.inc();
        if self.queue.try_send(job(reply)).is_err() {
            self.metrics.writer_queue.dec();
            return Err(Unavailable::NotWritten);
        }
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Unavailable::NotWritten),
            Err(_) => Err(Unavailable::Unconfirmed),
        }
    }
}
