//! The stored key sets, as plain values, and the rules by which a change of them is written. No I/O.
//!
//! What a source lists and what operators hold back is the business of the room `keys`. For the store, the set in force is a
//! text: a change of keys is a change of that text, and it takes a place in the log of revocations.

use curfew_core::IssuerId;

use crate::log::LogPosition;

/// The largest set of one issuer, in bytes of its text.
pub const MAX_SET_BYTES: usize = 256 << 10;

/// The most that the sets of all issuers may have together, in bytes of their texts: what a filter copies into its memory,
/// with some room for the rest of the answer ([`curfew_core::wire::MAX_KEYS_BYTES`]).
pub const MAX_ALL_BYTES: usize = 480 << 10;

/// What a reading showed, and the place in the log that it showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown<T> {
    /// The log's head.
    pub head: LogPosition,
    /// The newest change of keys; 0 for none.
    pub keys_seq: u64,
    /// The rest.
    pub what: T,
}

/// The keys of one issuer that are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOut {
    /// The issuer.
    pub issuer: String,
    /// The place in the log of the change that made them.
    pub seq: u64,
    /// The JWK Set, public members only, in one spelling.
    pub jwks: String,
}

/// What is stored of one issuer's keys, as a change may set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTexts {
    /// The JWK Set in force, in one spelling: two sets with the same keys have the same text. Empty if no keys are known any
    /// more, which is something else than a set without keys.
    pub jwks: String,
    /// The JWK Set that the source gave last.
    pub listed: String,
    /// What operators hold back, as JSON.
    pub holds: String,
    /// Where the set came from, for operators.
    pub source: String,
    /// When the source gave this list first, seconds of Unix time.
    pub listed_at: i64,
}

/// The row of one issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKeys {
    /// The issuer.
    pub issuer: String,
    /// The place in the log of the change that made the set in force.
    pub seq: u64,
    /// When that was, seconds of Unix time.
    pub changed_at: i64,
    /// The rest.
    pub texts: KeyTexts,
}

impl StoredKeys {
    /// True if no keys are known of the issuer any more.
    pub fn is_forgotten(&self) -> bool {
        self.texts.jwks.is_empty()
    }

    /// The row of an issuer of which no keys are known any more.
    fn forgotten(&self) -> KeyTexts {
        KeyTexts { jwks: String::new(), listed: NOTHING_LISTED.to_owned(), ..self.texts.clone() }
    }
}

/// The text of a list without keys.
const NOTHING_LISTED: &str = r#"{"keys":[]}"#;

/// What is stored of the questions to one issuer. Times are milliseconds of Unix time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredFetch {
    /// When the last question began.
    pub started_at_ms: Option<i64>,
    /// 32 bits of a hash over the source that it went to; `None` in a row that an older version wrote.
    pub source_hash: Option<i64>,
    /// When the last one for the sake of a token began.
    pub demanded_at_ms: Option<i64>,
    /// Until when the control plane that asks is waited for.
    pub claimed_until_ms: Option<i64>,
    /// When the last question ended, well or not.
    pub finished_at_ms: Option<i64>,
    /// When the last good answer came.
    pub good_at_ms: Option<i64>,
    /// When the next question is due.
    pub next_at_ms: Option<i64>,
    /// The name that the issuer gave to its last list. One that is too long is not kept.
    pub etag: Option<String>,
    /// For how many seconds the issuer said that its list is good.
    pub fresh_for: Option<i64>,
    /// Failures since the last good answer.
    pub failures: u64,
    /// Why the last question failed, as a code. It is cut to what the column holds, as the next one is.
    pub error_code: Option<String>,
    /// The same, for people.
    pub error: Option<String>,
}

/// All that is stored of one issuer. At least one of the two is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShelfRow {
    /// The issuer by its id; the row of a fetch has no name.
    pub issuer: IssuerId,
    /// Its keys, unless there are none yet.
    pub keys: Option<StoredKeys>,
    /// The questions to it, if it was asked.
    pub fetch: Option<StoredFetch>,
}

/// What to do with an issuer's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStep {
    /// Nothing.
    Keep,
    /// Nothing, because what was asked for cannot be done.
    Refuse(KeyRefusal),
    /// Set the row.
    Put(KeyTexts),
    /// No keys are known of the issuer any more. What operators hold back is remembered.
    Forget,
}

/// Why a change of keys cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRefusal {
    /// The issuer has no keys yet.
    NotFetched,
    /// The issuer has no such key.
    UnknownKey,
    /// The row was written by a version that this one does not understand.
    Unreadable,
}

/// A change of one issuer's row. It is carried out within a transaction, and again if that is not committed, so it depends on
/// nothing but the row.
pub type ChangeKeys = Box<dyn Fn(Option<&StoredKeys>) -> KeyStep + Send + Sync>;

/// A change of what is stored of the questions to one issuer; `None` for no change. It may be carried out again, too.
pub type ChangeFetch = Box<dyn Fn(Option<&StoredFetch>) -> Option<StoredFetch> + Send + Sync>;

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysChange {
    /// The set in force is what it was, and the log has not moved.
    Same,
    /// Another set is in force, under a place of its own in the log. The texts before and after; `None` for no row.
    Changed {
        /// The set that was in force.
        before: Option<String>,
        /// The set that is in force now.
        after: Option<String>,
    },
    /// Nothing was written, because another question to the issuer has begun since the one that brought the list.
    Overtaken,
    /// There is no room for a set of so many bytes. Nothing was written: the last set stays in force.
    NoRoom {
        /// The size of the larger of its texts.
        bytes: usize,
    },
    /// It cannot be made.
    Refused(KeyRefusal),
}

/// What a change writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyWrite {
    Nothing,
    /// The row; `true` if the set in force is another one.
    Put(KeyTexts, bool),
}

/// What a step writes, and what it is called. `others` is the size of the other issuers' sets in force.
pub(crate) fn judge(stored: Option<&StoredKeys>, step: KeyStep, others: usize) -> (KeyWrite, KeysChange) {
    let before = stored.filter(|stored| !stored.is_forgotten()).map(|stored| stored.texts.jwks.clone());
    match step {
        KeyStep::Keep => (KeyWrite::Nothing, KeysChange::Same),
        KeyStep::Refuse(refusal) => (KeyWrite::Nothing, KeysChange::Refused(refusal)),
        KeyStep::Forget => match stored.filter(|_| before.is_some()) {
            None => (KeyWrite::Nothing, KeysChange::Same),
            Some(stored) => (KeyWrite::Put(stored.forgotten(), true), KeysChange::Changed { before, after: None }),
        },
        KeyStep::Put(texts) if stored.is_some_and(|stored| stored.texts == texts) => {
            (KeyWrite::Nothing, KeysChange::Same)
        }
        KeyStep::Put(texts) if !has_room(stored, &texts, others) => {
            (KeyWrite::Nothing, KeysChange::NoRoom { bytes: texts.jwks.len().max(texts.listed.len()) })
        }
        // With an empty text, no keys are known before and after.
        KeyStep::Put(texts) if before.as_deref().unwrap_or_default() == texts.jwks => {
            (KeyWrite::Put(texts, false), KeysChange::Same)
        }
        KeyStep::Put(texts) => {
            let change = KeysChange::Changed { before, after: Some(texts.jwks.clone()) };
            (KeyWrite::Put(texts, true), change)
        }
    }
}

/// True if a set may come in force. One that does not grow always may: it must be possible to take a key away when there is no
/// room.
fn has_room(stored: Option<&StoredKeys>, texts: &KeyTexts, others: usize) -> bool {
    let grows = stored.is_none_or(|stored| {
        texts.jwks.len() > stored.texts.jwks.len() || texts.listed.len() > stored.texts.listed.len()
    });
    let largest = texts.jwks.len().max(texts.listed.len());
    !grows || (largest <= MAX_SET_BYTES && others.saturating_add(texts.jwks.len()) <= MAX_ALL_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(jwks: &str) -> KeyTexts {
        KeyTexts { jwks: jwks.into(), listed: jwks.into(), holds: "{}".into(), source: "file".into(), listed_at: 5 }
    }

    fn stored(jwks: &str) -> StoredKeys {
        StoredKeys { issuer: "i".into(), seq: 3, changed_at: 5, texts: texts(jwks) }
    }

    #[test]
    fn only_another_set_in_force_is_a_change() {
        let row = stored("a");
        let changed = |before: Option<&str>, after: Option<&str>| KeysChange::Changed {
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let first = judge(None, KeyStep::Put(texts("a")), 0);
        assert_eq!(first, (KeyWrite::Put(texts("a"), true), changed(None, Some("a"))));
        assert_eq!(judge(Some(&row), KeyStep::Put(texts("a")), 0), (KeyWrite::Nothing, KeysChange::Same));
        let noted = KeyTexts { holds: "{1}".into(), ..texts("a") };
        let outcome = judge(Some(&row), KeyStep::Put(noted.clone()), 0);
        assert_eq!(outcome, (KeyWrite::Put(noted, false), KeysChange::Same));
        let other = judge(Some(&row), KeyStep::Put(texts("b")), 0);
        assert_eq!(other, (KeyWrite::Put(texts("b"), true), changed(Some("a"), Some("b"))));
        let forgotten = KeyTexts { jwks: String::new(), listed: NOTHING_LISTED.into(), ..texts("a") };
        let outcome = judge(Some(&row), KeyStep::Forget, 0);
        assert_eq!(outcome, (KeyWrite::Put(forgotten.clone(), true), changed(Some("a"), None)));
        assert_eq!(judge(None, KeyStep::Forget, 0), (KeyWrite::Nothing, KeysChange::Same));
        let held = KeyTexts { jwks: String::new(), holds: "{1}".into(), ..texts("a") };
        let outcome = judge(None, KeyStep::Put(held.clone()), 0);
        assert_eq!(outcome, (KeyWrite::Put(held, false), KeysChange::Same), "what is held back before the first list");
        let row = StoredKeys { texts: forgotten, ..row };
        assert_eq!(judge(Some(&row), KeyStep::Forget, 0), (KeyWrite::Nothing, KeysChange::Same));
        let again = judge(Some(&row), KeyStep::Put(texts("a")), 0);
        assert_eq!(again, (KeyWrite::Put(texts("a"), true), changed(None, Some("a"))));
        assert_eq!(judge(Some(&row), KeyStep::Keep, 0), (KeyWrite::Nothing, KeysChange::Same));
    }

    #[test]
    fn what_has_no_room_does_not_come_in_force_and_what_shrinks_always_does() {
        let sized = |bytes| texts(&"x".repeat(bytes));
        let writes = |stored: Option<&StoredKeys>, texts, others| judge(stored, KeyStep::Put(texts), others).0;
        assert!(matches!(writes(None, sized(MAX_SET_BYTES), 0), KeyWrite::Put(..)));
        let refused = judge(None, KeyStep::Put(sized(MAX_SET_BYTES + 1)), 0);
        assert_eq!(refused, (KeyWrite::Nothing, KeysChange::NoRoom { bytes: MAX_SET_BYTES + 1 }));
        assert!(matches!(writes(None, sized(10), MAX_ALL_BYTES - 10), KeyWrite::Put(..)));
        assert_eq!(writes(None, sized(11), MAX_ALL_BYTES - 10), KeyWrite::Nothing);
        let large = StoredKeys { texts: sized(MAX_SET_BYTES + 9), ..stored("") };
        assert!(matches!(writes(Some(&large), sized(MAX_SET_BYTES + 8), MAX_ALL_BYTES), KeyWrite::Put(..)));
        assert_eq!(writes(Some(&stored("ab")), sized(3), MAX_ALL_BYTES), KeyWrite::Nothing);
    }
}
