//! The counters and gauges. Each name stands here once; the proxy shows it in its statistics under `wasmcustom.`, and
//! in Prometheus' format without that prefix.

/// A counter. Each request is counted by one of those whose name starts with `curfew_requests_`; [`Metric::ReportOnly`]
/// counts in addition. There are exceptions: a request whose client leaves while it waits is not counted, and neither is
/// one whose headers the host does not give. A request that is counted as admitted gets a 503 all the same if the host
/// does not make the edits. docs/metrics.md lists them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Metric {
    /// Admitted with a token that is not revoked.
    Admitted,
    /// Admitted by a rule `skip`.
    Skipped,
    /// Admitted as a preflight, because `cors_preflight` is on.
    Preflight,
    /// Admitted without a token by a rule `optional`.
    Anonymous,
    /// Refused: no token.
    Missing,
    /// Refused: not an acceptable token.
    Invalid,
    /// Refused: expired.
    Expired,
    /// Refused: logged out.
    Revoked,
    /// Refused: a good token that lacks a claim that a rule requires.
    InsufficientScope,
    /// Refused: no answer from the control plane.
    UnavailableDenied,
    /// Admitted without an answer, because `on_unavailable` is `allow`.
    UnavailableAllowed,
    /// Admitted because `report_only` is on. The counter of the refusal counts too.
    ReportOnly,
    /// The token's text was in the proof cache.
    ProofHit,
    /// The token's text was not in the proof cache: the token was parsed and its signature checked.
    ProofMiss,
    /// A token was proven that names no user: no logout of all devices reaches it.
    WithoutUser,
    /// A question was sent to the control plane.
    CheckSent,
    /// A request waited for the question of another request.
    CheckShared,
    /// A question got no usable answer.
    CheckFailed,
    /// A signature was checked by the host.
    HostSignature,
    /// A signature was checked in the VM.
    NativeSignature,
    /// The copy of the log decided about a request, without a question.
    CopyDecided,
    /// A worker got a lease after it had none.
    LeaseGained,
    /// A worker's lease was over, or the worker gave it up.
    LeaseLost,
    /// A poll was sent to the control plane.
    PollSent,
    /// A poll brought neither news nor a lease.
    PollFailed,
    /// The copy was thrown away, because the control plane's log did not continue it.
    CopyRestarted,
    /// The revocations did not fit into the copy.
    CopyOverflow,
    /// The control plane was asked for keys.
    KeyCallSent,
    /// A call for keys got no usable answer, or too many requests wait for one.
    KeyCallFailed,
    /// A request had to wait for keys.
    KeyWait,
    /// The keys that the control plane hands out were replaced by others.
    KeysReplaced,
    /// A request waited for an answer, and meanwhile its issuer removed the key that its token was proven with. The
    /// refusal counts too.
    KeyRemoved,
}

/// Every counter with its name, in the order of the enum.
pub const NAMES: [(Metric, &str); 32] = [
    (Metric::Admitted, "curfew_requests_admitted"),
    (Metric::Skipped, "curfew_requests_skipped"),
    (Metric::Preflight, "curfew_requests_preflight"),
    (Metric::Anonymous, "curfew_requests_anonymous"),
    (Metric::Missing, "curfew_requests_missing"),
    (Metric::Invalid, "curfew_requests_invalid"),
    (Metric::Expired, "curfew_requests_expired"),
    (Metric::Revoked, "curfew_requests_revoked"),
    (Metric::InsufficientScope, "curfew_requests_insufficient_scope"),
    (Metric::UnavailableDenied, "curfew_requests_unavailable_denied"),
    (Metric::UnavailableAllowed, "curfew_requests_unavailable_allowed"),
    (Metric::ReportOnly, "curfew_requests_report_only"),
    (Metric::ProofHit, "curfew_proofs_hit"),
    (Metric::ProofMiss, "curfew_proofs_missed"),
    (Metric::WithoutUser, "curfew_tokens_without_user"),
    (Metric::CheckSent, "curfew_checks_sent"),
    (Metric::CheckShared, "curfew_checks_shared"),
    (Metric::CheckFailed, "curfew_checks_failed"),
    (Metric::HostSignature, "curfew_signatures_host"),
    (Metric::NativeSignature, "curfew_signatures_native"),
    (Metric::CopyDecided, "curfew_replica_decided"),
    (Metric::LeaseGained, "curfew_leases_gained"),
    (Metric::LeaseLost, "curfew_leases_lost"),
    (Metric::PollSent, "curfew_polls_sent"),
    (Metric::PollFailed, "curfew_polls_failed"),
    (Metric::CopyRestarted, "curfew_replica_restarts"),
    (Metric::CopyOverflow, "curfew_replica_overflows"),
    (Metric::KeyCallSent, "curfew_key_calls_sent"),
    (Metric::KeyCallFailed, "curfew_key_calls_failed"),
    (Metric::KeyWait, "curfew_key_waits"),
    (Metric::KeysReplaced, "curfew_keys_replaced"),
    (Metric::KeyRemoved, "curfew_keys_removed_meanwhile"),
];

/// The names of the gauges, in the order of [`Gauges::values`]. All workers of an Envoy write the same gauges. A gauge
/// shows what was written last, which is the same for all workers once they have caught up.
pub const GAUGE_NAMES: [&str; 3] = ["curfew_replica_seq", "curfew_replica_entries", "curfew_replica_bytes"];

/// The gauge that shows how new the keys are that the control plane has handed out; 0 as long as none are held.
pub const KEYS_GAUGE: &str = "curfew_keys_seq";

/// What a copy of the log holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// How far the log is copied.
    pub seq: u64,
    /// Revocations held; some may have expired.
    pub entries: u64,
    /// The bytes that they take.
    pub bytes: u64,
}

impl Gauges {
    /// In the order of [`GAUGE_NAMES`].
    pub const fn values(self) -> [u64; GAUGE_NAMES.len()] {
        [self.seq, self.entries, self.bytes]
    }
}

impl Metric {
    /// The place of this counter in [`NAMES`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_stands_at_its_place_under_its_own_name() {
        for (index, (metric, name)) in NAMES.iter().enumerate() {
            assert_eq!(metric.index(), index, "{name}");
            assert_eq!(NAMES.iter().filter(|(_, other)| other == name).count(), 1, "{name}");
        }
    }
}
