//! The keys that tokens are verified with, apart from the rules of the [`crate::Policy`]: rules stand as long as the
//! configuration, keys may be replaced while the program runs.
//!
//! A [`KeySet`] holds the keys of one issuer, the [`KeySets`] those of all issuers of a policy. Both are values that
//! never change; a replaced set makes new [`KeySets`] with another generation.

mod published;
mod read_jwks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::document::{Mistake, Mistakes};
use crate::key::{KeyId, VerificationKey};
pub use published::{PublishedKey, PublishedKeys};
use read_jwks::read_jwks;

/// How many keys of one algorithm may have no `kid`: the new one and the old one of a rotation. Each of them is tried
/// for each token, so every further one would multiply what a flood of bad tokens costs.
const MAX_NAMELESS_KEYS: usize = 2;

/// How many keys of one algorithm may have the same `kid`: a publisher that does not change it in a rotation.
const MAX_NAMESAKES: usize = 2;

/// The most keys that one token's signature is checked with, where the issuer has the keys tried that the token does
/// not name. A forged token costs so many checks.
const MAX_TRIED_KEYS: usize = 8;

/// The keys of one issuer. Empty as long as the issuer's keys are not known; then no token of it is proven.
///
/// The keys are in one order, whatever order they were read in: two sets with the same keys are the same.
#[derive(Debug, Default)]
pub struct KeySet(Vec<VerificationKey>);

impl KeySet {
    /// Reads a JWK Set (RFC 7517 section 5) tolerantly. `algorithms` are those that the issuer's tokens may have; empty
    /// stands for the usual ones, see [`VerificationKey::from_jwk`].
    ///
    /// A key that cannot be used is left out, as RFC 7517 section 5 asks. The mistakes beside the set say which, and
    /// why; they are for operators. Fields are named from the set on, such as `keys[0]`.
    ///
    /// # Errors
    /// Everything that is wrong with a set in which no key can be used.
    pub fn read(jwks: &Value, algorithms: &[Algorithm]) -> Result<(Self, Vec<Mistake>), Mistakes> {
        let (members, mut mistakes) = read_jwks(jwks, algorithms)?;
        let keys: Vec<_> = members.into_iter().flat_map(|member| member.keys).collect();
        if keys.is_empty() {
            mistakes.add("", "holds no key that tokens can be verified with");
            return Err(mistakes);
        }
        Ok((Self::sorted(keys), mistakes.iter().cloned().collect()))
    }

    /// The set of one shared secret.
    ///
    /// # Errors
    /// As [`VerificationKey::from_secret`].
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, String> {
        Ok(Self(vec![VerificationKey::from_secret(algorithm, secret)?]))
    }

    fn sorted(mut keys: Vec<VerificationKey>) -> Self {
        keys.sort_by(|one, other| order(one).cmp(&order(other)));
        Self(keys)
    }

    /// The same with the keys of another set.
    pub(crate) fn and(self, other: Self) -> Self {
        Self::sorted(self.0.into_iter().chain(other.0).collect())
    }

    /// The set of those keys that `keep` says yes to.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&VerificationKey) -> bool) -> Self {
        Self(self.0.iter().filter(|key| keep(key)).cloned().collect())
    }

    /// The keys, one for each algorithm that a JWK serves, in the set's order.
    pub fn keys(&self) -> impl Iterator<Item = &VerificationKey> {
        self.0.iter()
    }

    /// The keys that a header with this `alg` and `kid` can mean: the keys with that `kid`, and the keys without any. A
    /// header without `kid` means the keys without any, or the only key of its algorithm; with `try_all`, any key of its
    /// algorithm.
    pub(crate) fn keys_for(&self, alg: Algorithm, kid: Option<&str>, try_all: bool) -> Vec<&VerificationKey> {
        let of_algorithm = || self.0.iter().filter(move |key| key.algorithm == alg);
        if kid.is_none() && (try_all || of_algorithm().nth(1).is_none()) {
            return of_algorithm().take(MAX_TRIED_KEYS).collect();
        }
        let namesakes = of_algorithm().filter(|key| kid.is_some() && key.kid.as_deref() == kid);
        let nameless = of_algorithm().filter(|key| key.kid.is_none());
        namesakes.take(MAX_NAMESAKES).chain(nameless.take(MAX_NAMELESS_KEYS)).collect()
    }

    /// True if no key is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if a key has this `kid`, whatever its algorithm.
    pub(crate) fn names(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// True if a key is of this algorithm.
    pub(crate) fn has_algorithm(&self, alg: Algorithm) -> bool {
        self.0.iter().any(|key| key.algorithm == alg)
    }

    fn contains(&self, id: KeyId) -> bool {
        self.0.iter().any(|key| key.id() == id)
    }
}

/// Keys without a `kid` first, then by `kid`. The identity comes last, so that the order never depends on the text that
/// the set was read from.
fn order(key: &VerificationKey) -> (Option<&str>, &'static str, KeyId) {
    (key.kid(), key.algorithm.as_str(), key.id())
}

/// A key of one issuer of a policy. The same key in the set of another issuer is another [`IssuerKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IssuerKey {
    /// The place of the issuer in the policy.
    issuer: usize,
    id: KeyId,
}

impl IssuerKey {
    /// The key `id` of the issuer at place `issuer` in the policy.
    pub const fn new(issuer: usize, id: KeyId) -> Self {
        Self { issuer, id }
    }

    /// The identity of the key.
    pub const fn id(self) -> KeyId {
        self.id
    }

    /// The place of the issuer in the policy.
    pub const fn issuer(self) -> usize {
        self.issuer
    }
}

/// The key sets of all issuers of a policy, in the policy's order. A clone shares the keys.
#[derive(Clone)]
pub struct KeySets {
    sets: Arc<[Arc<KeySet>]>,
    generation: u64,
}

/// Without the generation, which says nothing about the keys.
impl std::fmt::Debug for KeySets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("KeySets").field(&self.sets).finish()
    }
}

impl KeySets {
    /// Takes one set for each issuer of a policy, in the policy's order.
    pub fn new(sets: impl IntoIterator<Item = KeySet>) -> Self {
        Self { sets: sets.into_iter().map(Arc::new).collect(), generation: next_generation() }
    }

    /// The same with another set for the issuer at this place in the policy; `None` if the policy has no such issuer.
    pub fn with(&self, issuer: usize, set: KeySet) -> Option<Self> {
        let mut sets = self.sets.to_vec();
        *sets.get_mut(issuer)? = Arc::new(set);
        Some(Self { sets: sets.into(), generation: next_generation() })
    }

    /// The set of the issuer at this place in the policy.
    pub fn get(&self, issuer: usize) -> Option<&KeySet> {
        self.sets.get(issuer).map(|set| &**set)
    }

    /// The key, if the issuer still has it.
    pub fn find(&self, key: IssuerKey) -> Option<&VerificationKey> {
        self.get(key.issuer)?.0.iter().find(|known| known.id() == key.id)
    }

    /// True if the issuer still has this key. A token that a removed key has proven is not proven any more.
    pub fn contains(&self, key: IssuerKey) -> bool {
        self.get(key.issuer).is_some_and(|set| set.contains(key.id))
    }

    /// Names these sets within this process: two values with one generation are clones of each other. A proof that was
    /// checked under this generation needs no other check as long as the generation stays.
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}

/// A generation that no other value has. Counting in each value instead would give the same number to two different
/// replacements of one value, and a cached proof under the first would count under the second.
fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> KeySet {
        KeySet::from_secret(Algorithm::HS256, &[byte; 32]).unwrap()
    }

    fn key(issuer: usize, byte: u8) -> IssuerKey {
        let key = VerificationKey::from_secret(Algorithm::HS256, &[byte; 32]).unwrap();
        IssuerKey::new(issuer, key.id())
    }

    #[test]
    fn a_replaced_set_makes_a_new_value_and_leaves_the_old_one() {
        let old = KeySets::new([secret(1), secret(2)]);
        let new = old.with(0, secret(3)).unwrap();
        assert!(old.contains(key(0, 1)) && !new.contains(key(0, 1)));
        assert!(new.contains(key(0, 3)) && !old.contains(key(0, 3)));
        assert!(new.contains(key(1, 2)), "the other issuer's keys stay");
        assert!(old.with(2, secret(3)).is_none());
    }

    #[test]
    fn a_key_belongs_to_its_issuer() {
        let sets = KeySets::new([secret(1), secret(2)]);
        assert!(!sets.contains(key(1, 1)) && !sets.contains(key(2, 1)));
    }

    #[test]
    fn only_clones_share_a_generation() {
        let first = KeySets::new([secret(1)]);
        let replaced = [first.with(0, secret(2)), first.with(0, secret(2)), Some(KeySets::new([secret(1)]))];
        let generations: Vec<_> = replaced.into_iter().flatten().map(|sets| sets.generation()).collect();
        assert_eq!(first.clone().generation(), first.generation());
        for (place, generation) in generations.iter().enumerate() {
            assert!(*generation != first.generation() && !generations[..place].contains(generation));
        }
    }

    #[test]
    fn an_issuer_may_have_no_keys_yet() {
        let sets = KeySets::new([KeySet::default()]);
        assert!(sets.get(0).unwrap().is_empty() && !sets.contains(key(0, 1)));
    }
}
