//! A fixed number of cells, chosen by a hash, for counts in a memory that does not grow.
//!
//! Two sources in one cell share its count. The hash has a key that is made at start, so no attacker can aim for the cell of
//! another source; what a collision can do is bounded by what the counts are used for: see [`super::attempts`].

use std::hash::{BuildHasher, Hash, RandomState};

/// The number of cells. A flood from this many sources at once fills all cells. Then real failures are answered 429
/// without a reason, and real logouts share the second lane with the flood; nothing else changes.
pub(super) const CELLS: usize = 1 << 14;

/// The number of cells, in the type of a hash.
const CELLS_IN_HASH: u64 = 1 << 14;

/// Chooses cells.
#[derive(Default)]
pub(super) struct Cells(RandomState);

impl Cells {
    /// The cell of `key`, below [`CELLS`].
    pub(super) fn of(&self, key: &impl Hash) -> usize {
        usize::try_from(self.0.hash_one(key) % CELLS_IN_HASH).unwrap_or_default()
    }
}

/// One value for each cell.
pub(super) fn one_for_each<T: Default>() -> Box<[T]> {
    std::iter::repeat_with(T::default).take(CELLS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cell_of_a_key_stays_the_same_and_exists() {
        let (cells, all) = (Cells::default(), one_for_each::<u8>());
        for key in 0..1_000 {
            assert_eq!(cells.of(&key), cells.of(&key));
            assert!(all.get(cells.of(&key)).is_some());
        }
    }
}
