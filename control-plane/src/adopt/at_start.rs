//! What `curfew serve` makes of an adoption that has not ended. [`crate::store`] decides it at the start; this is for the message
//! of a run.

use std::fmt;

use crate::store::adoption::Before;

/// What a start of `curfew serve` makes of an adoption that a run leaves unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStart {
    /// It is refused, because `serve` has not started on this database yet.
    Refused,
    /// It warns.
    Warned,
    /// Nothing: an earlier run has ended the adoption, and that stays so.
    Ended,
}

impl AtStart {
    pub(super) const fn after(before: Before) -> Self {
        match (before.has_ended, before.has_started) {
            (true, _) => Self::Ended,
            (false, true) => Self::Warned,
            (false, false) => Self::Refused,
        }
    }
}

impl fmt::Display for AtStart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Refused => "the first `curfew serve` refuses its database until then",
            Self::Warned => "`curfew serve` starts with a warning until then, as it has run on its database before",
            Self::Ended => "`curfew serve` starts as before, because an earlier run has ended this adoption",
        })
    }
}
