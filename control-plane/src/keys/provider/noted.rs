//! What is noted of an issuer, when it is due by that, and what becomes of what it lists.

use curfew_core::PublishedKeys;
use serde_json::Value;
use tracing::warn;

use super::asked::Asked;
use crate::keys::Keys;
use crate::keys::demand::is_under_way;
use crate::keys::fetch::{Cause, FetchFailure};
use crate::store::ReadFailure;
use crate::store::keys::{KeyStep, KeysChange, StoredFetch};

/// What is noted of an issuer.
pub(super) struct Noted {
    pub(super) fetch: Option<StoredFetch>,
    pub(super) has_keys: bool,
    /// Where the list is from.
    pub(super) source: String,
}

impl Keys {
    /// What is noted of the issuer at this place.
    pub(super) async fn noted(&self, place: usize) -> Result<Noted, ReadFailure> {
        let row = self.shelf_row(place).await?;
        let (keys, fetch) = row.map_or((None, None), |row| (row.keys, row.fetch));
        let source = keys.as_ref().map(|keys| keys.texts.source.clone()).unwrap_or_default();
        Ok(Noted { fetch, has_keys: keys.is_some_and(|keys| !keys.is_forgotten()), source })
    }

    /// The keys in what an issuer gave. What is left out is told.
    pub(super) fn listed(&self, place: usize, asked: &Asked, jwks: &Value) -> Result<PublishedKeys, FetchFailure> {
        let Some(issuer) = self.issuers().get(place) else { return Err(asked.failure(Cause::NotJwks)) };
        let read = PublishedKeys::read(jwks, &issuer.algorithms).map_err(|_| asked.failure(Cause::NotJwks));
        let (keys, unused) = read?;
        self.tell_unused(issuer, &unused);
        if keys.is_empty() { Err(asked.failure(Cause::NoUsableKey)) } else { Ok(keys) }
    }

    /// Forgets the set of an issuer that has given no list for longer than it may be kept, unless it was asked again since the
    /// question of this name.
    pub(super) async fn forget(&self, place: usize, asked_ms: Option<i64>) {
        let Some(issuer) = self.issuers().get(place) else { return };
        let forgotten = self.change_asked_for(place, asked_ms, Box::new(|_| KeyStep::Forget)).await;
        if forgotten.is_ok_and(|committed| matches!(committed.outcome(), KeysChange::Changed { .. })) {
            warn!(
                issuer = issuer.shown(),
                "an issuer has not given its keys for as long as they may be kept: they are in force no longer"
            );
        }
    }
}

/// In how many milliseconds the issuer is to be asked; 0 for now. A time that is further ahead than any wait was noted by a
/// wrong clock.
pub(super) fn due_in(row: Option<&StoredFetch>, now_ms: i64, longest_ms: i64) -> i64 {
    let Some(row) = row else { return 0 };
    if is_under_way(row, now_ms) {
        return row.claimed_until_ms.map_or(0, |until| until.saturating_sub(now_ms).max(1));
    }
    let Some(next) = row.next_at_ms else { return 0 };
    let left = next.saturating_sub(now_ms);
    if left > longest_ms { 0 } else { left.max(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_due_by_what_is_noted_and_never_later_than_the_longest_wait() {
        let now = 1_800_000_000_000;
        let noted = |next: i64| StoredFetch { next_at_ms: Some(now + next), ..StoredFetch::default() };
        assert_eq!(due_in(None, now, 900_000), 0, "it was never asked");
        assert_eq!(due_in(Some(&StoredFetch::default()), now, 900_000), 0);
        for (next, left) in [(-5_000, 0), (0, 0), (5_000, 5_000), (900_000, 900_000), (900_001, 0)] {
            assert_eq!(due_in(Some(&noted(next)), now, 900_000), left, "{next}");
        }
    }

    #[test]
    fn an_issuer_that_is_being_asked_is_not_due() {
        let now = 1_800_000_000_000;
        let claimed = StoredFetch {
            started_at_ms: Some(now - 1_000),
            claimed_until_ms: Some(now + 9_000),
            next_at_ms: Some(now - 1_000),
            ..StoredFetch::default()
        };
        assert_eq!(due_in(Some(&claimed), now, 900_000), 9_000);
        assert_eq!(due_in(Some(&claimed), now + 9_000, 900_000), 0, "whoever asked is gone");
        let ended = StoredFetch { finished_at_ms: Some(now - 500), ..claimed };
        assert_eq!(due_in(Some(&ended), now, 900_000), 0);
    }
}
