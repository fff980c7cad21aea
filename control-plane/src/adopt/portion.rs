//! Decides what to do with some rows of the application's table, as they were read. Pure.

use std::collections::HashMap;

use curfew_core::{Policy, RevocationKey};

use super::blocked::is_blocked;
use super::failure::SourceFailure;
use super::judge::{Judged, judge};
use super::old_table::{OldRow, is_blank};
use super::tally::Tally;
use super::unreadable::Unreadable;
use crate::store::adoption::{Found, Known, Mark, TextHash};

/// Some rows, and what to do with them.
#[derive(Default)]
pub(super) struct Portion<'r> {
    /// The counts of what was found. What becomes of the tokens is counted later.
    pub(super) tally: Tally,
    /// The tokens to take over or revoke, each of them once.
    pub(super) found: Vec<Found>,
    /// The rows to note as taken over.
    pub(super) marks: Vec<(i64, RevocationKey)>,
    /// The tokens of those rows that have not expired.
    pub(super) living: Vec<RevocationKey>,
    /// Raw tokens that may be blanked once their rows are noted.
    pub(super) texts: Vec<(i64, &'r str)>,
    /// The rows that hold no acceptable token.
    pub(super) unreadable: Unreadable,
    /// Those of them that are accepted now.
    pub(super) accepted: Vec<(i64, TextHash)>,
    /// The index of each token in `found`.
    places: HashMap<RevocationKey, usize>,
}

/// What rows are judged by.
#[derive(Clone, Copy)]
pub(super) struct Measure<'p> {
    /// Which tokens are accepted.
    pub(super) policy: &'p Policy,
    /// The number of seconds after its end until a token has expired by every clock.
    pub(super) rest: i64,
    /// The time by the clock that is furthest behind.
    pub(super) now: i64,
}

impl<'r> Portion<'r> {
    /// Judges rows, given the notes of earlier runs about them.
    ///
    /// # Errors
    ///
    /// The first row whose `is_block` means neither yes nor no.
    pub(super) fn of(
        rows: &'r [OldRow],
        marks: &HashMap<i64, Mark>,
        measure: Measure<'_>,
    ) -> Result<Self, SourceFailure> {
        let mut portion = Self::default();
        for row in rows {
            portion.add(row, marks.get(&row.id).copied(), measure)?;
        }
        Ok(portion)
    }

    /// True if there is nothing to write.
    pub(super) fn is_done(&self) -> bool {
        self.found.is_empty() && self.marks.is_empty() && self.accepted.is_empty()
    }

    /// Settles which unreadable rows are accepted: those that were `before`, and all if the operator says so.
    pub(super) fn accept(&mut self, before: &HashMap<i64, TextHash>, accept: bool) {
        self.accepted = self.unreadable.accept(before, accept);
        self.tally.accepted = self.unreadable.accepted();
    }

    fn add(&mut self, row: &'r OldRow, mark: Option<Mark>, measure: Measure<'_>) -> Result<(), SourceFailure> {
        let blocked = is_blocked(row.is_block.as_deref()).ok_or_else(|| {
            let problem =
                format!("is_block says neither yes nor no in the row {} of its table user_token_logs", row.id);
            SourceFailure::Unusable(problem)
        })?;
        let text = row.text.as_deref();
        let gone = is_gone(row);
        let marked = mark.map(|mark| mark.token);
        self.tally.rows += 1;
        match (judge(measure.policy, measure.rest, text, measure.now), mark) {
            // The text is gone, and the mark says which token it was.
            (Judged::Unreadable(_), Some(Mark { token, known: Known::Alive })) if gone && blocked => {
                self.take(Found { token, record: None, blocked });
            }
            (Judged::Unreadable(_), Some(_)) if gone => self.tally.before += 1,
            (Judged::Unreadable(_), None) if text.is_some_and(|text| is_blank(row.id, text)) => {
                self.unreadable(row, "blanked_before", blocked);
            }
            // Whatever was noted of the row before: its text may be another token than that one.
            (Judged::Unreadable(reason), _) => self.unreadable(row, reason, blocked),
            (Judged::Expired(token), _) => {
                self.may_be_blanked(row);
                if marked == Some(token) {
                    self.tally.before += 1;
                } else {
                    self.tally.expired += 1;
                    self.marks.push((row.id, token));
                }
            }
            (Judged::Living(record), mark) => {
                self.may_be_blanked(row);
                let token = record.keys.token;
                let is_marked = marked == Some(token);
                if is_marked && mark.is_some_and(|mark| mark.known == Known::Blocked || !blocked) {
                    self.tally.before += 1;
                    return Ok(());
                }
                if !is_marked {
                    self.marks.push((row.id, token));
                    self.living.push(token);
                }
                self.take(Found { token, record: Some(record), blocked });
            }
        }
        Ok(())
    }

    fn unreadable(&mut self, row: &OldRow, reason: &'static str, blocked: bool) {
        self.tally.unreadable(reason, blocked);
        self.unreadable.add(row, reason, blocked);
    }

    /// Of several rows with one token, a blocked one wins.
    fn take(&mut self, found: Found) {
        let place = *self.places.entry(found.token).or_insert(self.found.len());
        match self.found.get_mut(place) {
            Some(before) => {
                before.blocked |= found.blocked;
                before.record = before.record.take().or(found.record);
            }
            None => self.found.push(found),
        }
    }

    fn may_be_blanked(&mut self, row: &'r OldRow) {
        self.texts.extend(row.text.as_deref().map(|text| (row.id, text)));
    }

    /// Counts the noted tokens that have not expired, given which of all tokens were new.
    pub(super) fn count_living(&mut self, mut is_new: impl FnMut(RevocationKey) -> bool) {
        for token in &self.living {
            *(if is_new(*token) { &mut self.tally.taken } else { &mut self.tally.duplicates }) += 1;
        }
    }
}

/// True if a row's token was removed and nothing else was put in its place: the text is empty, or the blank of an
/// adoption.
fn is_gone(row: &OldRow) -> bool {
    row.text.as_deref().map(str::trim).is_some_and(|text| text.is_empty() || is_blank(row.id, text))
}

#[cfg(test)]
mod tests {
    use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn policy() -> Policy {
        let issuer = json!({"issuer": "https://issuer.example.com", "secret": "0".repeat(32)});
        Policy::from_document(&json!({"issuers": [issuer]})).unwrap().0
    }

    fn text(number: u32, expires_at: i64) -> String {
        let encode = |text: String| Base64UrlSafeNoPadding::encode_to_string(text).unwrap();
        let (jti, issued_at) = (number.to_string(), expires_at - 10);
        let claims = json!({"iss": "https://issuer.example.com", "jti": jti, "iat": issued_at, "exp": expires_at});
        format!("{}.{}.AAAA", encode(json!({"alg": "HS256"}).to_string()), encode(claims.to_string()))
    }

    fn id(text: &str) -> RevocationKey {
        RevocationKey::token(text.strip_suffix(".AAAA").unwrap().as_bytes())
    }

    fn row(id: i64, text: &str, is_block: &str) -> OldRow {
        OldRow { id, text: Some(text.to_owned()), is_block: Some(is_block.to_owned()) }
    }

    fn portion<'r>(rows: &'r [OldRow], marks: &[(i64, Mark)]) -> Portion<'r> {
        let marks = marks.iter().copied().collect();
        Portion::of(rows, &marks, Measure { policy: &policy(), rest: 67, now: NOW }).unwrap()
    }

    fn found(portion: &Portion<'_>) -> Vec<(RevocationKey, bool, bool)> {
        portion.found.iter().map(|found| (found.token, found.record.is_some(), found.blocked)).collect()
    }

    #[test]
    fn rows_with_one_token_are_one_token_and_a_blocked_one_wins() {
        let token = text(1, NOW);
        let rows = [row(1, &token, "0"), row(2, &token, "1"), row(3, &token, "0")];
        let portion = portion(&rows, &[]);
        assert_eq!(found(&portion), [(id(&token), true, true)]);
        assert_eq!(portion.marks, [1, 2, 3].map(|row| (row, id(&token))));
    }

    #[test]
    fn rows_whose_text_is_gone_and_that_are_blocked_now_are_one_token_too() {
        let token = text(1, NOW);
        let mark = Mark { token: id(&token), known: Known::Alive };
        let rows = [row(1, "curfew:1", "1"), row(2, "", "yes")];
        let portion = portion(&rows, &[(1, mark), (2, mark)]);
        assert_eq!(found(&portion), [(id(&token), false, true)]);
        assert!(portion.marks.is_empty() && portion.texts.is_empty());
    }

    #[test]
    fn an_unreadable_text_in_the_place_of_a_noted_token_is_counted_as_unreadable() {
        let old = text(1, NOW);
        let mut rows = vec![row(1, "not a token", "1"), row(2, "curfew:7", "0"), row(3, "a.b.c", "0")];
        rows.push(OldRow { id: 4, text: None, is_block: Some("1".to_owned()) });
        for known in [Known::Alive, Known::Blocked, Known::No] {
            let marks = [1, 2, 3, 4].map(|row| (row, Mark { token: id(&old), known }));
            let portion = portion(&rows, &marks);
            assert!(portion.is_done() && portion.texts.is_empty(), "{known:?}");
            let unreadable = [("encoding", 1), ("not_compact", 2), ("not_text", 1)].into();
            let expected = Tally { rows: 4, unreadable, unreadable_blocked: 2, ..Tally::default() };
            assert_eq!(portion.tally, expected, "{known:?}");
        }
    }

    #[test]
    fn rows_that_are_noted_and_unchanged_are_done() {
        let (living, expired) = (text(1, NOW), text(2, 1000));
        let mark = |text: &str, known| Mark { token: id(text), known };
        let rows = [
            row(1, &living, "0"),
            row(2, &living, "1"),
            row(3, &expired, "1"),
            row(4, "curfew:4", "0"),
            row(5, "curfew:5", "1"),
        ];
        let marks = [
            (1, mark(&living, Known::Alive)),
            (2, mark(&living, Known::Blocked)),
            (3, mark(&expired, Known::No)),
            (4, mark(&living, Known::Alive)),
            (5, mark(&expired, Known::No)),
        ];
        let portion = portion(&rows, &marks);
        assert!(portion.is_done());
        assert_eq!(portion.tally, Tally { rows: 5, before: 5, ..Tally::default() });
        // The rows may still hold raw tokens.
        assert_eq!(portion.texts.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_token_that_took_the_place_of_another_is_taken_over_too() {
        let (old, new) = (text(1, NOW), text(2, NOW));
        let rows = [row(1, &new, "0")];
        let portion = portion(&rows, &[(1, Mark { token: id(&old), known: Known::Blocked })]);
        assert_eq!(found(&portion), [(id(&new), true, false)]);
        assert_eq!(portion.marks, [(1, id(&new))]);
    }

    #[test]
    fn a_row_that_is_neither_blocked_nor_not_is_refused() {
        let rows = [row(9, "", "perhaps")];
        let measure = Measure { policy: &policy(), rest: 67, now: NOW };
        let refused = Portion::of(&rows, &HashMap::new(), measure).err().unwrap();
        assert!(refused.to_string().contains("is_block says neither yes nor no in the row 9"), "{refused}");
    }
}
