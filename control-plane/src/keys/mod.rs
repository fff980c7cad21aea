//! The keys that tokens are verified with, which may be replaced while the control plane runs.

use curfew_core::KeySets;
use tokio::sync::watch;

/// The key sets of all issuers of the policy.
pub struct Keys(watch::Sender<KeySets>);

impl Keys {
    /// Starts with these sets.
    pub fn new(sets: KeySets) -> Self {
        Self(watch::Sender::new(sets))
    }

    /// The sets of this moment. A proof is made with one such value, so it never sees half of a replacement.
    pub fn current(&self) -> KeySets {
        self.0.borrow().clone()
    }

    /// Proves tokens with these sets from now on.
    pub fn replace(&self, sets: KeySets) {
        self.0.send_replace(sets);
    }
}

#[cfg(test)]
mod tests {
    use curfew_core::{Algorithm, KeySet};

    use super::*;

    #[test]
    fn the_newest_sets_are_current() {
        let secret = |byte: u8| KeySet::from_secret(Algorithm::HS256, &[byte; 32]).unwrap();
        let first = KeySets::new([secret(1)]);
        let keys = Keys::new(first.clone());
        assert_eq!(keys.current().generation(), first.generation());
        let second = first.with(0, secret(2)).unwrap();
        keys.replace(second.clone());
        assert_eq!(keys.current().generation(), second.generation());
    }
}
