//! Commands to the writer and their outcomes, as plain values. No I/O.

use std::net::IpAddr;

use curfew_core::{ProvenToken, TokenKeys, UnprovenToken};

use crate::log::{Cause, Commit};

/// What is kept of a proven token: its keys and the claims that a list of sessions shows.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The keys under which the token can be revoked.
    pub keys: TokenKeys,
    /// The issuer namespace, `""` for an issuer without a name.
    pub issuer: String,
    /// The user claim.
    pub user: Option<String>,
    /// The `sid` claim.
    pub session_id: Option<String>,
    /// When the token was issued, seconds of Unix time; shown in the list of sessions. `None` if `cutoff_time` is: a
    /// logout of all devices revokes the known tokens without it one by one, because its cutoff does not cover them.
    pub issued_at: Option<i64>,
    /// The time that cutoffs are compared with, seconds of Unix time: `iat` or, if configured, `auth_time`.
    pub cutoff_time: Option<i64>,
    /// When the token expires, seconds of Unix time.
    pub expires_at: i64,
}

impl From<&ProvenToken> for TokenRecord {
    fn from(token: &ProvenToken) -> Self {
        Self {
            keys: token.keys,
            issuer: token.issuer.clone(),
            user: token.user.clone(),
            session_id: token.session_id.clone(),
            issued_at: token.times.cutoff_time.and(token.times.issued_at),
            cutoff_time: token.times.cutoff_time,
            expires_at: token.times.expires_at,
        }
    }
}

/// From a token in the operator's own records. Its signature is not checked.
impl From<UnprovenToken> for TokenRecord {
    fn from(token: UnprovenToken) -> Self {
        Self {
            keys: token.keys,
            issuer: token.issuer,
            user: token.user,
            session_id: token.session_id,
            issued_at: token.times.cutoff_time.and(token.times.issued_at),
            cutoff_time: token.times.cutoff_time,
            expires_at: token.times.expires_at,
        }
    }
}

/// A token reported at login, with what the login knows about the device.
#[derive(Clone, PartialEq, Eq)]
pub struct Registration {
    /// The token.
    pub token: TokenRecord,
    /// The name that the browser or app gives itself.
    pub user_agent: Option<String>,
    /// The client's address.
    pub ip: Option<IpAddr>,
}

/// How much the owner of a token logs out.
#[derive(Clone, PartialEq, Eq)]
pub enum LogoutScope {
    /// This token.
    Token,
    /// This token and all tokens of the session that it names.
    Session(String),
    /// All tokens of the user that it names, but those of its session; of a token without a session, all but this one.
    Others(String),
    /// All tokens of the user that it names.
    Global(String),
}

impl LogoutScope {
    /// Why such a logout revokes.
    pub(crate) const fn cause(&self) -> Cause {
        match self {
            Self::Token => Cause::Logout,
            Self::Session(_) => Cause::LogoutSession,
            Self::Others(_) => Cause::LogoutOthers,
            Self::Global(_) => Cause::LogoutAllDevice,
        }
    }

    /// True if it is dated: what it revokes depends on when a token was issued, or how long it is kept on the time.
    pub(crate) const fn needs_time(&self) -> bool {
        !matches!(self, Self::Token)
    }
}

/// A user whose sessions all end.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    /// The issuer namespace.
    pub issuer: String,
    /// The user claim's value.
    pub user: String,
}

/// What was known of the users that a command has logged out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// Their known tokens that were alive, and that this command has revoked one by one.
    pub tokens: u64,
    /// True if a token of one of them is known, alive or not.
    pub known: bool,
}

/// How a logout that was carried out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoutOutcome {
    /// The revocation is durable.
    LoggedOut,
    /// The token had been revoked before; nothing was written.
    AlreadyRevoked,
    /// The token counted as revoked only because it was never registered, and was issued in the second of a logout of all
    /// devices, or does not say when. It is revoked by itself now.
    OfSameSecond,
}

/// The outcome of a command that revokes, and the very commit that made it durable.
///
/// This is not the end of a logout, because workers may still admit what was revoked. The room `logout` waits for
/// `commit`.
#[must_use = "a committed revocation is in force only when its commit is confirmed"]
#[derive(Debug, PartialEq, Eq)]
pub struct Committed<T> {
    outcome: T,
    commit: Commit,
}

impl<T> Committed<T> {
    /// Only the writer commits.
    pub(in crate::store) const fn new(outcome: T, commit: Commit) -> Self {
        Self { outcome, commit }
    }

    /// The commit to wait for.
    pub const fn commit(&self) -> Commit {
        self.commit
    }

    /// The outcome of the command. It says nothing about what workers admit, and no answer is built from it.
    pub const fn outcome(&self) -> &T {
        &self.outcome
    }

    /// The outcome, for the caller that has waited for the commit or needs no wait.
    pub(crate) fn into_outcome(self) -> T {
        self.outcome
    }
}

/// What a registration did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Registered {
    /// Tokens seen for the first time.
    pub new: u64,
    /// Tokens known before, which stay as they are.
    pub known: u64,
    /// Tokens among both that are revoked already. A login that hands one of them out hands out a token that works nowhere.
    pub revoked: u64,
}

/// What one step of the purge removed, in rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// From `user_token_logs`.
    pub tokens: u64,
    /// From `revocations`.
    pub revocations: u64,
}

/// Why a command has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Nothing was written and nothing will be.
    #[error("the command was not carried out")]
    NotWritten,
    /// No answer came in time, or the commit failed: the command may have been carried out, or may be carried out
    /// later.
    #[error("the command was not confirmed")]
    Unconfirmed,
}
