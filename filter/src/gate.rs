//! The decision about a request, from facts alone: what arrived, what is configured, what is known, and the time.
//!
//! It returns a [`Step`] and touches nothing outside. An admission is a [`Permit`], which only [`permit`] makes, from
//! one of four reasons; whatever else happens ends in a refusal.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use curfew_core::wire::{CheckRequest, CheckVerdict};
use curfew_core::{Denial, SignatureCheck, TokenError};

use crate::checks::{CallId, Checks, Found, Settled, StreamId};
use crate::config::{Config, OnUnavailable};
use crate::identity;
use crate::metrics::Metric;
use crate::permit::{Edits, Permit, Reason};
use crate::proofs::{Facts, Proofs};
use crate::request::Request;
use crate::rules::Action;
use crate::sources::extract;

/// The two clocks, read once for each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since some moment in the past; never goes back. Staleness is measured on it.
    pub monotonic: Duration,
    /// Seconds of Unix time. `exp`, `nbf` and `iat` are compared with it.
    pub unix: i64,
}

/// What to do with a request that has just arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Let it go on.
    Admit(Permit),
    /// Answer it.
    Refuse(Refusal),
    /// Hold it until its question is answered.
    Wait {
        /// To be made now; at the end headers may be out of reach.
        edits: Edits,
        /// To be sent to the control plane, unless another request's question serves.
        question: Option<CheckRequest>,
    },
}

/// What to do with a request that has waited. Its headers were edited when it began to wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Release {
    /// Let it go on.
    Resume(Permit),
    /// Answer it.
    Refuse(Refusal),
}

/// Why a request is refused, and how to say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Status, code and challenge.
    pub denial: Denial,
    /// A sentence for developers.
    pub detail: String,
    /// gRPC clients get no body.
    pub grpc: bool,
}

/// Requests that have waited and what becomes of each, and a question to send.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Each stream is named once.
    pub streams: Vec<(StreamId, Release)>,
    /// To be sent to the control plane.
    pub question: Option<CheckRequest>,
}

/// All that one configuration of the filter knows in one VM.
pub struct Gate {
    config: Config,
    proofs: Proofs,
    checks: Checks,
    counted: Vec<Metric>,
    grpc_waiting: HashSet<StreamId>,
}

impl Gate {
    /// A gate that knows nothing yet.
    pub fn new(config: Config) -> Self {
        // A proof is some ten times the size of an answer, and there is one of each per token.
        let answers = config.cache_bytes / 8;
        let proofs = config.cache_bytes.saturating_sub(answers);
        Self {
            proofs: Proofs::new(proofs),
            checks: Checks::new(answers, config.max_staleness, config.control_plane.timeout),
            config,
            counted: Vec::new(),
            grpc_waiting: HashSet::new(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes what there is to count since the last time.
    pub fn take_counted(&mut self) -> Vec<Metric> {
        std::mem::take(&mut self.counted)
    }

    /// Decides about a request's head. `verify` checks one signature.
    pub fn arrive(
        &mut self,
        stream: StreamId,
        request: &Request<'_>,
        now: Now,
        verify: impl FnMut(&SignatureCheck<'_>) -> bool,
    ) -> Step {
        let action = self.config.rules.action(request.method(), request.target());
        if action == Action::Skip {
            return self.admit(Reason::Skipped, self.edits(request, None));
        }
        let text = match extract(&self.config.sources, request) {
            Ok(Some(text)) => text,
            Ok(None) if action == Action::Optional => return self.admit(Reason::Anonymous, self.edits(request, None)),
            Ok(None) => return self.refuse(request, Denial::Missing, Denial::Missing.detail()),
            Err(_) => {
                return self.refuse(request, Denial::Invalid, "The request does not carry exactly one bearer token.");
            }
        };
        match self.prove(text, now, verify) {
            Ok(facts) => self.check(stream, request, &facts, now),
            Err(error) => self.refuse(request, error.denial(), &error.to_string()),
        }
    }

    /// The facts about a token that is well signed and in time.
    fn prove(
        &mut self,
        text: &[u8],
        now: Now,
        verify: impl FnMut(&SignatureCheck<'_>) -> bool,
    ) -> Result<Rc<Facts>, TokenError> {
        if let Some(facts) = self.proofs.get(text) {
            self.count(Metric::ProofHit);
            self.config.policy.check_times(&facts.times, now.unix)?;
            return Ok(facts);
        }
        self.count(Metric::ProofMiss);
        let token = self.config.policy.prove(text, verify)?;
        self.config.policy.check_times(&token.times, now.unix)?;
        let facts = Rc::new(Facts {
            check: CheckRequest::about(&token),
            times: token.times,
            identity: identity::values(&self.config.identity_headers, &token)?,
        });
        self.proofs.insert(text, Rc::clone(&facts));
        Ok(facts)
    }

    /// Decides about a request whose token is proven and in time.
    fn check(&mut self, stream: StreamId, request: &Request<'_>, facts: &Rc<Facts>, now: Now) -> Step {
        let edits = self.edits(request, Some(facts));
        let question = match self.checks.look(facts, stream, now) {
            Found::Known(CheckVerdict::Active) => return self.admit(Reason::Active, edits),
            Found::Known(CheckVerdict::Revoked) => {
                return self.refuse_with(edits, request.is_grpc(), Denial::Revoked, Denial::Revoked.detail());
            }
            Found::Joined => {
                self.count(Metric::CheckShared);
                None
            }
            Found::Ask => Some(facts.check.clone()),
        };
        if request.is_grpc() {
            self.grpc_waiting.insert(stream);
        }
        Step::Wait { edits, question }
    }

    /// The host took a question.
    pub fn sent(&mut self, question: &CheckRequest, call: CallId) {
        self.count(Metric::CheckSent);
        self.checks.sent(question.token, call);
    }

    /// The host did not take a question.
    pub fn not_sent(&mut self, question: &CheckRequest) -> Released {
        self.count(Metric::CheckFailed);
        let settled = self.checks.not_sent(question.token);
        self.release(settled)
    }

    /// A callout has ended, with the control plane's verdict or without any.
    pub fn answered(&mut self, call: CallId, verdict: Option<CheckVerdict>, now: Now) -> Released {
        if verdict.is_none() {
            self.count(Metric::CheckFailed);
        }
        let settled = self.checks.answered(call, verdict, now);
        self.release(settled)
    }

    /// Whether this callout is one of this gate's.
    pub fn asked(&self, call: CallId) -> bool {
        self.checks.asked(call)
    }

    /// How many streams wait.
    pub fn waiting(&self) -> usize {
        self.checks.waiting()
    }

    /// The stream is gone.
    pub fn forget(&mut self, stream: StreamId) {
        self.grpc_waiting.remove(&stream);
        self.checks.forget(stream);
    }

    fn release(&mut self, settled: Settled) -> Released {
        let verdict = settled.verdict;
        let streams = settled.streams.into_iter().map(|stream| (stream, self.release_one(stream, verdict))).collect();
        Released { streams, question: settled.ask_again.map(|facts| facts.check.clone()) }
    }

    /// The one place where a missing answer becomes a decision.
    fn release_one(&mut self, stream: StreamId, verdict: Option<CheckVerdict>) -> Release {
        let grpc = self.grpc_waiting.remove(&stream);
        let step = match (verdict, self.config.on_unavailable) {
            (Some(CheckVerdict::Active), _) => self.admit(Reason::Active, Edits::default()),
            (Some(CheckVerdict::Revoked), _) => {
                self.refuse_with(Edits::default(), grpc, Denial::Revoked, Denial::Revoked.detail())
            }
            (None, OnUnavailable::Allow) => self.admit(Reason::UnavailableAllowed, Edits::default()),
            (None, OnUnavailable::Deny) => {
                self.refuse_with(Edits::default(), grpc, Denial::Unavailable, Denial::Unavailable.detail())
            }
        };
        match step {
            Step::Admit(permit) => Release::Resume(permit),
            Step::Refuse(refusal) => Release::Refuse(refusal),
            Step::Wait { .. } => Release::Refuse(Refusal::new(Denial::Unavailable, Denial::Unavailable.detail(), grpc)),
        }
    }

    fn edits(&self, request: &Request<'_>, facts: Option<&Facts>) -> Edits {
        Edits::new(&self.config.identity_headers, request, facts)
    }

    fn admit(&mut self, reason: Reason, edits: Edits) -> Step {
        self.count(reason.metric());
        Step::Admit(Permit::new(reason, edits))
    }

    fn refuse(&mut self, request: &Request<'_>, denial: Denial, detail: &str) -> Step {
        let edits = self.edits(request, None);
        self.refuse_with(edits, request.is_grpc(), denial, detail)
    }

    /// Refuses, unless the operator only wants to know what would be refused.
    fn refuse_with(&mut self, edits: Edits, grpc: bool, denial: Denial, detail: &str) -> Step {
        self.count(match denial {
            Denial::Missing => Metric::Missing,
            Denial::Invalid => Metric::Invalid,
            Denial::Expired => Metric::Expired,
            Denial::Revoked => Metric::Revoked,
            Denial::Unavailable => Metric::UnavailableDenied,
        });
        if self.config.report_only {
            return self.admit(Reason::ReportOnly(denial), edits);
        }
        Step::Refuse(Refusal::new(denial, detail, grpc))
    }

    fn count(&mut self, metric: Metric) {
        self.counted.push(metric);
    }
}

impl Refusal {
    fn new(denial: Denial, detail: &str, grpc: bool) -> Self {
        Self { denial, detail: detail.to_owned(), grpc }
    }
}
