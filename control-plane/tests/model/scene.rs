//! How large a model is, and what may go wrong in it.

use std::sync::Arc;
use std::time::Duration;

use curfew_control_plane::barrier::{Head, Terms};
use curfew_core::wire::{CheckRequest, FeedRevocation};
use curfew_core::{Epoch, IssuerKey, KeyId, Keyspace, Kind, RevocationKey, Times};
use curfew_filter::now::Now;
use curfew_filter::proofs::Facts;

use crate::mutant::Mutant;
use crate::reached::Reached;

pub(crate) type Token = u8;

/// The wall clock stands still: no lease may depend on it.
const UNIX: i64 = 1_000_000;

/// The size of a model, and what may go wrong in it.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) terms: Terms,
    /// How many ticks of true time there are.
    pub(crate) horizon: u64,
    /// What each worker's and each control plane's clock shows for a tick, in milliseconds.
    pub(crate) worker_rates: Vec<u64>,
    pub(crate) plane_rates: Vec<u64>,
    /// The tokens that each control plane is asked to log out, in this order.
    pub(crate) logouts: Vec<Vec<Token>>,
    /// Revocations a page.
    pub(crate) page: usize,
    /// Requests that arrive at each worker, of token 0.
    pub(crate) requests: usize,
    /// Polls that may be given up.
    pub(crate) timeouts: usize,
    /// Workers that may start again; control planes that may; restores of the database.
    pub(crate) worker_restarts: usize,
    pub(crate) plane_restarts: usize,
    pub(crate) restores: usize,
    /// How the log is read, and whether the writing of a row takes time.
    pub(crate) readings: Readings,
    /// Whether a commit is visible before it returns.
    pub(crate) slow_commits: bool,
    pub(crate) slow_rows: bool,
    /// Logouts are of all devices of the token's user, in the second in which it was issued.
    pub(crate) ties: bool,
    /// Whether a worker may be left without requests at some time.
    pub(crate) idle_at: Option<u64>,
    /// Tokens expire at this tick of true time; workers' wall clocks are a tick behind.
    pub(crate) expires: Option<u64>,
    pub(crate) mutant: Option<Mutant>,
    /// What must be possible in it.
    pub(crate) reached: Vec<Reached>,
}

/// How a control plane reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readings {
    /// For each answer, in no time.
    Fresh,
    /// At any time, in no time; each serves until the next.
    Shared,
    /// While polls wait; each begins, ends some time later, and serves until the next.
    Slow,
}

impl Scene {
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

impl Scene {
    pub(crate) fn tokens(&self) -> Token {
        // One more, which nobody logs out.
        self.logouts.iter().flatten().max().map_or(1, |token| token + 2)
    }

    /// A token that nobody logs out.
    pub(crate) fn bystander(&self) -> Token {
        self.tokens() - 1
    }

    pub(crate) fn logout(&self, plane: usize, index: usize) -> Option<Token> {
        self.logouts.get(plane)?.get(index).copied()
    }

    /// What a control plane that knows no epochs takes a head for.
    pub(crate) fn seen_head(&self, head: Head) -> Head {
        Head { epoch: self.seen_epoch(head.epoch), ..head }
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
    // Far enough from zero for times before the first one.
    Duration::from_millis(100_000 + rate * tick)
}

pub(crate) fn facts(token: Token) -> Arc<Facts> {
    Arc::new(Facts {
        key: IssuerKey::new(0, KeyId::from_bytes([0; 16])),
        check: CheckRequest {
            keyspace: Keyspace::from_bytes([0; 16]),
            token: RevocationKey::from_bytes([token; 16]),
            jti: None,
            session: None,
            subject: Some(user(token)),
            issued_at: Some(UNIX),
        },
        times: Times { issued_at: None, cutoff_time: None, not_before: None, expires_at: 1 },
        identity: Ok(Vec::new()),
    })
}

fn user(token: Token) -> RevocationKey {
    RevocationKey::from_bytes([100 + token; 16])
}
