//! The one task that writes: it takes all waiting commands into one transaction (group commit).
//!
//! An error before the commit leaves nothing behind. The batch is tried again if another transaction was in the way;
//! otherwise each caller is told that nothing happened. A command that cannot be carried out fails alone, and the
//! others go on without it. If the commit itself fails, it is not known what happened, and each caller is told that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::command::Unavailable;
use super::job::{BATCH_WEIGHT, Job};
use super::observer::CommitObserver;
use super::sql;
use super::trust::Distrust;
use super::write_attempt::{Attempt, Done, Failure};
use super::{Counters, Health};
use crate::log_throttle::LogThrottle;

/// The most attempts for a batch, the first one included.
const ATTEMPTS: u32 = 3;

/// How long after its first attempt a batch may be tried again. A batch that has waited for a lock in vain may wait
/// once more, because its callers are still waiting then.
const BEGIN_AGAIN_WITHIN: Duration = Duration::from_millis(1_500);

/// How long after its first attempt a batch may be tried again without a command that failed: a little longer than the
/// server lets any statement run.
const GO_ON_WITHIN: Duration = Duration::from_millis(4_500);

/// The task. [`Self::run`] runs it.
pub struct WriterTask {
    pub(super) queue: mpsc::Receiver<Job>,
    /// Jobs that were taken from the queue and have not been tried.
    pub(super) waiting: VecDeque<Job>,
    pub(super) attempt: Attempt,
    pub(super) counters: Counters,
    pub(super) observer: CommitObserver,
    pub(super) health: Arc<Health>,
    /// Batches that failed, for the log.
    pub(super) lines: LogThrottle,
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

    /// Carries out the waiting jobs, or as many of them as fit into the time of a batch.
    async fn write(&mut self) {
        let mut jobs = std::mem::take(&mut self.waiting);
        let started = Instant::now();
        loop {
            match self.commit_with_patience(&mut jobs, started).await {
                Err(Failure::Job(number, error)) if jobs.len() > 1 && started.elapsed() < GO_ON_WITHIN => {
                    self.counters.failures.inc();
                    let error = sql::explained(&error);
                    error!(
                        error,
                        "a command cannot be carried out; nothing of it was, and the others go on without it"
                    );
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
        // After a failure, the jobs that were not tried would fail in the same way, and their callers have waited
        // equally long.
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
                    // Reads from a standby may lag behind.
                    self.health.trust.fence(Distrust::Follows);
                }
                if !self.health.outage.explains(&error)
                    && let Some(failures) = self.lines.line(tokio::time::Instant::now())
                {
                    let error = sql::explained(&error);
                    error!(
                        error,
                        commands = size,
                        failures,
                        "the database could not be written; nothing of these commands was"
                    );
                }
                jobs.into_iter().for_each(|job| job.answer(Err(Unavailable::NotWritten)));
            }
            Err(Failure::Commit(error)) => {
                self.counters.failures.inc();
                let error = sql::explained(&error);
                error!(error, commands = size, "a commit failed; whether these commands were carried out is not known");
                jobs.into_iter().for_each(|job| job.answer(Err(Unavailable::Unconfirmed)));
            }
        }
    }

    /// Tries a batch until it is committed, or another attempt is of no use.
    async fn commit_with_patience(&mut self, jobs: &mut VecDeque<Job>, started: Instant) -> Result<Done, Failure> {
        let mut attempt = 1;
        loop {
            match self.attempt.commit(jobs).await {
                Err(Failure::Before(error) | Failure::Job(_, error))
                    if (sql::may_pass(&error) || sql::is_locked(&error))
                        && attempt < ATTEMPTS
                        && started.elapsed() < BEGIN_AGAIN_WITHIN =>
                {
                    attempt += 1;
                    if !self.health.outage.explains(&error) {
                        warn!(error = sql::explained(&error), "a batch is carried out anew");
                    }
                }
                ended => return ended,
            }
        }
    }
}
