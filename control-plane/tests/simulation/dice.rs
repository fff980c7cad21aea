//! Random numbers, all of them from one seed.

use std::time::Duration;

use curfew_core::WorkerId;

/// SplitMix64, which takes any seed, small numbers too.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `sides`, without `sides`.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        usize::try_from(self.next() % sides.max(1) as u64).unwrap_or(0)
    }

    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let width = u64::try_from(most.saturating_sub(least).as_nanos()).unwrap_or(u64::MAX);
        least + Duration::from_nanos(self.next() % width.max(1))
    }

    pub(crate) fn per_mille(&mut self, share: u64) -> bool {
        self.next() % 1000 < share
    }

    pub(crate) fn pick<T: Copy>(&mut self, first: T, others: &[T]) -> T {
        let index = self.below(others.len() + 1);
        if index == 0 { first } else { others.get(index - 1).copied().unwrap_or(first) }
    }

    pub(crate) fn sixteen(&mut self) -> [u8; 16] {
        let (low, high) = (u128::from(self.next()), u128::from(self.next()));
        (low << 64 | high).to_be_bytes()
    }

    pub(crate) fn worker_id(&mut self) -> WorkerId {
        WorkerId::from_bytes(self.sixteen())
    }
}
