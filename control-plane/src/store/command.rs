//! What the writer can be asked to do, and what it answers: plain values, no I/O.

use std::net::IpAddr;

use curfew_core::{ProvenToken, TokenKeys, UnprovenToken};

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
    /// When the token was issued, seconds of Unix time; shown in the list of sessions.
    pub issued_at: Option<i64>,
    /// What cutoffs are compared with, seconds of Unix time: `iat` or, where so configured, `auth_time`.
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
            issued_at: token.times.issued_at,
            cutoff_time: token.times.cutoff_time,
            expires_at: token.times.expires_at,
        }
    }
}

/// Of a token out of the operator's own records, which nobody has proven.
impl From<UnprovenToken> for TokenRecord {
    fn from(token: UnprovenToken) -> Self {
        Self {
            keys: token.keys,
            issuer: token.issuer,
            user: token.user,
            session_id: token.session_id,
            issued_at: token.times.issued_at,
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
    /// The browser's or app's name for itself.
    pub user_agent: Option<String>,
    /// The client's address.
    pub ip: Option<IpAddr>,
}

/// A user whose sessions all end.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    /// The issuer namespace.
    pub issuer: String,
    /// The user claim's value.
    pub user: String,
}

/// Which call revoked something, and who made it; kept with each revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `POST /api/v2/logout`, by the token's owner.
    Logout,
    /// `POST /api/v2/logout-all-device`, by the owner of one of the tokens.
    LogoutAllDevice,
    /// `POST /api/v2/lgt-all`, by an application.
    LgtAll,
    /// `curfew migrate --adopt`: it was blocked in the table of another application.
    Adopted,
}

impl Cause {
    /// The stored reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::LogoutAllDevice => "logout_all_device",
            Self::LgtAll => "lgt_all",
            Self::Adopted => "adopted",
        }
    }

    /// The stored actor.
    pub const fn actor(self) -> &'static str {
        match self {
            Self::Logout | Self::LogoutAllDevice => "user",
            Self::LgtAll => "app",
            Self::Adopted => "operator",
        }
    }
}

/// How a logout that was carried out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoutOutcome {
    /// The revocation is durable.
    LoggedOut,
    /// The token had been revoked before; nothing was written.
    AlreadyRevoked,
}

/// What a registration did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Registered {
    /// Tokens seen for the first time.
    pub new: u64,
    /// Tokens known before, which stay as they are.
    pub known: u64,
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
    /// No answer came in time, or the commit failed: the command may have been carried out, or may still be.
    #[error("the command was not confirmed")]
    Unconfirmed,
}
