//! A fixed number of cells that everybody is hashed into, for counts in a memory that does not grow.
//!
//! Two who share a cell share what is counted there. The hash has a key made at start, so nobody can aim for another's
//! cell; what a collision can do is bounded by what the counts are used for: see [`crate::abuse::attempts`].

use std::hash::{BuildHasher, Hash, RandomState};

/// How many there are. A flood from this many sources at once puts everybody into a full cell, which makes refusals
/// less telling and lanes less fair, and nothing else.
pub(super) const CELLS: usize = 1 << 14;

/// The same, in the type of a hash.
const CELLS_IN_HASH: u64 = 1 << 14;

/// Which cell somebody has.
#[derive(Default)]
pub(super) struct Cells(RandomState);

impl Cells {
    /// The cell of `who`, below [`CELLS`].
    pub(super) fn of(&self, who: &impl Hash) -> usize {
        usize::try_from(self.0.hash_one(who) % CELLS_IN_HASH).unwrap_or_default()
    }
}

/// As many of something as there are cells.
pub(super) fn one_for_each<T: Default>() -> Box<[T]> {
    std::iter::repeat_with(T::default).take(CELLS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cell_of_somebody_stays_the_same_and_exists() {
        let (cells, all) = (Cells::default(), one_for_each::<u8>());
        for who in 0..1_000 {
            assert_eq!(cells.of(&who), cells.of(&who));
            assert!(all.get(cells.of(&who)).is_some());
        }
    }
}
