//! A command on its way through the writer, with the place for its answer.
//!
//! A batch may be tried again when another transaction was in the way. So a job keeps its command until it is answered,
//! and only the outcome of the last attempt counts.

use tokio::sync::oneshot;

use super::command::{
    Committed, LogoutOutcome, LogoutScope, Purged, Reached, Registered, Registration, Subject, TokenRecord, Unavailable,
};
use super::keys::{ChangeFetch, ChangeKeys, KeysChange};
use super::sql::Batch;
use crate::log::{Cause, Commit};

/// The most weight of one transaction. A job's weight is the number of tokens that it writes.
pub(super) const BATCH_WEIGHT: usize = 1024;

/// The place for an answer, and the outcome that it will carry if the commit succeeds.
pub(super) struct Reply<T> {
    to: oneshot::Sender<Result<Committed<T>, Unavailable>>,
    outcome: Option<T>,
}

impl<T> Reply<T> {
    /// Makes a reply and the place where it arrives.
    pub(super) fn channel() -> (Self, oneshot::Receiver<Result<Committed<T>, Unavailable>>) {
        let (to, answer) = oneshot::channel();
        (Self { to, outcome: None }, answer)
    }

    fn give(self, ended: Result<Commit, Unavailable>) {
        let outcome = ended.and_then(|commit| {
            let outcome = self.outcome.ok_or(Unavailable::NotWritten)?;
            Ok(Committed::new(outcome, commit))
        });
        // The caller may have gone; the commit stands.
        let _ = self.to.send(outcome);
    }
}

/// A command and its reply.
pub(super) enum Job {
    Logout(TokenRecord, LogoutScope, Reply<LogoutOutcome>),
    RevokeUser(Vec<Subject>, Cause, Reply<Reached>),
    Register(Vec<Registration>, Reply<Registered>),
    Purge(Reply<Purged>),
    /// With a number: only if the last question to the issuer is the one that began then.
    ChangeKeys(String, Option<i64>, ChangeKeys, Reply<KeysChange>),
    ChangeFetch(String, ChangeFetch, Reply<bool>),
    /// Begins a transaction as every job does, and writes to no row. This shows which history the database has, and
    /// whether the server takes writes.
    Look(Reply<()>),
}

impl Job {
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Logout(..) => 1,
            Self::RevokeUser(subjects, ..) => subjects.len(),
            Self::Register(tokens, _) => tokens.len(),
            Self::Purge(_) => BATCH_WEIGHT,
            // Its texts are as long as some hundred rows.
            Self::ChangeKeys(..) => BATCH_WEIGHT / 4,
            Self::ChangeFetch(..) => 1,
            Self::Look(_) => 0,
        }
    }

    /// Carries the command out within a transaction. If that is not committed, this is done again in another
    /// transaction.
    pub(super) async fn carry_out(&mut self, batch: &mut Batch<'_>) -> Result<(), sqlx::Error> {
        match self {
            // The caller is told that nothing was written: a cutoff that is too early would miss tokens.
            Self::Logout(_, scope, reply) if scope.needs_time() && batch.has_no_cutoff() => reply.outcome = None,
            Self::RevokeUser(_, _, reply) if batch.has_no_cutoff() => reply.outcome = None,
            Self::Logout(token, scope, reply) => reply.outcome = Some(batch.logout(token, scope).await?),
            Self::RevokeUser(subjects, cause, reply) => {
                let mut all = Reached::default();
                for Subject { issuer, user } in subjects.iter() {
                    let reached = batch.revoke_user(issuer, user, *cause).await?;
                    all.tokens = all.tokens.saturating_add(reached.tokens);
                    all.known |= reached.known;
                }
                reply.outcome = Some(all);
            }
            Self::Register(tokens, reply) => reply.outcome = Some(batch.register(tokens).await?),
            Self::Purge(reply) => reply.outcome = Some(batch.purge().await?),
            Self::ChangeKeys(issuer, began, change, reply) => {
                reply.outcome = Some(batch.change_keys(issuer, *began, change).await?);
            }
            Self::ChangeFetch(issuer, change, reply) => reply.outcome = Some(batch.change_fetch(issuer, change).await?),
            Self::Look(reply) => reply.outcome = Some(batch.try_write().await?),
        }
        Ok(())
    }

    /// Tells the caller what became of the command.
    pub(super) fn answer(self, ended: Result<Commit, Unavailable>) {
        match self {
            Self::Logout(_, _, reply) => reply.give(ended),
            Self::RevokeUser(_, _, reply) => reply.give(ended),
            Self::Look(reply) => reply.give(ended),
            Self::Register(_, reply) => reply.give(ended),
            Self::Purge(reply) => reply.give(ended),
            Self::ChangeKeys(_, _, _, reply) => reply.give(ended),
            Self::ChangeFetch(_, _, reply) => reply.give(ended),
        }
    }
}
