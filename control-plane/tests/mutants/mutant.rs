//! Mistakes in the protocol, for the model and for the simulation: each must be found by the test of its name. Both
//! make a mistake around the real code and never in it.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// The worker counts its lease from the arrival of the answer.
    AnchorAtReply,
    /// A control plane grants a lease from a reading that began before the poll arrived, and says 0 for `fresh_ms`.
    OldReadingTakenForNew,
    /// A control plane grants a lease from a reading that began before the poll arrived, and says by how much, by its own
    /// clock, which may have stood still.
    OldReadingDatedByOwnClock,
    /// The control plane does not shorten `fresh_ms` by the drift.
    FreshNotShrunk,
    /// A logout waits for L, without the drift of clocks.
    DeadlineWithoutDrift,
    /// Control planes allow for the drift of quartz, while time daemons bend the clocks.
    DriftOfQuartz,
    /// A worker that starts again takes its old id.
    IdsUsedAgain,
    /// Workers get a revocation before it is committed.
    PublishBeforeCommit,
    /// Seq comes from a database sequence.
    DatabaseSequence,
    /// The head and the rows up to it are read in two snapshots.
    HeadAndRowsFromTwoSnapshots,
    /// A logout asks no other control plane.
    OthersIgnored,
    /// A control plane whose row has not changed since the last look counts as dead.
    SilentOnesIgnored,
    /// The row of a control plane that seems to be dead is removed, and no row of nobody takes its place.
    DeadOnesLeaveNoTrace,
    /// A control plane grants leases as soon as it begins to write its row.
    GrantBeforeRow,
    /// A logout reads the rows before it commits.
    RowsReadBeforeCommit,
    /// A page that was sent to a worker counts as applied.
    AckBeforeApply,
    /// Every page carries a lease.
    LeaseForUnfinishedPages,
    /// A lease is granted from a reading that was under way when the control plane said that no lease is in the way.
    GrantedFromReadingUnderWay,
    /// The worker does not notice a new epoch, nor does the control plane notice a worker of an old one.
    EpochIgnored,
    /// A control plane compares seqs of two epochs: acknowledgements, leases and confirmations count in any.
    SeqsOfTwoEpochsCompared,
    /// After a failover, logouts reckon with no control planes but those whose rows the standby has.
    LostRowsForgotten,
    /// The epoch stays when the database crashes, although the crash may have lost commits that others have read.
    EpochStaysOverCrash,
    /// A logout waits for the newest commit of its control plane instead of its own.
    NewestCommitAwaited,
    /// A logout counts rows that were read in another epoch than its own.
    RowsOfAnyEpoch,
    /// A worker counts as gone while it still decides.
    LeftWithoutLeaving,
    /// A revocation is purged when its token expires, without a margin for the clocks of workers.
    RetentionTooShort,
    /// A control plane goes by its wall clock, as it was at the start, and not by the mark in the database.
    WallClockBelieved,
    /// An answer also serves requests that came after its question was sent.
    AnswerServesLaterOnes,
    /// With a lease, an answer is used without another look at the copy.
    NoLookAfterAnswer,
    /// An answer about a token of the cutoff's second is kept, although it was read before the logout.
    TieKeptFromOldAnswer,
    /// Requests are decided by the time of the last event instead of their own.
    ClockReadBefore,
    /// Control planes tell each other neither acknowledgements nor confirmations.
    NobodyTellsTheOthers,
    /// A worker without requests goes on polling.
    IdleOnesStay,
    /// A logout whose time has passed is answered although nothing was read since its commit.
    TimeAloneConfirms,
    /// A proof counts although its issuer has removed the key that made it.
    ProofsOutliveTheirKey,
    /// A worker that has acknowledged a change of keys decides by its copy before it has the new keys.
    KeysAfterAck,
    /// An answer counts although its reading shows newer keys than the worker's.
    AnswerNewerThanKeys,
    /// Keys are taken although newer ones of the same history are held.
    SetsOfOldCopy,
    /// What a logout of all other sessions spares stands in the log after the entry that would cover it.
    SparedAfterOthers,
    /// A logout of all other sessions forgets that another session has logged out its own session's tokens.
    EarlierOthersForgotten,
}

impl Mutant {
    /// All of them.
    pub(crate) const ALL: [Self; 40] = [
        Self::AnchorAtReply,
        Self::OldReadingTakenForNew,
        Self::OldReadingDatedByOwnClock,
        Self::FreshNotShrunk,
        Self::DeadlineWithoutDrift,
        Self::DriftOfQuartz,
        Self::IdsUsedAgain,
        Self::PublishBeforeCommit,
        Self::DatabaseSequence,
        Self::HeadAndRowsFromTwoSnapshots,
        Self::OthersIgnored,
        Self::SilentOnesIgnored,
        Self::DeadOnesLeaveNoTrace,
        Self::GrantBeforeRow,
        Self::RowsReadBeforeCommit,
        Self::AckBeforeApply,
        Self::LeaseForUnfinishedPages,
        Self::GrantedFromReadingUnderWay,
        Self::EpochIgnored,
        Self::SeqsOfTwoEpochsCompared,
        Self::LostRowsForgotten,
        Self::EpochStaysOverCrash,
        Self::NewestCommitAwaited,
        Self::RowsOfAnyEpoch,
        Self::LeftWithoutLeaving,
        Self::RetentionTooShort,
        Self::WallClockBelieved,
        Self::AnswerServesLaterOnes,
        Self::NoLookAfterAnswer,
        Self::TieKeptFromOldAnswer,
        Self::ClockReadBefore,
        Self::NobodyTellsTheOthers,
        Self::IdleOnesStay,
        Self::TimeAloneConfirms,
        Self::ProofsOutliveTheirKey,
        Self::KeysAfterAck,
        Self::AnswerNewerThanKeys,
        Self::SetsOfOldCopy,
        Self::SparedAfterOthers,
        Self::EarlierOthersForgotten,
    ];

    /// True if a logout does something between its number and its commit.
    pub(crate) fn acts_before_the_commit(self) -> bool {
        matches!(self, Self::PublishBeforeCommit | Self::DatabaseSequence | Self::RowsReadBeforeCommit)
    }
}
