//! Chance, for moments and choices that must not be the same in every run.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A number below `limit`; 0 where there is none. From the only source that the standard library has: the keys of its
/// hash maps.
pub(super) fn below(limit: u64) -> u64 {
    RandomState::new().build_hasher().finish().checked_rem(limit).unwrap_or(0)
}

/// One of these places, if there are any.
pub(super) fn place(length: usize) -> Option<usize> {
    let length = u64::try_from(length).ok().filter(|length| *length > 0)?;
    usize::try_from(below(length)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_met_and_no_other() {
        let met: std::collections::BTreeSet<_> = (0..1_000).map(|_| place(4)).collect();
        assert_eq!(met.into_iter().collect::<Vec<_>>(), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!((place(0), below(0)), (None, 0));
    }
}
