//! A place in the log of revocations.

use crate::Epoch;

/// A place in the log: everything in the history `epoch` up to and including `seq`.
///
/// It says how far a worker has applied the log, which place a commit reached, and at which place an answer was read.
/// Positions of two histories have no order: neither [covers](Self::covers) the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogPosition {
    /// The history that `seq` counts in.
    pub epoch: Epoch,
    /// The newest revocation that is included; 0 for none.
    pub seq: u64,
}

impl LogPosition {
    /// True if everything up to `other` is included here. False for a position of another history, whatever its seq.
    pub fn covers(self, other: Self) -> bool {
        self.epoch == other.epoch && self.seq >= other.seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn position(epoch: u8, seq: u64) -> LogPosition {
        LogPosition { epoch: Epoch::from_bytes([epoch; 16]), seq }
    }

    #[test]
    fn a_position_covers_itself_and_what_came_before_it() {
        assert!(position(1, 5).covers(position(1, 5)));
        assert!(position(1, 5).covers(position(1, 4)));
        assert!(!position(1, 5).covers(position(1, 6)));
    }

    #[test]
    fn a_position_of_another_history_is_never_covered() {
        for seq in [0, 4, 5] {
            assert!(!position(1, 5).covers(position(2, seq)), "{seq}");
        }
    }
}
