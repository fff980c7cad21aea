//! The proof cache: an exact token text and what was proven about it.
//!
//! It says "this text verified under this configuration's keys", which stays true as long as the configuration, and a
//! new configuration starts with an empty cache. It never says "not revoked" and never "in time".

use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use curfew_core::wire::CheckRequest;
use curfew_core::{Times, TokenError};
use quick_cache::unsync::Cache;
use quick_cache::{Equivalent, Weighter};

use crate::cache::cache;

/// What is known of a proven token; all that a later request with the same text needs.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// The question that decides whether it is revoked.
    pub check: CheckRequest,
    /// When it is valid.
    pub times: Times,
    /// The identity headers' values, in the order of the configuration, or why this token has none that can be used: that
    /// too is worth remembering, for it was found after the signature was checked.
    pub identity: Result<Vec<Option<Arc<str>>>, TokenError>,
}

impl Facts {
    /// These facts, unless the token has an identity that cannot be told.
    pub(crate) fn usable(self: Rc<Self>) -> Result<Rc<Self>, TokenError> {
        self.identity.as_ref().map_err(|error| *error)?;
        Ok(self)
    }
}

/// Token texts and their facts, within a budget of bytes.
pub struct Proofs(Cache<Text<Box<[u8]>>, Rc<Facts>, ByBytes>);

/// A token's text as the cache hashes and compares it: owned, or borrowed to look it up.
struct Text<T>(T);

/// How much of a text's end is hashed, in bytes. It is the end of the signature, which is another for each token that was
/// proven, and nobody but its issuer can make two that end alike; what was not proven is never kept.
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

/// By words: WebAssembly has no instruction for comparing memory, and its `memcmp` goes byte by byte.
fn equal(one: &[u8], other: &[u8]) -> bool {
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    one.len() == other.len() && words.iter().map(word).eq(other_words.iter().map(word)) && rest.iter().eq(other_rest)
}

/// What an entry costs beside its texts: the structs, the allocator's rounding, its slots in the tables and those of an
/// entry that is remembered by its hash. Measured in the module as the growth of its memory under a flood.
const OVERHEAD_BYTES: u64 = 576;

/// For sizing the tables in advance; a usual token is longer than this.
const USUAL_ENTRY_BYTES: u64 = 1024;

#[derive(Clone)]
struct ByBytes;

impl Weighter<Text<Box<[u8]>>, Rc<Facts>> for ByBytes {
    fn weight(&self, text: &Text<Box<[u8]>>, facts: &Rc<Facts>) -> u64 {
        let identity: usize = facts.identity.iter().flatten().flatten().map(|value| value.len()).sum();
        OVERHEAD_BYTES.saturating_add(text.0.len() as u64).saturating_add(identity as u64)
    }
}

impl Proofs {
    /// An empty cache of `budget` bytes.
    pub fn new(budget: u64) -> Self {
        let entries = usize::try_from(budget / USUAL_ENTRY_BYTES).unwrap_or(usize::MAX);
        Self(cache(entries, budget, ByBytes))
    }

    /// The facts about exactly this text.
    pub fn get(&self, text: &[u8]) -> Option<Rc<Facts>> {
        self.0.get(&Text(text)).cloned()
    }

    /// Keeps facts, and forgets others if there is no room.
    pub fn insert(&mut self, text: &[u8], facts: Rc<Facts>) {
        self.0.insert(Text(text.into()), facts);
    }

    /// The bytes in use, as the budget counts them.
    pub fn bytes(&self) -> u64 {
        self.0.weight()
    }
}

#[cfg(test)]
mod tests {
    use curfew_core::{Keyspace, RevocationKey};

    use super::*;

    fn facts() -> Rc<Facts> {
        let id = [7; 16];
        Rc::new(Facts {
            check: CheckRequest {
                keyspace: Keyspace::from_bytes(id),
                token: RevocationKey::from_bytes(id),
                jti: None,
                session: None,
                subject: None,
                issued_at: None,
            },
            times: Times { issued_at: None, cutoff_time: None, not_before: None, expires_at: 1 },
            identity: Ok(Vec::new()),
        })
    }

    #[test]
    fn only_the_exact_text_is_found() {
        let mut proofs = Proofs::new(1 << 20);
        proofs.insert(b"a.b.c", facts());
        assert_eq!(proofs.get(b"a.b.c"), Some(facts()));
        for other in [&b"a.b.C"[..], b"a.b.c ", b"a.b", b""] {
            assert_eq!(proofs.get(other), None);
        }
    }

    #[test]
    fn texts_that_differ_in_one_byte_anywhere_are_two() {
        let text: Vec<u8> = (b'a'..=b'z').cycle().take(HASHED_BYTES + 13).collect();
        let mut proofs = Proofs::new(1 << 20);
        proofs.insert(&text, facts());
        assert_eq!(proofs.get(&text), Some(facts()));
        for place in 0..text.len() {
            let mut other = text.clone();
            other[place] ^= 0x80;
            assert_eq!(proofs.get(&other), None, "{place}");
            assert_eq!(proofs.get(&text[..place]), None, "{place}");
        }
    }
}
