//! Random numbers for whom to ask next. Nothing here has to be unpredictable.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A sequence of its own for each thread (xorshift64*).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Another sequence at each call; the standard library's only source of random numbers is the keys of its hash maps.
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
}
