//! The list of a user's sessions, as operators and account pages show it.

use curfew_core::RevocationKey;
use serde::{Deserialize, Serialize};

/// The question for a list of sessions.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionQuery {
    /// The user claim's value.
    pub user: String,
    /// One issuer namespace, or all.
    pub issuer: Option<String>,
    /// The most rows to return.
    pub limit: i64,
}

/// One token of a user. Times are seconds of Unix time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The token id, 32 hexadecimal digits.
    pub token_id: RevocationKey,
    /// The issuer namespace.
    pub issuer: String,
    /// The `sid` claim.
    pub session_id: Option<String>,
    /// When the token was issued.
    pub issued_at: Option<i64>,
    /// When the token expires.
    pub expires_at: i64,
    /// The device, as the login reported it.
    pub user_agent: Option<String>,
    /// The address, as the login reported it.
    pub ip: Option<String>,
    /// Whether the token was logged out.
    pub blocked: bool,
    /// When it was logged out.
    pub blocked_at: Option<i64>,
    /// Which call logged it out.
    pub block_reason: Option<String>,
}

/// The answer of `GET /internal/v1/users/{id}/sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// The user that was asked for.
    pub user_id: String,
    /// Unexpired sessions, newest first.
    pub sessions: Vec<Session>,
}
