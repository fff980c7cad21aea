//! The one task that writes: it takes all waiting commands into one transaction (group commit).
//!
//! Whatever goes wrong before the commit leaves nothing behind, and each caller is told that nothing happened, or the
//! batch is carried out anew where somebody else was in the way. A command that cannot be carried out fails alone: the
//! others go on without it. Where the commit itself fails nobody knows, and each caller is told that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::command::Unavailable;
use super::job::{BATCH_WEIGHT, Job};
use super::settings::Settings;
use super::sql::{self, Batch, Opened};
use super::trust::Distrust;
use super::{Counters, Database, Health};
use crate::clock::{Clock, since_boot};
use crate::log::{Commit, Logged};

/// How often a batch is begun, the first time included.
const ATTEMPTS: u32 = 3;

/// How long after its first begin a batch is begun anew: one that has waited for a lock in vain may do so once more, and
/// its callers are still there.
const BEGIN_AGAIN_WITHIN: Duration = Duration::from_millis(1_500);

/// How long after its first begin a batch is begun anew without a command that failed: a little longer than the server
/// lets any statement run.
const GO_ON_WITHIN: Duration = Duration::from_millis(4_500);

/// How long a batch takes in commands. Each costs some ways to the server and back, and on a slow network a full batch
/// would take longer than its callers wait; the rest goes into the next one.
const BATCH_TIME: Duration = Duration::from_secs(1);

/// What is told of each commit before its commands are answered, such as the copy in Redis. It bounds its own time: all
/// commands of the commit wait for it.
pub struct CommitObserver {
    /// The most revocations of one commit that it wants; none are read for an observer that wants none.
    pub most: u64,
    /// Takes the commit and the revocations in it, in their order.
    pub tell: Box<dyn Fn(Commit, Vec<Logged>) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl CommitObserver {
    /// Is told nothing.
    pub fn none() -> Self {
        Self { most: 0, tell: Box::new(|_, _| Box::pin(std::future::ready(()))) }
    }
}

/// The task's own side. Run it with [`Self::run`].
pub struct WriterTask {
    pub(super) queue: mpsc::Receiver<Job>,
    /// Taken from the queue, and not yet tried.
    pub(super) waiting: VecDeque<Job>,
    pub(super) database: Database,
    /// Absent until the first command, and after a failure: a fresh connection has no transaction left over.
    pub(super) opened: Option<Opened>,
    /// Shows each commit as soon as it has returned.
    pub(super) commits: watch::Sender<Option<Commit>>,
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pub(super) counters: Counters,
    pub(super) observer: CommitObserver,
    pub(super) health: Arc<Health>,
}

/// A transaction that was committed.
struct Done {
    /// How many of the jobs are in it.
    taken: usize,
    commit: Commit,
    /// What it revoked, for the observer.
    revoked: Vec<Logged>,
}

/// A transaction that did not end well.
enum Failure {
    /// Nothing was committed.
    Before(Error),
    /// Nor was anything here, because of the job of this number.
    Job(usize, Error),
    /// The commit was asked for, and whether it took place is not known.
    Commit(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Before(error)
    }
}

impl WriterTask {
    /// Writes until it is told to stop, then carries out what is already in the queue and returns.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            if self.waiting.is_empty() {
                let first = tokio::select! {
                    job = self.queue.recv() => job,
                    () = stop.cancelled() => {
                        self.queue.close();
                        self.queue.recv().await
                    }
                };
                let Some(first) = first else { return };
                self.take_waiting(first);
            }
            self.write().await;
        }
    }

    fn take_waiting(&mut self, first: Job) {
        let mut weight = first.weight();
        self.waiting.push_back(first);
        while weight < BATCH_WEIGHT
            && let Ok(job) = self.queue.try_recv()
        {
            weight = weight.saturating_add(job.weight());
            self.waiting.push_back(job);
        }
        self.counters.took(self.waiting.len());
    }

    /// Carries out what is waiting, or as much of it as fits into the time of a batch.
    async fn write(&mut self) {
        let mut jobs = std::mem::take(&mut self.waiting);
        let started = Instant::now();
        loop {
            match self.commit_at_last(&mut jobs, started).await {
                Err(Failure::Job(number, error)) if jobs.len() > 1 && started.elapsed() < GO_ON_WITHIN => {
                    self.counters.failures.inc();
                    error!(%error, "a command cannot be carried out; nothing of it was, and the others go on without it");
                    if let Some(job) = jobs.remove(number) {
                        job.answer(Err(Unavailable::NotWritten));
                    }
                }
                ended => return self.end(jobs, ended, started).await,
            }
        }
    }

    /// Tells the callers what became of their commands.
    async fn end(&mut self, mut jobs: VecDeque<Job>, ended: Result<Done, Failure>, started: Instant) {
        // What was not tried yet would fail in the same way, and its callers have waited as long.
        let taken = ended.as_ref().map_or(jobs.len(), |done| done.taken);
        self.waiting = jobs.split_off(taken.min(jobs.len()));
        let size = jobs.len();
        self.health.unwritable.store(ended.is_err(), Ordering::Relaxed);
        match ended {
            Ok(Done { commit, revoked, .. }) => {
                self.counters.committed(size, started.elapsed(), commit.head.seq);
                (self.observer.tell)(commit, revoked).await;
                jobs.into_iter().for_each(|job| job.answer(Ok(commit)));
            }
            Err(Failure::Before(error) | Failure::Job(_, error)) => {
                self.counters.failures.inc();
                if sql::is_read_only(&error) {
                    // What is read there may lag behind.
                    self.health.trust.fence(Distrust::Follows);
                }
                error!(%error, commands = size, "the database could not be written; nothing of these commands was");
                jobs.into_iter().for_each(|job| job.answer(Err(Unavailable::NotWritten)));
            }
            Err(Failure::Commit(error)) => {
                self.counters.failures.inc();
                error!(%error, commands = size, "a commit failed; whether these commands were carried out is not known");
                jobs.into_iter().for_each(|job| job.answer(Err(Unavailable::Unconfirmed)));
            }
        }
    }

    /// Tries until it is committed or there is no sense in trying.
    async fn commit_at_last(&mut self, jobs: &mut VecDeque<Job>, started: Instant) -> Result<Done, Failure> {
        let mut attempt = 1;
        loop {
            match self.commit(jobs).await {
                Err(Failure::Before(error) | Failure::Job(_, error))
                    if (sql::may_pass(&error) || sql::is_locked(&error))
                        && attempt < ATTEMPTS
                        && started.elapsed() < BEGIN_AGAIN_WITHIN =>
                {
                    attempt += 1;
                    warn!(%error, "a batch is carried out anew");
                }
                ended => return ended,
            }
        }
    }

    /// One attempt. The connection is put back by a commit, or by a transaction that was surely rolled back: whatever else
    /// happens, it may be in one.
    async fn commit(&mut self, jobs: &mut VecDeque<Job>) -> Result<Done, Failure> {
        let mut opened = match self.opened.take().filter(Opened::leads_there) {
            Some(opened) => opened,
            None => {
                info!("the writer opens the database");
                Opened::writer(&self.database).await?
            }
        };
        let ended = self.carry_out(&mut opened, jobs).await;
        let is_sound = match &ended {
            Ok(_) => true,
            Err(Failure::Before(Error::Database(_)) | Failure::Job(_, Error::Database(_))) => opened.roll_back().await,
            Err(_) => false,
        };
        if is_sound {
            self.opened = Some(opened);
        }
        ended
    }

    async fn carry_out(&self, opened: &mut Opened, jobs: &mut VecDeque<Job>) -> Result<Done, Failure> {
        let (began, since) = (Instant::now(), since_boot());
        let seen = self.health.trust.seen();
        let mut batch = Batch::begin(opened, self.clock.moment(), &self.settings, Some(&seen)).await?;
        let mut taken = 0;
        for (number, job) in jobs.iter_mut().enumerate() {
            job.carry_out(&mut batch).await.map_err(|error| {
                if sql::is_of_the_statement(&error) { Failure::Job(number, error) } else { Failure::Before(error) }
            })?;
            taken += 1;
            if began.elapsed() >= BATCH_TIME {
                break;
            }
        }
        let before = batch.began_at();
        let revoked = if self.observer.most > 0 { batch.revoked(self.observer.most).await? } else { Vec::new() };
        let head = batch.move_head().await?;
        batch.commit().await.map_err(Failure::Commit)?;
        if !opened.leads_there() {
            // It was committed to a file that was replaced meanwhile.
            return Err(Failure::Commit(std::io::Error::other("the database's file was replaced").into()));
        }
        let commit = Commit { before, head, began: since, returned: since_boot() };
        self.commits.send_replace(Some(commit));
        self.health.trust.observe(&seen, head);
        Ok(Done { taken, commit, revoked })
    }
}
