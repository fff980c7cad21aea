//! How much a logout without a scope logs out, for each issuer.

use curfew_core::Mistakes;
use serde_json::Value;

/// The field of an issuer's entry.
const FIELD: &str = "logout_scope";

/// What `POST /api/v2/logout` logs out where the caller does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DefaultScope {
    /// The token.
    #[default]
    Token,
    /// The session that the token names; the token alone if it names none.
    Session,
}

impl DefaultScope {
    /// Takes the field out of an issuer's entry, which stands at `path` in the configuration: the policy does not know it.
    pub(super) fn take(path: &str, entry: &mut Value, mistakes: &mut Mistakes) -> Self {
        let value = entry.as_object_mut().and_then(|entry| entry.remove(FIELD));
        match value.as_ref().map(Value::as_str) {
            None | Some(Some("token")) => Self::Token,
            Some(Some("session")) => Self::Session,
            Some(_) => {
                mistakes.add(format!("{path}.{FIELD}"), "must be one of: token, session");
                Self::Token
            }
        }
    }
}
