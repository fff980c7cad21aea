//! The keys that tokens are verified with, apart from the rules of the [`crate::Policy`]: rules stand as long as the
//! configuration, keys may be replaced while the program runs.
//!
//! A [`KeySet`] holds the keys of one issuer, the [`KeySets`] those of all issuers of a policy. Both are values that
//! never change; a replaced set makes new [`KeySets`] with another generation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::document::Mistakes;
use crate::key::{KeyId, VerificationKey};

/// More keys than any issuer rotates through.
const MAX_KEYS: usize = 16;

/// How many keys of one algorithm may have no `kid`: the new one and the old one of a rotation. Each of them is tried
/// for each token, so every further one would multiply what a flood of bad tokens costs.
const MAX_NAMELESS_KEYS: usize = 2;

/// The keys of one issuer. Empty as long as the issuer's keys are not known; then no token of it is proven.
#[derive(Debug, Default)]
pub struct KeySet(Vec<VerificationKey>);

impl KeySet {
    /// Reads a JWK Set (RFC 7517 section 5). `default` is the algorithm of keys that name none and can be of several.
    ///
    /// # Errors
    /// Everything that is wrong with the set; fields are named from the set on, such as `keys[0]`.
    pub fn from_jwks(jwks: &Value, default: Option<Algorithm>) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let keys = read_jwks(jwks, default, &mut mistakes);
        if mistakes.is_empty() { Ok(Self(keys)) } else { Err(mistakes) }
    }

    /// The set of one shared secret.
    ///
    /// # Errors
    /// As [`VerificationKey::from_secret`].
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, String> {
        Ok(Self(vec![VerificationKey::from_secret(algorithm, secret)?]))
    }

    /// The keys that a header with this `alg` and `kid` can mean: the key with that `kid` and the keys without any. A
    /// header without `kid` means the keys without any, or the only key of its algorithm.
    pub(crate) fn keys_for(&self, alg: Algorithm, kid: Option<&str>) -> Vec<&VerificationKey> {
        let of_algorithm: Vec<_> = self.0.iter().filter(|key| key.algorithm == alg).collect();
        match (kid, of_algorithm.as_slice()) {
            (None, [_only]) => of_algorithm,
            _ => of_algorithm.into_iter().filter(|key| key.kid.is_none() || key.kid.as_deref() == kid).collect(),
        }
    }

    /// True if no key is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contains(&self, id: KeyId) -> bool {
        self.0.iter().any(|key| key.id() == id)
    }
}

fn read_jwks(jwks: &Value, default: Option<Algorithm>, mistakes: &mut Mistakes) -> Vec<VerificationKey> {
    let Some(members) = jwks.get("keys").and_then(Value::as_array) else {
        mistakes.add("", r#"must be a JWK Set: an object with a list "keys""#);
        return Vec::new();
    };
    let mut keys = Vec::new();
    for (index, member) in members.iter().enumerate() {
        // Checked before the next key is read, because a key may take much memory.
        if keys.len() > MAX_KEYS {
            break;
        }
        let key = match member.as_object() {
            Some(jwk) => VerificationKey::from_jwk(jwk, default),
            None => Err("must be an object".into()),
        };
        match key {
            Ok(key) => keys.extend(key),
            Err(problem) => mistakes.add(format!("keys[{index}]"), problem),
        }
    }
    check_count(&keys, mistakes);
    keys
}

fn check_count(keys: &[VerificationKey], mistakes: &mut Mistakes) {
    if keys.is_empty() {
        mistakes.add("", "holds no key that tokens can be verified with");
    }
    if keys.len() > MAX_KEYS {
        mistakes.add("", format!("holds more than {MAX_KEYS} keys"));
        return;
    }
    let count = |wanted: &VerificationKey| {
        keys.iter().filter(|key| key.algorithm == wanted.algorithm && key.kid == wanted.kid).count()
    };
    if keys.iter().any(|key| key.kid.is_none() && count(key) > MAX_NAMELESS_KEYS) {
        mistakes.add("", format!("holds more than {MAX_NAMELESS_KEYS} keys of one algorithm without kid"));
    }
    if keys.iter().any(|key| key.kid.is_some() && count(key) > 1) {
        mistakes.add("", "holds two keys of one algorithm with the same kid");
    }
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
    use serde_json::json;

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
    fn a_set_by_itself_names_its_mistakes_from_itself_on() {
        let mistakes = |jwks: Value| KeySet::from_jwks(&jwks, None).unwrap_err().to_string();
        assert_eq!(mistakes(json!([])), r#"must be a JWK Set: an object with a list "keys""#);
        assert_eq!(
            mistakes(json!({"keys": [7, {"kty": "oct", "k": "AA"}]})),
            "keys[0]: must be an object; keys[1]: needs an alg, for its type does not imply one; \
             holds no key that tokens can be verified with"
        );
    }

    #[test]
    fn a_set_is_read_no_further_than_its_limit() {
        let jwk = |kid: usize| json!({"kty": "oct", "alg": "HS256", "kid": kid.to_string(), "k": "A".repeat(43)});
        let set = |count| KeySet::from_jwks(&json!({"keys": (0..count).map(jwk).collect::<Vec<_>>()}), None);
        assert_eq!(set(MAX_KEYS).unwrap().0.len(), MAX_KEYS);
        let mut keys: Vec<_> = (0..=MAX_KEYS).map(jwk).collect();
        keys.push(json!("not read any more"));
        let mistakes = KeySet::from_jwks(&json!({ "keys": keys }), None).unwrap_err();
        assert_eq!(mistakes.to_string(), "holds more than 16 keys");
    }

    #[test]
    fn an_issuer_may_have_no_keys_yet() {
        let sets = KeySets::new([KeySet::default()]);
        assert!(sets.get(0).unwrap().is_empty() && !sets.contains(key(0, 1)));
    }
}
