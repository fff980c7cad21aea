//! The decision about a request, from facts alone: what arrived, what is configured, what is known, and the time.
//!
//! It returns a [`Step`] and touches nothing outside. A decision is a [`Permit`], earned for one of the few [`Reason`]s, or
//! a [`Refusal`]; whatever else happens ends in a refusal.

mod following;

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use curfew_core::wire::{CheckRequest, CheckVerdict};
use curfew_core::{Denial, SignatureCheck, TokenError};

use crate::checks::{CallId, Found, QuestionId, Settled, StreamId};
use crate::config::{Config, OnUnavailable};
use crate::identity;
use crate::knowledge::Knowledge;
use crate::metrics::{Gauges, Metric};
use crate::names::alike;
use crate::outage::{Failure, Notice, Outage, Wanted};
use crate::permit::{Edits, Permit, Reason};
use crate::proofs::{Facts, Proofs};
use crate::request::Request;
use crate::rules::{Action, REDIRECTING_HEADERS};
use crate::sources::{Ambiguous, Candidate, find};
use crate::strict::Answer;

/// The two clocks, read once for each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
        question: Option<Question>,
    },
}

/// A question for the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its name within this VM.
    pub id: QuestionId,
    /// What is asked.
    pub request: CheckRequest,
}

/// The right to go on, or why there is none.
pub type Decision = Result<Permit, Refusal>;

impl From<Decision> for Step {
    fn from(decision: Decision) -> Self {
        decision.map_or_else(Self::Refuse, Self::Admit)
    }
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
    /// Those that are decided now, their headers edited when they began to wait; for the others, if [`Gate::holds_back`] any, call [`Gate::release_more`] soon.
    pub streams: Vec<(StreamId, Decision)>,
    /// To be sent to the control plane.
    pub question: Option<Question>,
}

/// How many requests one callback of the host may release.
///
/// Envoy carries out a callback's local replies after it, one inside the other, and each calls back into the VM: about 300
/// of them overflow V8's stack, which kills the VM and with it every request that waits. Measured on Envoy 1.40; other
/// Wasm filters in the chain make it fewer.
pub const RELEASED_AT_ONCE: usize = 32;

/// All that one configuration of the filter knows in one VM.
pub struct Gate {
    config: Config,
    proofs: Proofs,
    knowledge: Knowledge,
    counted: Vec<Metric>,
    grpc_waiting: HashSet<StreamId>,
    /// Streams that may go, in the order of their arrival.
    ready: VecDeque<(StreamId, Option<CheckVerdict>)>,
    outage: Outage,
    feed_outage: Outage,
    /// Whether a lease was there when it was last looked for.
    leased: bool,
    gauges: Option<Gauges>,
    shown: Option<Gauges>,
    notices: Vec<Notice>,
}

impl Gate {
    /// A gate that knows nothing yet. `seed` is random; see [`crate::replica::Replica::new`].
    pub fn new(config: Config, seed: [u64; 2]) -> Self {
        let (knowledge, proofs) = Knowledge::new(&config, seed);
        Self {
            proofs: Proofs::new(proofs),
            knowledge,
            config,
            counted: Vec::new(),
            grpc_waiting: HashSet::new(),
            ready: VecDeque::new(),
            outage: Outage::of(Wanted::Verdicts),
            feed_outage: Outage::of(Wanted::Leases),
            leased: false,
            gauges: None,
            shown: None,
            notices: Vec::new(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes what there is to count since the last time.
    pub fn take_counted(&mut self) -> impl Iterator<Item = Metric> {
        self.counted.drain(..)
    }

    /// Takes what there is to tell the operator since the last time.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Decides about a request's head. `verify` checks one signature.
    pub fn arrive(
        &mut self,
        stream: StreamId,
        request: &Request<'_>,
        now: Now,
        verify: impl FnMut(&SignatureCheck<'_>) -> bool,
    ) -> Step {
        let action = self.config.rules.action(request);
        if action == Action::Skip {
            return Ok(self.admit(Reason::Skipped, self.edits(request, None))).into();
        }
        let candidate = match find(&self.config.sources, request) {
            Ok(Some(candidate)) => candidate,
            Ok(None) if action == Action::Optional => {
                return Ok(self.admit(Reason::Anonymous, self.edits(request, None))).into();
            }
            Ok(None) => return self.refuse(request, Denial::Missing, Denial::Missing.detail()),
            Err(ambiguous) => return self.refuse_ambiguous(request, ambiguous),
        };
        match self.prove(candidate, now, verify) {
            Ok(Ok(facts)) => self.check(stream, request, &facts, now),
            Ok(Err(error)) => self.refuse(request, error.denial(), &error.to_string()),
            Err(ambiguous) => self.refuse_ambiguous(request, ambiguous),
        }
    }

    fn refuse_ambiguous(&mut self, request: &Request<'_>, _: Ambiguous) -> Step {
        self.refuse(request, Denial::Invalid, "The request does not carry exactly one bearer token.")
    }

    /// The facts about a token that is well signed and in time.
    fn prove(
        &mut self,
        candidate: Candidate<'_>,
        now: Now,
        verify: impl FnMut(&SignatureCheck<'_>) -> bool,
    ) -> Result<Result<Rc<Facts>, TokenError>, Ambiguous> {
        if let Some(facts) = self.proofs.get(candidate.text()) {
            self.count(Metric::ProofHit);
            let checked = self.config.policy.check_times(&facts.times, now.unix);
            return Ok(checked.and_then(|()| facts.usable()));
        }
        candidate.token().map(|text| self.prove_anew(text, now, verify))
    }

    fn prove_anew(
        &mut self,
        text: &[u8],
        now: Now,
        verify: impl FnMut(&SignatureCheck<'_>) -> bool,
    ) -> Result<Rc<Facts>, TokenError> {
        self.count(Metric::ProofMiss);
        let token = self.config.policy.prove(text, now.unix, verify)?;
        let facts = Rc::new(Facts {
            check: CheckRequest::about(&token),
            times: token.times,
            identity: identity::values(&self.config.identity_headers, &token),
        });
        self.proofs.insert(text, Rc::clone(&facts));
        facts.usable()
    }

    /// Decides about a request whose token is proven and in time.
    fn check(&mut self, stream: StreamId, request: &Request<'_>, facts: &Rc<Facts>, now: Now) -> Step {
        let edits = self.edits(request, Some(facts));
        let found = self.knowledge.look(facts, stream, now);
        self.note_lease(now);
        let question = match found {
            Found::Known(verdict) => {
                self.count_replica();
                return self.decide(Some(verdict), request.is_grpc(), edits).into();
            }
            Found::Joined => {
                self.count(Metric::CheckShared);
                None
            }
            Found::Ask(id) => Some(Question { id, request: facts.check.clone() }),
            Found::Full => {
                self.failed(Failure::TooMany, now);
                return self.decide(None, request.is_grpc(), edits).into();
            }
        };
        if request.is_grpc() {
            self.grpc_waiting.insert(stream);
        }
        Step::Wait { edits, question }
    }

    /// The host took a question.
    pub fn sent(&mut self, question: QuestionId, call: CallId) {
        self.count(Metric::CheckSent);
        self.knowledge.sent(question, call);
    }

    /// The host did not take a question. Those who wait for it are released by [`Self::release_more`], or one of them
    /// by [`Self::release_only`].
    pub fn not_sent(&mut self, question: QuestionId, now: Now) {
        self.failed(Failure::NotSent, now);
        let settled = self.knowledge.not_sent(question, now);
        self.hold(&settled);
    }

    /// The host would not change the headers of a stream that was to wait: it is refused, and its question never asked.
    pub fn withdraw(&mut self, stream: StreamId, question: Option<QuestionId>, now: Now) {
        if let Some(question) = question {
            self.knowledge.not_sent(question, now);
        }
        self.forget(stream);
        self.count(Metric::UnavailableDenied);
    }

    /// A callout has ended, with the control plane's verdict or without any.
    pub fn answered(&mut self, call: CallId, answer: Result<Answer, Failure>, now: Now) -> Released {
        match answer {
            Ok(_) => self.notices.extend(self.outage.ended(None, now.monotonic)),
            Err(failure) => self.failed(failure, now),
        }
        let settled = self.knowledge.answered(call, answer.ok(), now);
        self.hold(&settled);
        let question = settled.ask_again.map(|(id, facts)| Question { id, request: facts.check.clone() });
        Released { streams: self.release_more(), question }
    }

    /// Gives up questions whose end the host should have reported long ago. Those who wait for one are released by
    /// [`Self::release_more`].
    pub fn give_up_lost(&mut self, now: Now) {
        for settled in self.knowledge.give_up_lost(now) {
            self.failed(Failure::Lost, now);
            self.hold(&settled);
        }
    }

    /// How often to call [`Self::give_up_lost`]; never while nothing is under way.
    pub fn gives_up_every(&self) -> Option<Duration> {
        self.knowledge.asking().then_some(self.config.control_plane.timeout)
    }

    /// Releases the next ones that may go, [`RELEASED_AT_ONCE`] at most. Each is named once, ever.
    pub fn release_more(&mut self) -> Vec<(StreamId, Decision)> {
        let count = self.ready.len().min(RELEASED_AT_ONCE);
        let ready: Vec<_> = self.ready.drain(..count).collect();
        ready.into_iter().map(|(stream, verdict)| (stream, self.release_one(stream, verdict))).collect()
    }

    /// Releases this stream, if it may go.
    pub fn release_only(&mut self, stream: StreamId) -> Option<Decision> {
        let place = self.ready.iter().position(|(ready, _)| *ready == stream)?;
        let (_, verdict) = self.ready.remove(place)?;
        Some(self.release_one(stream, verdict))
    }

    /// Whether some are held back.
    pub fn holds_back(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The names of trailers that must not reach the upstream: what would be stripped, read as the credential or refused
    /// in a header.
    pub fn unwelcome_trailers<'a>(&self, trailers: &Request<'a>) -> Vec<&'a [u8]> {
        let identity = self.config.identity_headers.iter().map(|header| header.name.as_bytes());
        let credentials = self.config.sources.iter().map(|source| source.header_name().as_bytes());
        let names: Vec<_> = identity.chain(credentials).chain(REDIRECTING_HEADERS).collect();
        let unwelcome = |name: &&[u8]| names.iter().any(|own| alike(own, name));
        trailers.headers().map(|(name, _)| name).filter(unwelcome).collect()
    }

    /// Whether a question is under way as this callout.
    pub fn asked(&self, call: CallId) -> bool {
        self.knowledge.asked(call)
    }

    /// How many streams wait.
    pub fn waiting(&self) -> usize {
        self.knowledge.waiting().saturating_add(self.ready.len())
    }

    /// The stream is gone.
    pub fn forget(&mut self, stream: StreamId) {
        self.grpc_waiting.remove(&stream);
        if let Some(place) = self.ready.iter().position(|(ready, _)| *ready == stream) {
            self.ready.remove(place);
        }
        self.knowledge.forget(stream);
    }

    fn failed(&mut self, failure: Failure, now: Now) {
        self.count(Metric::CheckFailed);
        self.notices.extend(self.outage.ended(Some(failure), now.monotonic));
    }

    fn hold(&mut self, settled: &Settled) {
        self.ready.extend(settled.streams.iter().map(|stream| (*stream, settled.verdict)));
    }

    fn release_one(&mut self, stream: StreamId, verdict: Option<CheckVerdict>) -> Decision {
        let grpc = self.grpc_waiting.remove(&stream);
        self.decide(verdict, grpc, Edits::default())
    }

    /// Decides by the control plane's verdict: the one place where a missing one becomes a decision.
    fn decide(&mut self, verdict: Option<CheckVerdict>, grpc: bool, edits: Edits) -> Decision {
        let denial = match (verdict, self.config.on_unavailable) {
            (Some(CheckVerdict::Active), _) => return Ok(self.admit(Reason::Active, edits)),
            (None, OnUnavailable::Allow) => return Ok(self.admit(Reason::UnavailableAllowed, edits)),
            (Some(CheckVerdict::Revoked), _) => Denial::Revoked,
            (None, OnUnavailable::Deny) => Denial::Unavailable,
        };
        self.refuse_with(edits, grpc, denial, denial.detail())
    }

    fn edits(&self, request: &Request<'_>, facts: Option<&Facts>) -> Edits {
        Edits::new(&self.config.identity_headers, request, facts)
    }

    fn admit(&mut self, reason: Reason, edits: Edits) -> Permit {
        self.count(reason.metric());
        Permit::new(reason, edits)
    }

    fn refuse(&mut self, request: &Request<'_>, denial: Denial, detail: &str) -> Step {
        // A request that is answered here needs no edits.
        let edits = if self.config.report_only { self.edits(request, None) } else { Edits::default() };
        self.refuse_with(edits, request.is_grpc(), denial, detail).into()
    }

    /// Refuses, unless the operator only wants to know what would be refused.
    fn refuse_with(&mut self, edits: Edits, grpc: bool, denial: Denial, detail: &str) -> Decision {
        self.count(match denial {
            Denial::Missing => Metric::Missing,
            Denial::Invalid => Metric::Invalid,
            Denial::Expired => Metric::Expired,
            Denial::Revoked => Metric::Revoked,
            Denial::Unavailable => Metric::UnavailableDenied,
        });
        if self.config.report_only {
            return Ok(self.admit(Reason::ReportOnly(denial), edits));
        }
        Err(Refusal { denial, detail: detail.to_owned(), grpc })
    }

    fn count(&mut self, metric: Metric) {
        self.counted.push(metric);
    }
}
