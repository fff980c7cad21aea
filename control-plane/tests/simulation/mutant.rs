//! Mistakes that a world can be told to make, each around the real code and never in it.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// The lease is counted from the arrival of the answer.
    AnchorAtReply,
    /// `fresh_ms` is taken for 0.
    FreshIgnored,
    /// `fresh_ms` is not made shorter by the drift.
    FreshNotShrunk,
    /// A logout waits for L and nothing more.
    DeadlineWithoutDrift,
    /// A worker that starts again takes its old id.
    IdsUsedAgain,
    /// A revocation is shown to workers before it is committed.
    PublishBeforeCommit,
    /// Seq comes from a database sequence.
    DatabaseSequence,
    /// The head is read, and then the rows up to it.
    HeadAndRowsFromTwoSnapshots,
    /// A logout asks no other control plane.
    OthersIgnored,
    /// A control plane whose row has not changed since the last look is taken for dead.
    SilentOnesIgnored,
    /// Leases are granted as soon as the own row is being written.
    GrantBeforeRow,
    /// The rows are read before the commit.
    RowsReadBeforeCommit,
    /// What was sent to a worker is taken for applied.
    AckBeforeApply,
    /// Every page brings a lease.
    LeaseForUnfinishedPages,
    /// A reading that was under way while somebody was told "no lease is in the way" is granted from.
    GrantedFromReadingUnderWay,
    /// The worker does not notice a new epoch, nor does the control plane notice that a worker is of an old one.
    EpochIgnored,
    /// A control plane compares seqs of two epochs: acknowledgements, leases and confirmations count in any.
    SeqsOfTwoEpochsCompared,
    /// Whoever takes a copy over reckons with no rows but those in it.
    LostRowsForgotten,
    /// A logout waits for the newest commit of its control plane and not for its own.
    NewestCommitAwaited,
    /// Rows are read for a logout in whatever epoch they are.
    RowsOfAnyEpoch,
    /// A worker is taken to have left while it still decides.
    LeftWithoutLeaving,
    /// A revocation is purged when its token expires, whatever workers' clocks say.
    RetentionTooShort,
    /// An answer serves those who came after its question.
    AnswerServesLaterOnes,
    /// With a lease, an answer is used without another look at the replica.
    NoLookAfterAnswer,
    /// An answer about a token of the cutoff's second is kept, although it was read before the logout.
    TieKeptFromOldAnswer,
    /// Requests are decided by the time of the last event and not by the time when they are.
    ClockReadBefore,
    /// No control plane hears of acknowledgements but from the workers that poll it, nor of confirmations.
    NobodyTellsTheOthers,
    /// A worker that nobody asks polls on.
    IdleOnesStay,
}
