//! What the store has to know of the policy.

use curfew_core::{Policy, SubjectRule};

use crate::log::retention::Retention;

/// How long things are kept, and by which rules users get their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long things are kept.
    pub retention: Retention,
    /// One rule for each issuer.
    pub rules: Vec<SubjectRule>,
}

impl Settings {
    /// Those that follow from a policy.
    pub fn of(policy: &Policy) -> Self {
        Self {
            retention: Retention { clock_skew: policy.clock_skew(), max_token_ttl: policy.max_token_ttl(), audit: 0 },
            rules: policy.subject_rules().collect(),
        }
    }

    /// The same, with rows about tokens kept for so many seconds longer than they are needed.
    #[must_use]
    pub fn keeping_rows(mut self, audit: i64) -> Self {
        self.retention.audit = audit;
        self
    }
}
