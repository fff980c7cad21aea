//! The part of the policy that the store needs.

use curfew_core::{KeyRule, Policy};

use crate::log::retention::Retention;

/// How long things are kept, and the rules by which users and sessions get their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long things are kept.
    pub retention: Retention,
    /// The rules of each issuer.
    pub rules: Vec<KeyRule>,
}

impl Settings {
    /// The settings that follow from a policy.
    pub fn of(policy: &Policy) -> Self {
        Self {
            retention: Retention { clock_skew: policy.clock_skew(), max_token_ttl: policy.max_token_ttl(), audit: 0 },
            rules: policy.key_rules().collect(),
        }
    }

    /// The same settings, with rows about tokens kept for this many seconds longer than needed.
    #[must_use]
    pub fn keeping_rows(mut self, audit: i64) -> Self {
        self.retention.audit = audit;
        self
    }
}
