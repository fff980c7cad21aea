//! What is noted of an issuer, when it is due by that, and what becomes of what it lists.

use curfew_core::PublishedKeys;
use serde_json::Value;
use tracing::warn;

use super::asked::Asked;
use crate::keys::Keys;
use crate::keys::demand::{PAUSE_MS, is_under_way};
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

impl Noted {
    /// True if what is noted was noted of another source. Before this source was asked for the first time, where the list is
    /// from says so.
    pub(super) fn is_from_elsewhere(&self, asked: &Asked) -> bool {
        let own = asked.source.name();
        match self.fetch.as_ref().and_then(|fetch| fetch.source_hash) {
            Some(hash) => hash != i64::from(own.hash),
            None => !self.source.is_empty() && self.source != own.shown,
        }
    }
}

impl Keys {
    /// What is noted of the issuer at this place.
    pub(super) async fn noted(&self, place: usize) -> Result<Noted, ReadFailure> {
        let row = self.shelf_row(place).await?;
        let (keys, fetch) = row.map_or((None, None), |row| (row.keys, row.fetch));
        let source = keys.as_ref().map(|keys| keys.texts.source.clone()).unwrap_or_default();
        Ok(Noted { fetch, has_keys: keys.is_some_and(|keys| !keys.is_forgotten()), source })
    }

    /// The file of the issuer at this place was read, or could not be.
    pub(super) fn read_file_ended(&self, place: usize, end: Result<(), &FetchFailure>) {
        self.file_reads.ended(place, end.map_err(|failure| (failure.code(), failure.to_string())), self.now_ms());
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

/// True if an issuer may be asked whose keys came from elsewhere before: what is noted is not about its present source. Nobody
/// asks it at `now_ms`, or has begun to within [`PAUSE_MS`]: a control plane may be started again and again.
pub(super) fn may_be_asked_anew(row: Option<&StoredFetch>, now_ms: i64) -> bool {
    let is_recent = |started: i64| now_ms.saturating_sub(started).saturating_abs() < PAUSE_MS;
    !row.is_some_and(|row| is_under_way(row, now_ms) || row.started_at_ms.is_some_and(is_recent))
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
    fn a_new_source_does_not_wait_for_what_was_noted_of_the_old_one() {
        let now = 1_800_000_000_000;
        let began = |ago: i64| StoredFetch {
            started_at_ms: Some(now - ago),
            finished_at_ms: Some(now - ago),
            claimed_until_ms: Some(now - ago + PAUSE_MS),
            next_at_ms: Some(now + 900_000),
            ..StoredFetch::default()
        };
        assert!(may_be_asked_anew(None, now) && may_be_asked_anew(Some(&StoredFetch::default()), now));
        for (ago, may) in [(0, false), (9_999, false), (10_000, true), (-9_999, false), (-10_000, true)] {
            assert_eq!(may_be_asked_anew(Some(&began(ago)), now), may, "{ago}");
        }
        let under_way = StoredFetch { finished_at_ms: None, claimed_until_ms: Some(now + 1), ..began(20_000) };
        assert!(!may_be_asked_anew(Some(&under_way), now));
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
