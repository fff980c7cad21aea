//! Random numbers for choices that must not be the same in every run. Nothing here has to be unpredictable.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// A sequence of random numbers, one for each thread (xorshift64*).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// A new sequence at each call. The seed comes from the keys of hash maps, the standard library's only random
    /// source.
    pub(super) fn new() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }

    /// A number below `bound`, or 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap_or_default().checked_rem(bound).unwrap_or_default()
    }

    /// Heads or tails.
    pub(super) fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    /// A time of whole milliseconds, shorter than `limit`.
    pub(super) fn time_below(&mut self, limit: Duration) -> Duration {
        let limit = usize::try_from(limit.as_millis()).unwrap_or(usize::MAX);
        Duration::from_millis(u64::try_from(self.below(limit)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_place_is_met_and_no_other() {
        let mut dice = Dice::new();
        let met: BTreeSet<_> = (0..1_000).map(|_| dice.below(4)).collect();
        assert_eq!(met.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!((dice.below(0), dice.time_below(Duration::ZERO)), (0, Duration::ZERO));
    }
}
