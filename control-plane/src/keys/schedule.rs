//! When an issuer's keys are fetched next. Values only: the caller brings the time, the outcome and the chance.
//!
//! Times are milliseconds of Unix time, because several control planes share them.

use std::time::Duration;

use super::source::FetchTerms;

/// The interval for a provider that says nothing about how long its keys are fresh.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// The waits after failures: the first, doubled each time, up to the longest.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// How the last fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchEnd {
    /// It brought a set, or the answer that the set is the same.
    Good {
        /// For how long the answer is fresh, if the provider says so.
        fresh_for: Option<Duration>,
    },
    /// It failed.
    Failed {
        /// How many fetches have failed since the last good one, this one included.
        in_a_row: u32,
        /// For how long the provider wants to be left alone, if it says so.
        retry_after: Option<Duration>,
    },
}

/// How long to wait after a fetch that ended in this way. `jitter` is any random number: it takes up to a tenth off, so that
/// issuers and control planes which started together do not stay together.
pub(super) fn wait_after(last: FetchEnd, terms: &FetchTerms, jitter: u32) -> Duration {
    let within = |wait: Duration| wait.min(terms.max_interval).max(terms.min_interval);
    match last {
        FetchEnd::Good { fresh_for } => within(earlier(within(fresh_for.unwrap_or(DEFAULT_INTERVAL)), jitter)),
        FetchEnd::Failed { in_a_row, retry_after } => {
            let doubled = 1_u32.checked_shl(in_a_row.saturating_sub(1)).unwrap_or(u32::MAX);
            // Never slower than without a failure: the provider may be back at any time.
            let retry = FIRST_RETRY.saturating_mul(doubled).min(LONGEST_RETRY).min(within(DEFAULT_INTERVAL));
            // The provider's wish counts in full, but not for longer than an interval that it could have had anyway.
            earlier(retry, jitter).max(retry_after.unwrap_or_default().min(terms.max_interval))
        }
    }
}

/// When to fetch next, after a fetch that ended at `now` in this way. See [`wait_after`].
pub(super) fn next_fetch(last: FetchEnd, terms: &FetchTerms, jitter: u32, now: i64) -> i64 {
    let wait = i64::try_from(wait_after(last, terms, jitter).as_millis()).unwrap_or(i64::MAX);
    now.saturating_add(wait)
}

/// Up to a tenth less.
fn earlier(wait: Duration, jitter: u32) -> Duration {
    let tenth = u64::try_from(wait.as_nanos() / 10).unwrap_or(u64::MAX);
    let share = u128::from(tenth).saturating_mul(u128::from(jitter)) / u128::from(u32::MAX);
    wait.saturating_sub(Duration::from_nanos(u64::try_from(share).unwrap_or(tenth)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(fresh_for: Option<u64>) -> FetchEnd {
        FetchEnd::Good { fresh_for: fresh_for.map(Duration::from_secs) }
    }

    fn failed(in_a_row: u32, retry_after: Option<u64>) -> FetchEnd {
        FetchEnd::Failed { in_a_row, retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn a_good_fetch_is_followed_by_one_within_floor_and_ceiling() {
        // Floor 60 s, ceiling 900 s.
        let terms = FetchTerms::default();
        for (fresh_for, latest, earliest) in [
            (None, 300, 270),
            (Some(0), 60, 60),
            (Some(59), 60, 60),
            (Some(600), 600, 540),
            (Some(62), 62, 60),
            (Some(100_000), 900, 810),
        ] {
            let wait = |jitter| wait_after(good(fresh_for), &terms, jitter);
            assert_eq!(wait(0), Duration::from_secs(latest), "{fresh_for:?}");
            assert_eq!(wait(u32::MAX), Duration::from_secs(earliest), "{fresh_for:?}");
            let between = wait(u32::MAX / 2);
            assert!((wait(u32::MAX)..=wait(0)).contains(&between));
        }
    }

    #[test]
    fn failures_are_followed_by_ever_longer_waits_and_never_longer_than_without() {
        let terms = FetchTerms::default();
        let waits: Vec<_> = (1..=9).map(|n| wait_after(failed(n, None), &terms, 0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(wait_after(failed(u32::MAX, None), &terms, 0), LONGEST_RETRY);
        assert_eq!(wait_after(failed(9, None), &terms, u32::MAX), Duration::from_secs(54));
        assert_eq!(wait_after(failed(0, None), &terms, 0), FIRST_RETRY);
        let quick = FetchTerms {
            min_interval: Duration::from_secs(2),
            max_interval: Duration::from_secs(5),
            ..FetchTerms::default()
        };
        assert_eq!(wait_after(failed(9, None), &quick, 0), Duration::from_secs(5));
    }

    #[test]
    fn a_provider_that_wants_to_be_left_alone_is_for_an_interval_at_most() {
        let terms = FetchTerms::default();
        assert_eq!(wait_after(failed(1, Some(30)), &terms, u32::MAX), Duration::from_secs(30));
        assert_eq!(wait_after(failed(7, Some(30)), &terms, 0), Duration::from_secs(60));
        assert_eq!(wait_after(failed(1, Some(1_000_000)), &terms, 0), terms.max_interval);
        assert_eq!(next_fetch(failed(1, Some(30)), &terms, 0, 1_000), 31_000);
        assert_eq!(next_fetch(good(None), &terms, 0, i64::MAX), i64::MAX);
    }
}
