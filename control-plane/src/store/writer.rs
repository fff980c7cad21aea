//! The only way to change anything: commands go into a queue, and one task carries them out ([`super::writer_task`]).
//!
//! A command is answered after the commit that contains it. If the caller goes away, its command stays in the queue and
//! is carried out all the same.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Counters;
use super::command::{
    Committed, LogoutOutcome, LogoutScope, Purged, Reached, Registered, Registration, Subject, TokenRecord, Unavailable,
};
use super::job::{Job, Reply};
use super::keys::{ChangeFetch, ChangeKeys, KeysChange};
use crate::log::{Cause, Commit};

/// The most commands that may wait. If the queue is full, a caller gets a 503 at once, which is better than a time-out.
const QUEUE: usize = 1024;

/// How long a caller waits: more than twice as long as the writer may wait for a lock.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// The way to the writer task.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
    commits: watch::Receiver<Option<Commit>>,
    counters: Counters,
}

/// The writer, and the task's ends of the two channels: the queue and the newest commit.
type Channel = (Writer, mpsc::Receiver<Job>, watch::Sender<Option<Commit>>);

/// Makes the queue, and the channel that shows the newest commit.
pub(super) fn channel(counters: Counters) -> Channel {
    let (queue, jobs) = mpsc::channel(QUEUE);
    let (committed, commits) = watch::channel(None);
    (Writer { queue, commits, counters }, jobs, committed)
}

impl Writer {
    /// Revokes a token.
    ///
    /// # Errors
    ///
    /// See [`Unavailable`]; the same holds for all commands.
    pub async fn logout(&self, token: TokenRecord) -> Result<Committed<LogoutOutcome>, Unavailable> {
        self.logout_scope(token, LogoutScope::Token).await
    }

    /// Revokes a token and all other tokens of its user.
    pub async fn logout_all(&self, token: TokenRecord, user: String) -> Result<Committed<LogoutOutcome>, Unavailable> {
        self.logout_scope(token, LogoutScope::Global(user)).await
    }

    /// Revokes what the owner of a token logs out.
    pub async fn logout_scope(
        &self,
        token: TokenRecord,
        scope: LogoutScope,
    ) -> Result<Committed<LogoutOutcome>, Unavailable> {
        self.ask(|reply| Job::Logout(token, scope, reply)).await
    }

    /// Revokes all tokens of some subjects, of all of them or of none.
    pub async fn revoke_user(&self, subjects: Vec<Subject>, cause: Cause) -> Result<Committed<Reached>, Unavailable> {
        self.ask(|reply| Job::RevokeUser(subjects, cause, reply)).await
    }

    /// Records tokens at their issue, all or none.
    pub async fn register(&self, tokens: Vec<Registration>) -> Result<Registered, Unavailable> {
        self.ask(|reply| Job::Register(tokens, reply)).await.map(Committed::into_outcome)
    }

    /// Changes the keys of an issuer. If the set in force becomes another one, the log moves on by one place, which belongs to
    /// no revocation. A set that has no room does not come in force.
    pub async fn change_keys(&self, issuer: String, change: ChangeKeys) -> Result<Committed<KeysChange>, Unavailable> {
        self.ask(|reply| Job::ChangeKeys(issuer, None, change, reply)).await
    }

    /// The same with what a question to the issuer has brought, which began at `began_ms`, as it was noted. If another
    /// question has begun since, which may have brought a newer list already, nothing is changed.
    pub async fn change_keys_asked_for(
        &self,
        issuer: String,
        began_ms: i64,
        change: ChangeKeys,
    ) -> Result<Committed<KeysChange>, Unavailable> {
        self.ask(|reply| Job::ChangeKeys(issuer, Some(began_ms), change, reply)).await
    }

    /// Changes what is stored of the questions to an issuer. True if something was written.
    pub async fn change_fetch(&self, issuer: String, change: ChangeFetch) -> Result<bool, Unavailable> {
        self.ask(|reply| Job::ChangeFetch(issuer, change, reply)).await.map(Committed::into_outcome)
    }

    /// Removes one portion of what is no longer needed.
    pub async fn purge(&self) -> Result<Purged, Unavailable> {
        self.ask(Job::Purge).await.map(Committed::into_outcome)
    }

    /// Begins a transaction and ends it. If the transaction finds another history, it gives the history a new name.
    pub(super) async fn look(&self) -> Result<(), Unavailable> {
        self.ask(Job::Look).await.map(Committed::into_outcome)
    }

    /// The newest commit of this process, for tasks that pass on news; `None` before the first one. A command waits for
    /// its own commit, which its answer carries.
    pub fn commits(&self) -> watch::Receiver<Option<Commit>> {
        self.commits.clone()
    }

    /// True if the task runs.
    pub fn is_alive(&self) -> bool {
        !self.queue.is_closed()
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<Committed<T>, Unavailable> {
        let (reply, answer) = Reply::channel();
        self.counters.queue.inc();
        if self.queue.try_send(job(reply)).is_err() {
            self.counters.queue.dec();
            return Err(Unavailable::NotWritten);
        }
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Unavailable::NotWritten),
            Err(_) => Err(Unavailable::Unconfirmed),
        }
    }
}
