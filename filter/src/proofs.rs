//! The proof cache: the exact text of a token, and what was proven about it.
//!
//! It says "this text verified under a key that its issuer still has". That stays true as long as the issuer's key set
//! has that key: when key sets are replaced, each proof is held against the new ones before it is used again. A new
//! configuration starts with an empty cache. The cache never says "not revoked" and never "in time".

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use curfew_core::wire::CheckRequest;
use curfew_core::{IssuerKey, KeySets, Times, TokenError};
use quick_cache::unsync::Cache;
use quick_cache::{Equivalent, Weighter};

use crate::cache::cache;

/// What is known of a proven token: everything that a later request with the same text needs.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// The key that proved it.
    pub key: IssuerKey,
    /// True if the control plane hands out its issuer's keys. Then they may change while the filter runs.
    pub handed_out: bool,
    /// The question that decides whether it is revoked.
    pub check: CheckRequest,
    /// When it is valid.
    pub times: Times,
    /// The identity headers' values, in the order of the configuration, or why this token has none that can be used.
    /// The error is worth remembering too, because it is found only after the signature was checked.
    pub identity: Result<Vec<Option<Arc<str>>>, TokenError>,
    /// Which of the rules' requirements it meets, a bit for each.
    pub meets: u64,
}

impl Facts {
    /// These facts, unless the token's identity cannot be written into headers.
    pub(crate) fn usable(self: Rc<Self>) -> Result<Rc<Self>, TokenError> {
        self.identity.as_ref().map_err(|error| *error)?;
        Ok(self)
    }
}

/// Token texts and their facts, within a budget of bytes.
pub struct Proofs(Cache<Text<Box<[u8]>>, Proof, ByBytes>);

/// The facts about a token, and the generation of the key sets that its key was last found in. As long as the
/// generation stays the same, checking a proof costs one comparison of numbers.
struct Proof {
    facts: Rc<Facts>,
    found_in: Cell<u64>,
}

impl Proof {
    /// True if the issuer still has the key that proved the token.
    fn counts(&self, keys: &KeySets) -> bool {
        self.found_in.get() == keys.generation() || self.is_found_in(keys)
    }

    fn is_found_in(&self, keys: &KeySets) -> bool {
        let found = keys.contains(self.facts.key);
        if found {
            self.found_in.set(keys.generation());
        }
        found
    }
}

/// A token's text as the cache hashes and compares it: owned, or borrowed to look it up.
struct Text<T>(T);

/// How much of a text's end is hashed, in bytes. It is the end of the signature, which differs from one proven token to
/// another: only an issuer can make two that end alike, and a text that was not proven is never kept.
const HASHED_BYTES: usize = 64;

impl<T: AsRef<[u8]>> Hash for Text<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let text = self.0.as_ref();
        state.write(text.last_chunk::<HASHED_BYTES>().map_or(text, |end| end));
    }
}

impl Equivalent<Text<Box<[u8]>>> for Text<&[u8]> {
    fn equivalent(&self, key: &Text<Box<[u8]>>) -> bool {
        equal(self.0, &key.0)
    }
}

impl PartialEq for Text<Box<[u8]>> {
    fn eq(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

impl Eq for Text<Box<[u8]>> {}

/// Compares by words: WebAssembly has no instruction for comparing memory, and its `memcmp` goes byte by byte.
fn equal(one: &[u8], other: &[u8]) -> bool {
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    one.len() == other.len() && words.iter().map(word).eq(other_words.iter().map(word)) && rest.iter().eq(other_rest)
}

/// What an entry costs beside its texts: the structs, the allocator's rounding, its slots in the tables and those of an
/// evicted entry that is remembered by its hash. Measured in the module as the growth of its memory under a flood, plus
/// 40 bytes for the key that a proof names and the generation it was found in.
const OVERHEAD_BYTES: u64 = 616;

/// Sizes the tables in advance; a usual token is longer than this.
const USUAL_ENTRY_BYTES: u64 = 1024;

#[derive(Clone)]
struct ByBytes;

impl Weighter<Text<Box<[u8]>>, Proof> for ByBytes {
    fn weight(&self, text: &Text<Box<[u8]>>, proof: &Proof) -> u64 {
        let identity: usize = proof.facts.identity.iter().flatten().flatten().map(|value| value.len()).sum();
        OVERHEAD_BYTES.saturating_add(text.0.len() as u64).saturating_add(identity as u64)
    }
}

impl Proofs {
    /// An empty cache of `budget` bytes.
    pub fn new(budget: u64) -> Self {
        let entries = usize::try_from(budget / USUAL_ENTRY_BYTES).unwrap_or(usize::MAX);
        Self(cache(entries, budget, ByBytes))
    }

    /// The facts about exactly this text, if the key that proved it is still in these sets. A proof whose key is gone
    /// is dropped.
    pub fn get(&mut self, text: &[u8], keys: &KeySets) -> Option<Rc<Facts>> {
        let proof = self.0.get(&Text(text))?;
        if proof.counts(keys) {
            return Some(Rc::clone(&proof.facts));
        }
        self.0.remove(&Text(text));
        None
    }

    /// Keeps facts that were just proven with these sets, and forgets others if there is no room.
    pub fn insert(&mut self, text: &[u8], facts: Rc<Facts>, keys: &KeySets) {
        let found_in = Cell::new(keys.generation());
        self.0.insert(Text(text.into()), Proof { facts, found_in });
    }

    /// The bytes in use, as the budget counts them.
    pub fn bytes(&self) -> u64 {
        self.0.weight()
    }
}

#[cfg(test)]
mod tests {
    use curfew_core::{Algorithm, KeySet, Keyspace, RevocationKey, VerificationKey};

    use super::*;

    fn secret(byte: u8) -> KeySet {
        KeySet::from_secret(Algorithm::HS256, &[byte; 32]).unwrap()
    }

    fn keys() -> KeySets {
        KeySets::new([secret(1), secret(2)])
    }

    /// About a token that was proven with the key of the first issuer in [`keys`].
    fn facts() -> Rc<Facts> {
        let id = [7; 16];
        let key = VerificationKey::from_secret(Algorithm::HS256, &[1; 32]).unwrap();
        Rc::new(Facts {
            key: IssuerKey::new(0, key.id()),
            handed_out: false,
            check: CheckRequest {
                keyspace: Keyspace::from_bytes(id),
                token: RevocationKey::from_bytes(id),
                jti: None,
                session: None,
                subject: None,
                issued_at: None,
            },
            times: Times { issued_at: None, cutoff_time: None, not_before: None, expires_at: 1, clock_skew: 0 },
            identity: Ok(Vec::new()),
            meets: 0,
        })
    }

    #[test]
    fn only_the_exact_text_is_found() {
        let (mut proofs, keys) = (Proofs::new(1 << 20), keys());
        proofs.insert(b"a.b.c", facts(), &keys);
        assert_eq!(proofs.get(b"a.b.c", &keys), Some(facts()));
        for other in [&b"a.b.C"[..], b"a.b.c ", b"a.b", b""] {
            assert_eq!(proofs.get(other, &keys), None);
        }
    }

    #[test]
    fn texts_that_differ_in_one_byte_anywhere_are_two() {
        let text: Vec<u8> = (b'a'..=b'z').cycle().take(HASHED_BYTES + 13).collect();
        let (mut proofs, keys) = (Proofs::new(1 << 20), keys());
        proofs.insert(&text, facts(), &keys);
        assert_eq!(proofs.get(&text, &keys), Some(facts()));
        for place in 0..text.len() {
            let mut other = text.clone();
            other[place] ^= 0x80;
            assert_eq!(proofs.get(&other, &keys), None, "{place}");
            assert_eq!(proofs.get(&text[..place], &keys), None, "{place}");
        }
    }

    #[test]
    fn a_proof_counts_as_long_as_its_issuer_has_the_key() {
        let (mut proofs, first) = (Proofs::new(1 << 20), keys());
        proofs.insert(b"a.b.c", facts(), &first);
        let second = first.with(1, secret(3)).unwrap();
        assert_eq!(proofs.get(b"a.b.c", &second), Some(facts()), "the key of another issuer was replaced");
        let third = second.with(0, secret(4)).unwrap();
        assert_eq!(proofs.get(b"a.b.c", &third), None);
        assert_eq!(proofs.bytes(), 0, "it is dropped");
    }

    #[test]
    fn a_key_that_only_another_issuer_has_proves_nothing() {
        let (mut proofs, keys) = (Proofs::new(1 << 20), keys());
        proofs.insert(b"a.b.c", facts(), &keys);
        assert_eq!(proofs.get(b"a.b.c", &KeySets::new([secret(2), secret(1)])), None);
    }
}
