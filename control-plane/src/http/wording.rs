//! The texts of success that clients compare.

use serde::Serialize;

use crate::logout;

/// The body of an answer that says "logged out".
#[derive(Serialize)]
pub(super) struct Done {
    message: &'static str,
}

impl Done {
    /// One token is logged out.
    pub(super) const LOGGED_OUT: Self = Self { message: logout::LOGGED_OUT };
    /// All tokens of a user are logged out.
    pub(super) const LOGGED_OUT_EVERYWHERE: Self = Self { message: logout::LOGGED_OUT_EVERYWHERE };
}
