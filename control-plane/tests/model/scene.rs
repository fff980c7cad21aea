//! The size of a model, and the faults in it.

use std::sync::Arc;
use std::time::Duration;

use curfew_control_plane::leases::protocol::LeaseTimes;
use curfew_control_plane::log::LogPosition;
use curfew_core::wire::{CheckRequest, FeedRevocation};
use curfew_core::{Epoch, IssuerKey, KeyId, Keyspace, Kind, RevocationKey, Times};
use curfew_filter::now::Now;
use curfew_filter::proofs::Facts;

use crate::mutant::Mutant;
use crate::reached::Reached;

pub(crate) type Token = u8;

/// The wall clock does not move, because no lease may depend on it.
const UNIX: i64 = 1_000_000;

/// The size of a model, and the faults in it.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) terms: LeaseTimes,
    /// How many ticks of true time there are.
    pub(crate) horizon: u64,
    /// By how many milliseconds each worker's and each control plane's clock advances in a tick.
    pub(crate) worker_rates: Vec<u64>,
    pub(crate) plane_rates: Vec<u64>,
    /// The tokens that each control plane logs out, in this order.
    pub(crate) logouts: Vec<Vec<Token>>,
    /// Revocations in a page.
    pub(crate) page: usize,
    /// Requests with token 0 that arrive at each worker.
    pub(crate) requests: usize,
    /// Polls that may be given up.
    pub(crate) timeouts: usize,
    /// How many workers may start again, how many control planes may, and how often the database may be restored.
    pub(crate) worker_restarts: usize,
    pub(crate) plane_restarts: usize,
    pub(crate) restores: usize,
    /// How the log is read, and whether writing a row takes time.
    pub(crate) readings: Readings,
    /// Whether a commit is visible before it returns.
    pub(crate) slow_commits: bool,
    pub(crate) slow_rows: bool,
    /// Whether logouts are of all devices of the token's user, in the second in which the token was issued.
    pub(crate) ties: bool,
    /// Whether logouts remove the key that has proven the token, instead of revoking the token. The key was handed out.
    pub(crate) keys: bool,
    /// Whether a worker may get no requests for a time.
    pub(crate) idle_at: Option<u64>,
    /// Tokens expire at this tick of true time. The wall clocks of workers are one tick behind.
    pub(crate) expires: Option<u64>,
    pub(crate) mutant: Option<Mutant>,
    /// What the model must reach.
    pub(crate) reached: Vec<Reached>,
}

/// How a control plane reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readings {
    /// One reading for each answer. It takes no time.
    Fresh,
    /// Readings at any time. A reading takes no time, and serves until the next one.
    Shared,
    /// Readings while polls wait. A reading ends some time after its beginning, and serves until the next one.
    Slow,
}

impl Scene {
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

impl Scene {
    /// What was proven about a token.
    pub(crate) fn facts(&self, token: Token) -> Arc<Facts> {
        Arc::new(Facts { handed_out: self.keys, ..facts(token) })
    }

    pub(crate) fn tokens(&self) -> Token {
        // One more token, which is never logged out.
        self.logouts.iter().flatten().max().map_or(1, |token| token + 2)
    }

    /// The token that is never logged out.
    pub(crate) fn bystander(&self) -> Token {
        self.tokens() - 1
    }

    pub(crate) fn logout(&self, plane: usize, index: usize) -> Option<Token> {
        self.logouts.get(plane)?.get(index).copied()
    }

    /// A head as a control plane that ignores epochs reads it.
    pub(crate) fn seen_head(&self, head: LogPosition) -> LogPosition {
        LogPosition { epoch: self.seen_epoch(head.epoch), ..head }
    }

    pub(crate) fn seen_epoch(&self, epoch: Epoch) -> Epoch {
        if self.is(Mutant::SeqsOfTwoEpochsCompared) { Epoch::from_bytes([9; 16]) } else { epoch }
    }

    pub(crate) fn worker_now(&self, worker: usize, tick: u64) -> Now {
        let rate = self.worker_rates.get(worker).copied().unwrap_or(1000);
        Now { monotonic: clock(rate, tick), unix: UNIX }
    }

    pub(crate) fn plane_now(&self, plane: usize, tick: u64) -> Duration {
        clock(self.plane_rates.get(plane).copied().unwrap_or(1000), tick)
    }

    pub(crate) fn revocation(&self, token: Token) -> FeedRevocation {
        let (kind, key) = if self.ties {
            (Kind::Subject, user(token))
        } else {
            (Kind::Token, RevocationKey::from_bytes([token; 16]))
        };
        FeedRevocation { kind, key, cutoff: UNIX, expires_at: i64::MAX }
    }
}

fn clock(rate: u64, tick: u64) -> Duration {
    // Far enough from zero that earlier times exist.
    Duration::from_millis(100_000 + rate * tick)
}

fn facts(token: Token) -> Facts {
    Facts {
        key: IssuerKey::new(0, KeyId::from_bytes([0; 16])),
        handed_out: false,
        check: CheckRequest {
            keyspace: Keyspace::from_bytes([0; 16]),
            token: RevocationKey::from_bytes([token; 16]),
            jti: None,
            session: None,
            subject: Some(user(token)),
            issued_at: Some(UNIX),
        },
        times: Times { issued_at: None, cutoff_time: None, not_before: None, expires_at: 1, clock_skew: 0 },
        identity: Ok(Vec::new()),
        meets: 0,
    }
}

fn user(token: Token) -> RevocationKey {
    RevocationKey::from_bytes([100 + token; 16])
}
