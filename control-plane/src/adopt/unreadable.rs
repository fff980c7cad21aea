//! Rows that hold no acceptable token, and which of them an operator has accepted. Pure.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::old_table::OldRow;
use crate::store::adoption::TextHash;

/// A row that holds no acceptable token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadableRow {
    /// The application's id of the row.
    pub id: i64,
    /// The stable name of the reason.
    pub reason: &'static str,
    /// Whether it is blocked, so that something would have to be revoked.
    pub blocked: bool,
    /// Whether an operator has accepted that it is blocked and that nothing is revoked for it, in this run or before.
    pub accepted: bool,
}

/// The unreadable rows of a portion. A blocked one is accepted together with its text.
#[derive(Default)]
pub(super) struct Unreadable {
    pub(super) rows: Vec<UnreadableRow>,
    /// The hashes of the blocked ones' texts.
    texts: HashMap<i64, TextHash>,
}

impl Unreadable {
    pub(super) fn add(&mut self, row: &OldRow, reason: &'static str, blocked: bool) {
        self.rows.push(UnreadableRow { id: row.id, reason, blocked, accepted: false });
        if blocked {
            self.texts.insert(row.id, hash(row.text.as_deref()));
        }
    }

    /// The ids of rows that may have been accepted.
    pub(super) fn blocked(&self) -> Vec<i64> {
        self.rows.iter().filter(|row| row.blocked).map(|row| row.id).collect()
    }

    /// Marks the rows that were accepted before with the text that they still hold and, if `accept`, all other blocked
    /// ones; returns the latter, which are to be noted.
    ///
    /// An id alone does not count. An application that puts another text into an accepted row has blocked another token.
    pub(super) fn accept(&mut self, before: &HashMap<i64, TextHash>, accept: bool) -> Vec<(i64, TextHash)> {
        let mut noted = Vec::new();
        for row in &mut self.rows {
            let Some(text) = self.texts.get(&row.id) else { continue };
            let is_known = before.get(&row.id) == Some(text);
            row.accepted = is_known || accept;
            if row.accepted && !is_known {
                noted.push((row.id, *text));
            }
        }
        noted
    }

    /// How many rows are accepted.
    pub(super) fn accepted(&self) -> u64 {
        u64::try_from(self.rows.iter().filter(|row| row.accepted).count()).unwrap_or(u64::MAX)
    }
}

/// The first bytes of a hash of a row's text; all values that are not text have the same one.
fn hash(text: Option<&str>) -> TextHash {
    let mut hash = Sha256::new();
    hash.update([u8::from(text.is_some())]);
    hash.update(text.unwrap_or_default());
    hash.finalize().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable(rows: &[(i64, &str, bool)]) -> Unreadable {
        let mut unreadable = Unreadable::default();
        for (id, text, blocked) in rows {
            unreadable.add(&OldRow { id: *id, text: Some((*text).to_owned()), is_block: None }, "claim", *blocked);
        }
        unreadable
    }

    #[test]
    fn a_row_is_accepted_with_its_text_and_another_text_is_told_again() {
        let rows = [(1, "a", true), (2, "b", true), (3, "c", false)];
        let mut first = unreadable(&rows);
        assert_eq!((first.blocked(), first.accept(&HashMap::new(), false).len(), first.accepted()), (vec![1, 2], 0, 0));
        let noted: HashMap<_, _> = first.accept(&HashMap::new(), true).into_iter().collect();
        assert_eq!((noted.len(), first.accepted()), (2, 2));
        let mut again = unreadable(&rows);
        assert_eq!((again.accept(&noted, false).len(), again.accepted()), (0, 2));
        let mut other = unreadable(&[(1, "a", true), (2, "another", true), (4, "b", true)]);
        assert_eq!((other.accept(&noted, false).len(), other.accepted()), (0, 1));
        assert_eq!(other.rows.iter().filter(|row| row.accepted).map(|row| row.id).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn what_is_no_text_is_not_the_empty_text() {
        assert_ne!(hash(None), hash(Some("")));
        assert_ne!(hash(Some("a")), hash(Some("b")));
    }
}
