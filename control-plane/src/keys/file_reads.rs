//! How the reads of files of keys went, for what operators are told. They are not stored: each control plane reads a file of
//! its own.

use std::sync::{Mutex, PoisonError};

use crate::store::keys::StoredFetch;

/// The last read of each issuer's file, in the policy's order; `None` where there is no file, or none was read yet.
pub(super) struct FileReads(Mutex<Vec<Option<StoredFetch>>>);

impl FileReads {
    pub(super) fn of(issuers: usize) -> Self {
        Self(Mutex::new(vec![None; issuers]))
    }

    /// The file of the issuer at this place was read at `now_ms`, or could not be, for a reason that has a code and a sentence.
    pub(super) fn ended(&self, place: usize, end: Result<(), (&str, String)>, now_ms: i64) {
        let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(read) = reads.get_mut(place) else { return };
        let before = read.take().unwrap_or_default();
        let now = Some(now_ms);
        let ended = StoredFetch { started_at_ms: now, finished_at_ms: now, ..StoredFetch::default() };
        *read = Some(match end {
            Ok(()) => StoredFetch { good_at_ms: now, ..ended },
            Err((code, words)) => StoredFetch {
                good_at_ms: before.good_at_ms,
                failures: before.failures.saturating_add(1),
                error_code: Some(code.to_owned()),
                error: Some(words),
                ..ended
            },
        });
    }

    /// The last read of the file of the issuer at this place.
    pub(super) fn last(&self, place: usize) -> Option<StoredFetch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(place).cloned().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_read_keeps_the_time_of_the_good_one_and_a_good_one_ends_the_failures() {
        let reads = FileReads::of(1);
        assert_eq!(reads.last(0), None);
        reads.ended(0, Ok(()), 1_000);
        reads.ended(0, Err(("file", "it is gone".into())), 2_000);
        reads.ended(0, Err(("file", "it is gone".into())), 3_000);
        let bad = reads.last(0).unwrap();
        assert_eq!((bad.good_at_ms, bad.finished_at_ms, bad.failures), (Some(1_000), Some(3_000), 2));
        assert_eq!(bad.error_code.as_deref(), Some("file"));
        reads.ended(0, Ok(()), 4_000);
        let good = reads.last(0).unwrap();
        assert_eq!((good.good_at_ms, good.failures, good.error_code), (Some(4_000), 0, None));
        reads.ended(1, Ok(()), 5_000);
        assert_eq!(reads.last(1), None, "there is no such issuer");
    }
}
