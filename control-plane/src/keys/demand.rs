//! A token names a key that nobody here knows: the issuer may have published it since.
//!
//! First this process looks at what the other control planes know, and then it asks the issuer, but not if any control plane
//! has asked within [`PAUSE_MS`]. Many requests share one question. So a flood of tokens with made-up keys costs a question in
//! ten seconds, and a glance at the database ten times a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use curfew_core::{IssuerId, KeySets};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use tokio::time::{sleep, timeout};

use super::counters::IssuerLabel;
use super::{KeyIssuer, Keys};
use crate::store::command::Unavailable;
use crate::store::keys::StoredFetch;

/// The shortest time between two questions to an issuer for a key that a token names, in milliseconds.
pub const PAUSE_MS: i64 = 10_000;

/// The same between two glances at the database.
const GLANCE_PAUSE: Duration = Duration::from_millis(100);

/// The longest time for which an issuer that failed is left alone: the largest `max_interval`.
const LONGEST_WAIT_MS: i64 = 24 * 3600 * 1000;

/// How long a request waits for the answer: as long as a fetch may take by default. The question goes on without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a control plane looks whether the question of another one has brought something.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// The most requests that wait for one issuer.
const WAITING: usize = 1024;

/// What has been done of late for each issuer, in the policy's order.
pub(super) struct Demands(Vec<Slot>);

struct Slot {
    waiting: Semaphore,
    last: Arc<Mutex<Last>>,
}

#[derive(Default)]
struct Last {
    glanced: Option<Instant>,
    asked: Option<Instant>,
    /// When the last question ended, with or without new keys.
    ended: Option<Instant>,
}

impl Demands {
    pub(super) fn of(issuers: usize) -> Self {
        let slot = |_| Slot { waiting: Semaphore::new(WAITING), last: Arc::default() };
        Self((0..issuers).map(slot).collect())
    }
}

/// The row of an issuer that is asked from `now_ms` on. The time of the beginning also names the question, so no two
/// questions have the same.
pub fn claimed(row: Option<&StoredFetch>, now_ms: i64) -> StoredFetch {
    let last = row.and_then(|row| row.started_at_ms);
    let began = last.map_or(now_ms, |last| now_ms.max(last.saturating_add(1)));
    let until = Some(now_ms.saturating_add(PAUSE_MS));
    StoredFetch { started_at_ms: Some(began), claimed_until_ms: until, ..row.cloned().unwrap_or_default() }
}

/// The same for the sake of a token.
pub(super) fn demanded(row: Option<&StoredFetch>, now_ms: i64) -> StoredFetch {
    StoredFetch { demanded_at_ms: Some(now_ms), ..claimed(row, now_ms) }
}

/// The row of a question to the source with this hash. What was noted of another source does not count for it: neither the name
/// of its list nor its failures.
fn to_source(row: StoredFetch, source_hash: Option<i64>) -> StoredFetch {
    let is_another = row.source_hash.is_some() && row.source_hash != source_hash;
    match is_another {
        false => StoredFetch { source_hash, ..row },
        true => StoredFetch {
            source_hash,
            etag: None,
            fresh_for: None,
            failures: 0,
            error_code: None,
            error: None,
            next_at_ms: None,
            ..row
        },
    }
}

/// True if an issuer may be asked at `now_ms` for the sake of a token: nobody has asked it for the sake of one within
/// [`PAUSE_MS`]. Questions that were due do not count, or a key that is published right after one would be unknown until
/// the next. Nor is it asked while it is being asked, or before the time that was noted when it failed. A time in the future is
/// that of a wrong clock, unless it is in the near future.
pub fn may_be_asked(row: Option<&StoredFetch>, now_ms: i64) -> bool {
    let is_recent = |started: i64| now_ms.saturating_sub(started).saturating_abs() < PAUSE_MS;
    let is_far = |next: i64| next.saturating_sub(now_ms) > LONGEST_WAIT_MS;
    let waits =
        |row: &StoredFetch| row.failures > 0 && row.next_at_ms.is_some_and(|next| next > now_ms && !is_far(next));
    let is_barred = |row: &StoredFetch| is_under_way(row, now_ms) || waits(row);
    !row.is_some_and(|row| is_barred(row) || row.demanded_at_ms.is_some_and(is_recent))
}

/// True if a control plane asks the issuer at this moment.
pub(super) fn is_under_way(row: &StoredFetch, now_ms: i64) -> bool {
    let has_ended = row.finished_at_ms >= row.started_at_ms;
    !has_ended && row.claimed_until_ms.is_some_and(|until| until > now_ms)
}

impl Keys {
    /// Looks for keys that are newer than those that this process proves tokens with, for a token of the issuer at this place
    /// whose key it does not know. After it the token is proven once more, by what there is then.
    pub async fn demand(self: &Arc<Self>, place: usize) {
        let Some(slot) = self.demands.0.get(place) else { return };
        let Ok(_waiting) = slot.waiting.try_acquire() else { return };
        let _ = timeout(PATIENCE, self.demand_in_turn(slot, place)).await;
    }

    async fn demand_in_turn(self: &Arc<Self>, slot: &Slot, place: usize) {
        let arrived = Instant::now();
        let last = Arc::clone(&slot.last).lock_owned().await;
        let is_served = last.ended.is_some_and(|ended| ended >= arrived);
        if is_served || last.glanced.is_some_and(|glanced| glanced.elapsed() < GLANCE_PAUSE) {
            return;
        }
        // A task of its own: the caller may go away, and others wait for the same.
        let keys = Arc::clone(self);
        let _ = tokio::spawn(async move { keys.look_for_newer(place, last).await }).await;
    }

    async fn look_for_newer(&self, place: usize, mut last: OwnedMutexGuard<Last>) {
        let before = self.current();
        last.glanced = Some(Instant::now());
        self.refresh().await;
        let pause = Duration::from_millis(PAUSE_MS.unsigned_abs());
        if self.has_others_than(&before, place) || last.asked.is_some_and(|asked| asked.elapsed() < pause) {
            return;
        }
        if self.ask_or_wait(place, &before).await {
            last.asked = Some(Instant::now());
        }
        self.refresh().await;
        last.ended = Some(Instant::now());
    }

    /// Asks the issuer, or waits for another question to it. Nothing if the issuer was asked a moment ago. True if it was asked
    /// from here.
    async fn ask_or_wait(&self, place: usize, before: &KeySets) -> bool {
        let Some(fetch) = &self.fetch else { return false };
        let demand = |row: Option<&StoredFetch>, now_ms| may_be_asked(row, now_ms).then(|| demanded(row, now_ms));
        if let Ok(Some(began_ms)) = self.begin(place, demand).await {
            self.counters.demands.get_or_create(&IssuerLabel { issuer: place }).inc();
            // Why it failed is told, counted and stored by what asks.
            let _ = fetch(place, began_ms).await;
            return true;
        }
        while self.is_asked_elsewhere(place).await && !self.has_others_than(before, place) {
            sleep(LOOK_PAUSE).await;
            self.refresh().await;
        }
        false
    }

    async fn is_asked_elsewhere(&self, place: usize) -> bool {
        let Some(issuer) = self.issuers.get(place) else { return false };
        let id = IssuerId::of(&issuer.name);
        let Ok(shelves) = self.store.shelves().await else { return false };
        let row = shelves.what.into_iter().find(|row| row.issuer == id).and_then(|row| row.fetch);
        row.is_some_and(|row| is_under_way(&row, self.now_ms()))
    }

    /// True if the set of the issuer at this place is not what it was.
    fn has_others_than(&self, before: &KeySets, place: usize) -> bool {
        let now = self.current();
        match (before.get(place), now.get(place)) {
            (Some(before), Some(now)) => !std::ptr::eq(before, now),
            _ => false,
        }
    }

    /// Notes that this process asks the issuer at this place from now on, with the row that `claim` makes of what is noted;
    /// `None` if it may not ask. Returns the time that names the question.
    pub(super) async fn begin(
        &self,
        place: usize,
        claim: impl Fn(Option<&StoredFetch>, i64) -> Option<StoredFetch> + Send + Sync + 'static,
    ) -> Result<Option<i64>, Unavailable> {
        let (now_ms, name) = (self.now_ms(), Arc::new(AtomicI64::new(0)));
        let source_hash = self.issuers.get(place).and_then(KeyIssuer::source_hash);
        let named = Arc::clone(&name);
        let claim = move |row: Option<&StoredFetch>| {
            let row = to_source(claim(row, now_ms)?, source_hash);
            // A transaction may be tried again; what the last one wrote counts.
            named.store(row.started_at_ms.unwrap_or_default(), Ordering::SeqCst);
            Some(row)
        };
        let noted = self.note_fetch(place, Box::new(claim)).await?;
        Ok(noted.then(|| name.load(Ordering::SeqCst)))
    }

    /// The wall clock, in milliseconds of Unix time, to the second.
    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now().saturating_mul(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_claimed_once_in_ten_seconds_whichever_clock_is_ahead() {
        let now = 1_800_000_000_000;
        let first = demanded(None, now);
        assert_eq!((first.started_at_ms, first.claimed_until_ms), (Some(now), Some(now + PAUSE_MS)));
        let due = claimed(None, now);
        assert!(!may_be_asked(Some(&due), now), "it is being asked");
        let due = StoredFetch { finished_at_ms: due.started_at_ms, ..due };
        assert!(may_be_asked(Some(&due), now), "a question that was due does not count");
        let ended = StoredFetch { finished_at_ms: first.started_at_ms, ..first.clone() };
        for (later, may) in [(0, false), (9_999, false), (-9_999, false), (10_000, true), (-10_000, true)] {
            assert_eq!(may_be_asked(Some(&ended), now + later), may, "{later}");
        }
        let failed = StoredFetch { failures: 1, next_at_ms: Some(now + 600_000), ..ended };
        assert!(!may_be_asked(Some(&failed), now + 599_999) && may_be_asked(Some(&failed), now + 600_000));
        let known = StoredFetch { etag: Some("e".into()), failures: 3, ..first };
        let again = claimed(Some(&known), now + 20_000);
        assert_eq!((again.etag, again.failures, again.started_at_ms), (Some("e".into()), 3, Some(now + 20_000)));
    }

    #[test]
    fn no_two_questions_have_one_name() {
        let first = claimed(None, 1_000);
        assert_eq!(claimed(Some(&first), 1_000).started_at_ms, Some(1_001));
        assert_eq!(claimed(Some(&first), 999).started_at_ms, Some(1_001), "another clock is behind");
    }

    #[test]
    fn neither_the_name_of_a_list_nor_failures_count_for_another_source() {
        let noted = |source_hash| StoredFetch {
            source_hash,
            etag: Some("e".into()),
            failures: 9,
            next_at_ms: Some(7),
            ..StoredFetch::default()
        };
        let kept = (Some("e"), 9, Some(7));
        for (noted, left) in [(noted(Some(1)), kept), (noted(None), kept), (noted(Some(2)), (None, 0, None))] {
            let row = to_source(noted.clone(), Some(1));
            assert_eq!(row.source_hash, Some(1));
            assert_eq!((row.etag.as_deref(), row.failures, row.next_at_ms), left, "{noted:?}");
        }
    }

    #[test]
    fn a_question_is_under_way_until_it_has_ended_or_its_claim_is_over() {
        let row = claimed(None, 1_000_000);
        assert!(is_under_way(&row, 1_000_001));
        assert!(!is_under_way(&row, 1_000_000 + PAUSE_MS));
        assert!(!is_under_way(&StoredFetch { finished_at_ms: Some(1_000_500), ..row.clone() }, 1_000_600));
        assert!(is_under_way(&StoredFetch { finished_at_ms: Some(999_000), ..row }, 1_000_600));
        assert!(!is_under_way(&StoredFetch::default(), 1_000_600));
    }
}
