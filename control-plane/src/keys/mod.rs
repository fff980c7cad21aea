//! The keys that tokens are verified with, which may be replaced while the control plane runs.

pub mod shelf;

use curfew_core::{KeySet, KeySets};
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

    /// Proves this issuer's tokens with this set from now on; the issuer by its place in the policy. The other sets stay as
    /// they are at that moment, so two fetchers never undo each other's work. False if the policy has no such issuer.
    pub fn replace(&self, issuer: usize, set: KeySet) -> bool {
        self.0.send_if_modified(|sets| match sets.with(issuer, set) {
            Some(replaced) => {
                *sets = replaced;
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use curfew_core::Algorithm;

    use super::*;

    #[test]
    fn the_newest_sets_are_current() {
        let secret = |byte: u8| KeySet::from_secret(Algorithm::HS256, &[byte; 32]).unwrap();
        let first = KeySets::new([secret(1)]);
        let keys = Keys::new(first.clone());
        assert_eq!(keys.current().generation(), first.generation());
        assert!(keys.replace(0, secret(2)));
        assert_ne!(keys.current().generation(), first.generation());
        let second = keys.current();
        assert!(!keys.replace(1, secret(3)), "there is one issuer");
        assert_eq!(keys.current().generation(), second.generation());
    }
}
