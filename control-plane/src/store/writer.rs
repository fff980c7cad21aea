//! The one task that writes: it takes all waiting commands into one transaction (group commit).
//!
//! A command is answered after the commit that holds it. An answer that is never given means "not written": whatever
//! goes wrong before the commit drops the batch with its reply channels, and each caller is told that nothing happened.
//! Where the commit itself fails nobody knows, and each caller is told that. A caller that goes away changes nothing;
//! its command is in the queue and is carried out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

use super::FeedHead;
use super::command::{Cause, LogoutOutcome, Purged, Registered, Registration, Subject, TokenRecord, Unavailable};
use super::feed::Logged;
use super::retention::Retention;
use super::sqlite::{self, Batch};
use crate::blacklist::{Blacklist, MOST_PUBLISHED};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::stop::Stop;

/// Commands that may wait. A full queue is answered with 503 at once, which is kinder than a time-out.
const QUEUE: usize = 1024;

/// How much one transaction takes up: a command weighs as many units as it has tokens to write.
const BATCH_WEIGHT: usize = 1024;

/// How long a caller waits: longer than the writer may wait for a lock, twice over.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

type Reply<T> = oneshot::Sender<Result<T, Unavailable>>;

enum Command {
    Logout(TokenRecord, Reply<LogoutOutcome>),
    LogoutAll(TokenRecord, String, Reply<LogoutOutcome>),
    RevokeUser(Vec<Subject>, Cause, Reply<()>),
    Register(Vec<Registration>, Reply<Registered>),
    Purge(Reply<Purged>),
}

/// Gives a command's answer, with what became of the commit.
type Answer = Box<dyn FnOnce(Result<(), Unavailable>) + Send>;

/// A transaction that was committed.
struct Committed {
    /// The head before it.
    before: FeedHead,
    /// The head after it.
    head: FeedHead,
    /// What it revoked, for the blacklist.
    revoked: Vec<Logged>,
    answers: Vec<Answer>,
}

/// A transaction that did not end well.
struct WriteFailure {
    error: sqlx::Error,
    /// Whom to tell that the outcome is unknown; nobody where the commit was never tried.
    unconfirmed: Vec<Answer>,
}

impl From<sqlx::Error> for WriteFailure {
    fn from(error: sqlx::Error) -> Self {
        Self { error, unconfirmed: Vec::new() }
    }
}

impl Command {
    fn weight(&self) -> usize {
        match self {
            Self::Logout(..) | Self::LogoutAll(..) => 1,
            Self::RevokeUser(subjects, ..) => subjects.len(),
            Self::Register(tokens, _) => tokens.len(),
            Self::Purge(_) => BATCH_WEIGHT,
        }
    }

    async fn carry_out(self, batch: &mut Batch<'_>) -> Result<Answer, sqlx::Error> {
        Ok(match self {
            Self::Logout(token, reply) => answer(reply, batch.logout(&token).await?),
            Self::LogoutAll(token, user, reply) => answer(reply, batch.logout_all(&token, &user).await?),
            Self::RevokeUser(subjects, cause, reply) => {
                for Subject { issuer, user } in &subjects {
                    batch.revoke_user(issuer, user, cause).await?;
                }
                answer(reply, ())
            }
            Self::Register(tokens, reply) => answer(reply, batch.register(&tokens).await?),
            Self::Purge(reply) => answer(reply, batch.purge().await?),
        })
    }
}

fn answer<T: Send + 'static>(reply: Reply<T>, outcome: T) -> Answer {
    Box::new(move |committed| {
        // The caller may have gone; the commit stands.
        let _ = reply.send(committed.map(|()| outcome));
    })
}

/// The way to the writer task.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Command>,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// Revokes a token.
    ///
    /// # Errors
    ///
    /// See [`Unavailable`]; the same holds for all commands.
    pub async fn logout(&self, token: TokenRecord) -> Result<LogoutOutcome, Unavailable> {
        self.ask(|reply| Command::Logout(token, reply)).await
    }

    /// Revokes a token and everything else of its user.
    pub async fn logout_all(&self, token: TokenRecord, user: String) -> Result<LogoutOutcome, Unavailable> {
        self.ask(|reply| Command::LogoutAll(token, user, reply)).await
    }

    /// Revokes everything of some subjects, all or none.
    pub async fn revoke_user(&self, subjects: Vec<Subject>, cause: Cause) -> Result<(), Unavailable> {
        self.ask(|reply| Command::RevokeUser(subjects, cause, reply)).await
    }

    /// Records tokens at their issue, all or none.
    pub async fn register(&self, tokens: Vec<Registration>) -> Result<Registered, Unavailable> {
        self.ask(|reply| Command::Register(tokens, reply)).await
    }

    /// Removes one portion of what is no longer needed.
    pub async fn purge(&self) -> Result<Purged, Unavailable> {
        self.ask(Command::Purge).await
    }

    /// Whether the task lives.
    pub fn is_alive(&self) -> bool {
        !self.queue.is_closed()
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.metrics.writer_queue.inc();
        if self.queue.try_send(command(reply)).is_err() {
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

/// The task's own side. Run it with [`Self::run`].
pub struct WriterTask {
    queue: mpsc::Receiver<Command>,
    database: SqliteConnectOptions,
    /// Absent until the first command, and after a failure: a fresh connection has no transaction left over.
    connection: Option<SqliteConnection>,
    retention: Retention,
    clock: Clock,
    metrics: Arc<Metrics>,
    blacklist: Blacklist,
}

/// Makes both ends of the queue.
pub(super) fn channel(
    database: SqliteConnectOptions,
    retention: Retention,
    clock: Clock,
    metrics: Arc<Metrics>,
    blacklist: Blacklist,
) -> (Writer, WriterTask) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let writer = Writer { queue: sender, metrics: Arc::clone(&metrics) };
    let task = WriterTask { queue: receiver, database, connection: None, retention, clock, metrics, blacklist };
    (writer, task)
}

impl WriterTask {
    /// Writes until it is told to stop, then carries out what is already in the queue and returns.
    pub async fn run(mut self, mut stop: Stop) {
        loop {
            let first = tokio::select! {
                command = self.queue.recv() => command,
                () = stop.requested() => {
                    self.queue.close();
                    self.queue.recv().await
                }
            };
            let Some(first) = first else { return };
            let commands = self.with_all_waiting(first);
            self.write(commands).await;
        }
    }

    fn with_all_waiting(&mut self, first: Command) -> Vec<Command> {
        let mut weight = first.weight();
        let mut commands = vec![first];
        while weight < BATCH_WEIGHT
            && let Ok(command) = self.queue.try_recv()
        {
            weight = weight.saturating_add(command.weight());
            commands.push(command);
        }
        commands
    }

    async fn write(&mut self, commands: Vec<Command>) {
        let size = commands.len();
        self.metrics.writer_took(size);
        let started = Instant::now();
        match self.commit(commands).await {
            Ok(Committed { before, head, revoked, answers }) => {
                self.metrics.committed(size, started.elapsed(), head.seq);
                self.blacklist.publish(before, head, &revoked).await;
                answers.into_iter().for_each(|answer| answer(Ok(())));
            }
            Err(failure) => self.failed(failure, size),
        }
    }

    fn failed(&mut self, WriteFailure { error, unconfirmed }: WriteFailure, commands: usize) {
        self.connection = None;
        self.metrics.writer_failures.inc();
        if unconfirmed.is_empty() {
            error!(%error, commands, "the database could not be written; nothing of these commands was");
        } else {
            error!(%error, commands, "a commit failed; whether these commands were carried out is not known");
        }
        unconfirmed.into_iter().for_each(|answer| answer(Err(Unavailable::Unconfirmed)));
    }

    async fn commit(&mut self, commands: Vec<Command>) -> Result<Committed, WriteFailure> {
        // Taken out for the time of the transaction: only a commit puts the connection back.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                info!("the writer opens the database");
                sqlite::open_writer(&self.database).await?
            }
        };
        let mut batch = Batch::begin(&mut connection, self.clock.now(), self.retention).await?;
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            answers.push(command.carry_out(&mut batch).await?);
        }
        let before = batch.began_at();
        let revoked = if self.blacklist.is_configured() { batch.revoked(MOST_PUBLISHED).await? } else { Vec::new() };
        let head = batch.move_head().await?;
        if let Err(error) = batch.commit().await {
            return Err(WriteFailure { error, unconfirmed: answers });
        }
        self.connection = Some(connection);
        Ok(Committed { before, head, revoked, answers })
    }
}
