//! One attempt to carry out jobs in a transaction and to commit it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Error;
use tokio::sync::watch;
use tracing::{debug, info};

use super::job::Job;
use super::settings::Settings;
use super::sql::{self, Batch, Opened};
use super::trust::Distrust;
use super::{Database, Health};
use crate::clock::{Clock, since_boot};
use crate::log::{Commit, Logged};

/// How long a batch goes on taking commands. Each command costs some round trips, and on a slow network a full batch
/// would take longer than its callers wait. The remaining commands go into the next batch.
const BATCH_TIME: Duration = Duration::from_secs(1);

/// A transaction that was committed.
pub(super) struct Done {
    /// The number of jobs in it.
    pub(super) taken: usize,
    pub(super) commit: Commit,
    /// Its revocations, for the observer.
    pub(super) revoked: Vec<Logged>,
}

/// A transaction that was not committed, or may not have been committed.
pub(super) enum Failure {
    /// Nothing was committed.
    Before(Error),
    /// Nothing was committed, because of the job with this number.
    Job(usize, Error),
    /// The commit was sent, and it is not known whether it took place.
    Commit(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Before(error)
    }
}

/// What an attempt needs.
pub(super) struct Attempt {
    pub(super) database: Database,
    /// The connection. It is `None` before the first command and after a failure: a new connection has no transaction
    /// left open.
    pub(super) opened: Option<Opened>,
    /// How often the database was found to be one that may not be believed, when the connection was made. One that is older
    /// may lead to another server than its name does now.
    pub(super) distrusts: u64,
    /// Shows each commit as soon as it has returned.
    pub(super) commits: watch::Sender<Option<Commit>>,
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pub(super) health: Arc<Health>,
    /// The most revocations of a commit that the observer wants.
    pub(super) observed: u64,
}

impl Attempt {
    /// Makes one attempt. The connection is kept after a commit, and after a transaction that was certainly rolled
    /// back. In every other case it may still be in a transaction.
    pub(super) async fn commit(&mut self, jobs: &mut VecDeque<Job>) -> Result<Done, Failure> {
        let distrusts = *self.health.trust.distrusts().borrow();
        let is_older = std::mem::replace(&mut self.distrusts, distrusts) != distrusts;
        let kept = self.opened.take().filter(|opened| !is_older && opened.leads_to_the_database());
        let mut opened = match kept {
            Some(opened) => opened,
            None => {
                debug!("the writer opens the database");
                Opened::writer(&self.database).await?
            }
        };
        let mut ended = self.carry_out(&mut opened, jobs).await;
        if opened.is_kept && matches!(&ended, Err(Failure::Before(error)) if Distrust::is_behind(error)) {
            info!("the writer opens the database anew: over its connection the log has gone back");
            opened = Opened::writer(&self.database).await?;
            ended = self.carry_out(&mut opened, jobs).await;
        }
        let is_sound = match &ended {
            Ok(_) => true,
            Err(Failure::Before(Error::Database(_)) | Failure::Job(_, Error::Database(_))) => opened.roll_back().await,
            Err(_) => false,
        };
        if is_sound {
            opened.is_kept = true;
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
        let revoked = if self.observed > 0 { batch.revoked(self.observed).await? } else { Vec::new() };
        let (head, clocks) = (batch.move_head().await?, batch.clocks());
        batch.commit().await.map_err(Failure::Commit)?;
        if !opened.leads_to_the_database() {
            // The commit went to a file that was replaced meanwhile.
            return Err(Failure::Commit(std::io::Error::other("the database's file was replaced").into()));
        }
        self.clock.learn(clocks);
        let commit = Commit { before, head, began: since, returned: since_boot() };
        self.commits.send_replace(Some(commit));
        self.health.trust.observe(&seen, head);
        Ok(Done { taken, commit, revoked })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use curfew_core::LogPosition;

    use super::*;
    use crate::log::retention::Retention;
    use crate::store;
    use crate::store::job::Reply;

    fn settings() -> Settings {
        Settings { retention: Retention { clock_skew: 0, max_token_ttl: 0, audit: 0 }, rules: Vec::new() }
    }

    async fn server(directory: &Path, name: &str) -> (Database, LogPosition) {
        let path = directory.join(name);
        let database = Database::from_url(&format!("sqlite://{}", path.display())).unwrap();
        store::migrate(&database).await.unwrap();
        let head = store::head(&database).await.unwrap();
        (database, head)
    }

    fn attempt(database: &Database, opened: Option<Opened>, health: &Arc<Health>) -> Attempt {
        Attempt {
            database: database.clone(),
            opened,
            distrusts: 0,
            commits: watch::Sender::new(None),
            settings: settings(),
            clock: Clock::new(|| 1_700_000_000),
            health: Arc::clone(health),
            observed: 0,
        }
    }

    async fn commit(attempt: &mut Attempt) -> Commit {
        let mut jobs = VecDeque::from([Job::Look(Reply::channel().0)]);
        match attempt.commit(&mut jobs).await {
            Ok(done) => done.commit,
            Err(Failure::Before(error) | Failure::Job(_, error) | Failure::Commit(error)) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn an_old_primary_at_the_other_end_of_a_kept_connection_is_not_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let ((old, old_head), (new, new_head)) =
            (server(directory.path(), "old").await, server(directory.path(), "new").await);
        let health = Arc::new(Health::default());
        let mut writer = attempt(&old, None, &health);
        assert_eq!(commit(&mut writer).await.head, old_head);
        // The database's name leads to the new primary now, and a reader has seen its log.
        writer.database = new;
        health.trust.observe(&health.trust.seen(), new_head);
        assert_eq!(commit(&mut writer).await.head, new_head);
        assert_eq!(store::head(&old).await.unwrap(), old_head, "it has kept its name");
        // A log that went back where the name leads now is another history.
        let mut writer = attempt(&old, None, &health);
        let taken_over = commit(&mut writer).await.head;
        assert!(![old_head.epoch, new_head.epoch].contains(&taken_over.epoch));
    }
}
