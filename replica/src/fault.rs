//! Faults that tests plant on purpose: a check that does not find them is too weak.
//!
//! Only with the feature `faults`, which nothing but tests turns on; without it `planted` is
//! always false and costs nothing.

/// A rule that is broken. Most of the first ones are the simpler versions whose runs are told in
/// section 10 of docs/replication.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// An entry commits when all linked servers have it, however few they are.
    CommitWithoutQuorum,
    /// Any set of promises elects.
    ElectWithoutQuorum,
    /// Leaders answer reads as long as they believe to lead.
    ReadsByBelief,
    /// Messages of lower epochs are obeyed.
    OldEpochsObeyed,
    /// A half elects if it contains the leader that its least informed member believes in.
    TieByBelief,
    /// A process that starts has forgotten its promises.
    PromisesForgotten,
    /// A half elects if it contains the leader of the highest epoch known, promised ones included.
    TieByKnown,
    /// A half elects if it contains the leader of the newest established epoch, whatever was
    /// promised since.
    TieByEstablished,
    /// Only the highest promise is remembered.
    HighestPromiseOnly,
    /// What a server received on an earlier link still counts for its read lease.
    ReceiptOutlivesLink,
    /// A commit index of any epoch is used for the log that is there.
    CommitOfOtherEpoch,
    /// All removals of one expiry have one revision.
    ExpirySharesRevision,
    /// An acknowledgement says durable before it is.
    AckBeforeDurable,
    /// A promise leaves before it is durable.
    PromiseBeforeDurable,
    /// The leader commits what it has appended.
    ReplyBeforeCommit,
    /// A follower takes as committed what it has received.
    PushBeforeCommit,
    /// The leader's lease counts from the receipt of acknowledgements.
    LeaseFromReceipt,
    /// The log is chosen by the epoch of its last entry.
    LogByLastEntry,
    /// A leader that restarts leads on.
    RestartResumesEpoch,
    /// A snapshot lacks the results that retries are known by.
    DedupeLostInSnapshot,
    /// A session ends though it is attached again.
    ExpiryOfAttached,
    /// A sequence number is given out when the request arrives.
    NumberAtArrival,
    /// A server without a vote votes.
    BlankVotes,
    /// A grant may outlast the leader's own lease.
    GrantBeyondLease,
    /// A new leader commits though leases of earlier epochs may run.
    NoWaitForOldLeases,
    /// A commit does not wait for those who may answer reads.
    NoWaitForLeaseHolders,
    /// The acknowledgement of a server counts for its own admission.
    AdmitCountsItself,
    /// The promise of a server that was replaced counts.
    SupersededPromise,
    /// A promise leaves the read lease as it is.
    LeaseOutlivesPromise,
    /// What is shown is read although more is held that may be committed.
    ShownWithoutTail,
    /// A copy goes on from what has come of another snapshot.
    HalfOfAnother,
    /// Pieces come from the newest snapshot, whichever is being copied.
    PieceOfNewest,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::CommitWithoutQuorum,
        Self::ElectWithoutQuorum,
        Self::ReadsByBelief,
        Self::OldEpochsObeyed,
        Self::TieByBelief,
        Self::PromisesForgotten,
        Self::TieByKnown,
        Self::TieByEstablished,
        Self::HighestPromiseOnly,
        Self::ReceiptOutlivesLink,
        Self::CommitOfOtherEpoch,
        Self::ExpirySharesRevision,
        Self::AckBeforeDurable,
        Self::PromiseBeforeDurable,
        Self::ReplyBeforeCommit,
        Self::PushBeforeCommit,
        Self::LeaseFromReceipt,
        Self::LogByLastEntry,
        Self::RestartResumesEpoch,
        Self::DedupeLostInSnapshot,
        Self::ExpiryOfAttached,
        Self::NumberAtArrival,
        Self::BlankVotes,
        Self::GrantBeyondLease,
        Self::NoWaitForOldLeases,
        Self::NoWaitForLeaseHolders,
        Self::AdmitCountsItself,
        Self::SupersededPromise,
        Self::LeaseOutlivesPromise,
        Self::ShownWithoutTail,
        Self::HalfOfAnother,
        Self::PieceOfNewest,
    ];
}

#[cfg(feature = "faults")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Breaks a rule in all servers that this thread runs, or none.
#[cfg(feature = "faults")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this rule is broken.
#[cfg(feature = "faults")]
pub(crate) fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Whether this rule is broken: it is not.
#[cfg(not(feature = "faults"))]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}
