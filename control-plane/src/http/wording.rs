//! The texts of success that clients compare.

use serde::Serialize;

use super::public::Scope;
use crate::logout;
use crate::store::command::Reached;

/// The body of an answer that says "logged out".
#[derive(Serialize)]
pub(super) struct Done {
    message: &'static str,
    /// What was logged out; absent where it is what the endpoint's name says.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
}

impl Done {
    /// All tokens of a user are logged out.
    pub(super) const LOGGED_OUT_EVERYWHERE: Self = Self { message: logout::LOGGED_OUT_EVERYWHERE, scope: None };

    /// What this scope says is logged out.
    pub(super) const fn of(scope: Scope) -> Self {
        match scope {
            Scope::Token => Self { message: logout::LOGGED_OUT, scope: None },
            Scope::Session => Self { message: logout::LOGGED_OUT, scope: Some(scope) },
            Scope::Others => Self { message: logout::OTHERS_LOGGED_OUT, scope: Some(scope) },
            Scope::Global => Self { message: logout::LOGGED_OUT_EVERYWHERE, scope: Some(scope) },
        }
    }
}

/// The body of the answer to an application that has logged a user out.
#[derive(Serialize)]
pub(super) struct DoneForUser {
    message: &'static str,
    /// How many known tokens were alive and are logged out now. Tokens that were never registered are not counted.
    tokens: u64,
    /// False if no token of this user is known: never registered, never logged out by itself, or forgotten since.
    known: bool,
}

impl DoneForUser {
    pub(super) const fn of(reached: Reached) -> Self {
        Self { message: logout::LOGGED_OUT_EVERYWHERE, tokens: reached.tokens, known: reached.known }
    }
}
