//! Mistakes: each breaks something that the room relies on, or takes a part of the room's work away from outside. The
//! shipped code has no switch for them.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A logout reads no rows of others.
    OthersHidden,
    /// Rows are removed although their owners' leases run.
    RowRemovedEarly,
    /// A control plane reads its row as written when the write begins.
    RowShownEarly,
    /// A control plane takes all commits since its last one for its own: the survey misses those of others.
    OwnCommitHidesOthers,
    /// The room is not told when the database may not be believed.
    DistrustUntold,
    /// Readings come from a server that lags.
    StaleReadings,
    /// The store believes an old primary, after it has seen the new one.
    OldPrimaryBelieved,
    /// A wait counts from its beginning and not from its commit's return.
    WaitCountsFromLater,
    /// A ticket names a seq of whichever epoch is there.
    TicketOfAnyEpoch,
    /// A control plane that closes is not told so.
    CloseUntold,
    /// Control planes hear themselves on their lines, and nobody else.
    LinesMute,
    /// A worker says that it has applied a page that it has only got.
    AckBeforeApply,
    /// Control planes allow for no drift.
    DriftIgnored,
    /// A new epoch brings no row that stands for those that the copy lacks.
    LostRowsForgotten,
}

impl Mutant {
    /// True if it shows when nothing is wrong any more.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::OwnCommitHidesOthers | Self::LinesMute)
    }

    /// True if it shows only where a database is lost.
    pub(crate) fn loses(self) -> bool {
        matches!(
            self,
            Self::DistrustUntold | Self::WaitCountsFromLater | Self::TicketOfAnyEpoch | Self::LostRowsForgotten
        )
    }

    /// All of them.
    pub(crate) const ALL: [Self; 14] = [
        Self::OthersHidden,
        Self::RowRemovedEarly,
        Self::RowShownEarly,
        Self::OwnCommitHidesOthers,
        Self::DistrustUntold,
        Self::StaleReadings,
        Self::OldPrimaryBelieved,
        Self::WaitCountsFromLater,
        Self::TicketOfAnyEpoch,
        Self::CloseUntold,
        Self::LinesMute,
        Self::AckBeforeApply,
        Self::DriftIgnored,
        Self::LostRowsForgotten,
    ];
}
