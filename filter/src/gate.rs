//! The decision about a request, from facts alone: what arrived, what is configured, what is known, and the time.
//!
//! It returns a [`Step`] and touches nothing outside. A decision is a [`Permit`], which has to be earned for one of the
//! few [`Reason`]s, or a [`Refusal`]; everything else that happens ends in a refusal.

mod feed;
mod keys;
mod same_second;
mod step;
mod waiting;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use curfew_core::wire::{CheckRequest, CheckVerdict};
use curfew_core::{Denial, IssuerKey, RevocationKey, SignatureCheck, Unproven};

use crate::config::{Config, Consistency, OnUnavailable};
use crate::feed::FeedSettings;
use crate::held_keys::{HeldKeys, Waited};
use crate::identity;
use crate::ids::StreamId;
use crate::knowledge::{Bounded, Knowledge, Lookup, Mode, Strict};
use crate::metrics::{Gauges, Metric};
use crate::names::alike;
use crate::now::Now;
use crate::outage::{Failure, Notice, Outage, Wanted, WithoutUser};
use crate::permit::{Edits, Mark, Permit, Reason};
use crate::proofs::{Facts, Proofs};
use crate::redirects;
use crate::request::Request;
use crate::rules::Action;
use crate::sources::{Ambiguous, Candidate, find};

pub use step::{Decision, Portion, Question, Refusal, Released, Step};
pub use waiting::RELEASED_AT_ONCE;

/// What is known about a request's token when it is decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// This.
    Is(CheckVerdict),
    /// Revoked, and only because it was issued in the second of a logout of all its user's devices, or does not say when.
    SameSecond,
    /// Nothing: `on_unavailable` says what that means.
    Missing,
    /// Nothing, because the keys could not be had that it takes.
    WithoutKeys,
}

/// How a request is to be treated, apart from the verdict about its token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Manner {
    /// Its client speaks gRPC.
    grpc: bool,
    /// Its rule reports and does not refuse.
    report_only: bool,
    /// Its token lacks a claim that its rule requires.
    lacks: bool,
    /// Its token does not say when it was issued.
    undated: bool,
    /// The key that proved its token was removed by its issuer while it waited.
    key_removed: bool,
}

/// A request that waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Waiter {
    manner: Manner,
    /// The key that has proven its token, if the key may be removed while it waits. Another request with the same token
    /// may have been proven by another key: a token can be signed twice.
    proven_by: Option<IssuerKey>,
}

/// Everything that one configuration of the filter knows in one VM.
pub struct Gate {
    config: Config,
    keys: HeldKeys,
    proofs: Proofs,
    knowledge: Knowledge<Rc<Facts>>,
    counted: Vec<Metric>,
    /// The streams that wait; those that are like most have no entry.
    waiters: HashMap<StreamId, Waiter>,
    /// The streams that may go, in the order of their arrival, each with the verdict about it.
    ready: VecDeque<(StreamId, Verdict)>,
    outage: Outage,
    feed_outage: Outage,
    key_outage: Outage,
    without_user: WithoutUser,
    /// True if there was a lease when the gate last looked.
    leased: bool,
    gauges: Option<Gauges>,
    shown: Option<Gauges>,
    /// How new the keys are, if that has changed since it was taken.
    keys_gauge: Option<u64>,
    notices: Vec<Notice>,
}

impl Gate {
    /// A gate that knows nothing yet. `seed` is random; see [`crate::copy::LogCopy::new`].
    pub fn new(config: Config, seed: [u64; 2]) -> Self {
        let (mode, proofs) = mode(&config, seed);
        Self {
            keys: HeldKeys::new(config.keys.clone(), &config.policy, config.control_plane.timeout),
            proofs: Proofs::new(proofs),
            knowledge: Knowledge::new(mode, config.control_plane.timeout),
            config,
            counted: Vec::new(),
            waiters: HashMap::new(),
            ready: VecDeque::new(),
            outage: Outage::of(Wanted::Verdicts),
            feed_outage: Outage::of(Wanted::Leases),
            key_outage: Outage::of(Wanted::Keys),
            without_user: WithoutUser::default(),
            leased: false,
            gauges: None,
            shown: None,
            keys_gauge: None,
            notices: Vec::new(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes the counts since the last call.
    pub fn take_counted(&mut self) -> impl Iterator<Item = Metric> {
        self.counted.drain(..)
    }

    /// Takes the notices for the operator since the last call.
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
        self.arrive_again(stream, Waited::default(), request, now, verify)
    }

    /// Decides anew about a request that has waited for keys; see [`Portion::returning`]. Its headers are as they were
    /// when it arrived.
    pub fn arrive_again(
        &mut self,
        stream: StreamId,
        waited: Waited,
        request: &Request<'_>,
        now: Now,
        verify: impl FnMut(&SignatureCheck<'_>) -> bool,
    ) -> Step {
        let demand = self.config.rules.demand(request);
        if demand.action == Action::Skip {
            return Ok(self.admit(Reason::Skipped, self.edits(request, None))).into();
        }
        if self.config.rules.let_pass_as_preflight(request) {
            let edits = self.edits(request, None).strip(&self.config.sources, request);
            return Ok(self.admit(Reason::Preflight, edits)).into();
        }
        let mut manner = Manner { grpc: request.is_grpc(), report_only: demand.report_only, ..Manner::default() };
        let candidate = match find(&self.config.sources, request) {
            Ok(Some(candidate)) => candidate,
            Ok(None) if demand.action == Action::Optional => {
                return Ok(self.admit(Reason::Anonymous, self.edits(request, None))).into();
            }
            Ok(None) => {
                let detail = self.config.sources.missing().to_owned();
                return self.refuse(request, manner, Denial::Missing, &detail);
            }
            Err(ambiguous) => return self.refuse_ambiguous(request, manner, ambiguous),
        };
        match self.prove(candidate, waited, now, verify) {
            Ok(Ok(facts)) => {
                if let Some(detail) = self.misplaced(&candidate, &facts) {
                    return self.refuse(request, manner, Denial::Invalid, &detail);
                }
                manner.lacks = demand.exceeds(facts.meets);
                manner.undated = facts.times.cutoff_time.is_none();
                self.check(stream, waited, request, manner, &facts, now)
            }
            Ok(Err(unproven)) => self.refuse_unproven(stream, waited, request, manner, unproven, now),
            Err(ambiguous) => self.refuse_ambiguous(request, manner, ambiguous),
        }
    }

    fn refuse_ambiguous(&mut self, request: &Request<'_>, manner: Manner, ambiguous: Ambiguous) -> Step {
        let detail = self.config.sources.explain(ambiguous);
        self.refuse(request, manner, Denial::Invalid, &detail)
    }

    /// Why the token may not be in its place.
    fn misplaced(&self, candidate: &Candidate<'_>, facts: &Facts) -> Option<String> {
        let issuer = || self.config.policy.issuers().nth(facts.key.issuer()).unwrap_or_default().to_owned();
        self.config.sources.misplaced(candidate, issuer)
    }

    /// The facts about a token that is well signed and in time.
    fn prove(
        &mut self,
        candidate: Candidate<'_>,
        waited: Waited,
        now: Now,
        verify: impl FnMut(&SignatureCheck<'_>) -> bool,
    ) -> Result<Result<Rc<Facts>, Unproven>, Ambiguous> {
        if let Some(facts) = self.proofs.get(candidate.text(), self.keys.sets()) {
            // A request that has waited was counted when it arrived.
            if waited.is_new() {
                self.count(Metric::ProofHit);
            }
            let checked = self.config.policy.check_times(&facts.times, now.unix);
            return Ok(checked.and_then(|()| facts.usable()).map_err(Unproven::from));
        }
        let text = candidate.token()?;
        if waited.is_new() {
            self.count(Metric::ProofMiss);
        }
        Ok(self.prove_anew(text, now, verify))
    }

    fn prove_anew(
        &mut self,
        text: &[u8],
        now: Now,
        verify: impl FnMut(&SignatureCheck<'_>) -> bool,
    ) -> Result<Rc<Facts>, Unproven> {
        let token = self.config.policy.prove_with(text, now.unix, self.keys.sets(), verify)?;
        if token.keys.subject.is_none() {
            self.count(Metric::WithoutUser);
            self.notices.extend(self.without_user.proven(now.monotonic));
        }
        let facts = Rc::new(Facts {
            key: token.key,
            handed_out: self.config.policy.keys_elsewhere(token.key.issuer()),
            check: CheckRequest::about(&token),
            times: token.times,
            identity: identity::values(&self.config.identity_headers, self.config.policy.user_claim(), &token, text),
            meets: self.config.rules.met_by(token.claims()),
        });
        self.proofs.insert(text, Rc::clone(&facts), self.keys.sets());
        Ok(facts.usable()?)
    }

    /// Decides about a request whose token is proven and in time.
    fn check(
        &mut self,
        stream: StreamId,
        waited: Waited,
        request: &Request<'_>,
        manner: Manner,
        facts: &Rc<Facts>,
        now: Now,
    ) -> Step {
        let own = self.knowledge.own(facts, now);
        self.note_lease(now);
        if own.is_none() && facts.handed_out && self.keys.are_behind() {
            return self.wait_for_shown(stream, waited, request, manner, facts, now);
        }
        let mut edits = self.edits(request, Some(facts)).strip(&self.config.sources, request);
        edits.token = self.name(facts);
        if let Some(verdict) = own {
            self.count_own_decision();
            let verdict = self.told(verdict, facts);
            return self.decide(verdict, manner, edits).into();
        }
        let question = match self.knowledge.ask(facts, stream, now) {
            // The copy or a remembered answer was asked above.
            Lookup::Decided(verdict) => return self.decide(Verdict::Is(verdict), manner, edits).into(),
            Lookup::Joined => {
                self.count(Metric::CheckShared);
                None
            }
            Lookup::Ask(id) => Some(Question { id, request: facts.check.clone() }),
            Lookup::Full => {
                self.failed(Failure::TooMany, now);
                return self.decide(Verdict::Missing, manner, edits).into();
            }
        };
        let waiter = Waiter { manner, proven_by: facts.handed_out.then_some(facts.key) };
        if waiter != Waiter::default() {
            self.waiters.insert(stream, waiter);
        }
        Step::Wait { edits, question }
    }

    /// The names of trailers that must not reach the upstream: a header of such a name would be stripped, read as the
    /// credential, or refused.
    pub fn unwelcome_trailers<'a>(&self, trailers: &Request<'a>) -> Vec<&'a [u8]> {
        let identity = self.config.identity_headers.iter().map(|header| header.name.as_bytes());
        let credentials = self.config.sources.places.iter().map(|source| source.header_name().as_bytes());
        let redirects = redirects::all().map(|name| -> &[u8] { name.as_bytes() });
        let names: Vec<_> = identity.chain(credentials).chain(redirects).collect();
        let unwelcome = |name: &&[u8]| names.iter().any(|own| alike(own, name));
        trailers.headers().map(|(name, _)| name).filter(unwelcome).collect()
    }

    /// Decides by a verdict: the one place where a missing verdict becomes a decision.
    fn decide(&mut self, verdict: Verdict, manner: Manner, edits: Edits) -> Decision {
        let denial = match (verdict, self.config.on_unavailable) {
            (Verdict::Is(CheckVerdict::Revoked) | Verdict::SameSecond, _) => Denial::Revoked,
            _ if manner.key_removed => return self.refuse_removed_key(edits, manner),
            (Verdict::WithoutKeys, _) => return self.refuse_without_keys(edits, manner),
            (Verdict::Missing, OnUnavailable::Deny) => Denial::Unavailable,
            (Verdict::Is(CheckVerdict::Active), _) | (Verdict::Missing, OnUnavailable::Allow) if manner.lacks => {
                Denial::InsufficientScope
            }
            (Verdict::Is(CheckVerdict::Active), _) => return Ok(self.admit(Reason::Active, edits)),
            (Verdict::Missing, OnUnavailable::Allow) => return Ok(self.admit(Reason::UnavailableAllowed, edits)),
        };
        self.refuse_with(edits, manner, denial, same_second::detail(verdict, manner.undated, denial))
    }

    /// The name of a proven token for the access log, if it is to be there.
    fn name(&self, facts: &Facts) -> Option<String> {
        self.config.filter_state.then(|| shortened(facts.check.token))
    }

    fn edits(&self, request: &Request<'_>, facts: Option<&Facts>) -> Edits {
        Edits::new(&self.config.identity_headers, request, facts)
    }

    fn admit(&mut self, reason: Reason, edits: Edits) -> Permit {
        self.count(reason.metric());
        Permit::new(reason, edits, self.config.filter_state.then(|| Mark::admitted(reason)))
    }

    fn refuse(&mut self, request: &Request<'_>, manner: Manner, denial: Denial, detail: &str) -> Step {
        let edits = self.edits_of_refused(request, manner);
        self.refuse_with(edits, manner, denial, detail).into()
    }

    /// Only a request that goes on needs edits.
    fn edits_of_refused(&self, request: &Request<'_>, manner: Manner) -> Edits {
        match self.config.report_only || manner.report_only {
            true => self.edits(request, None).strip(&self.config.sources, request),
            false => Edits::default(),
        }
    }

    /// Refuses a request, or admits it and reports it if `report_only` is on, for all requests or for its rule.
    fn refuse_with(&mut self, edits: Edits, manner: Manner, denial: Denial, detail: &str) -> Decision {
        self.count(match denial {
            Denial::Missing => Metric::Missing,
            Denial::Invalid => Metric::Invalid,
            Denial::Expired => Metric::Expired,
            Denial::Revoked => Metric::Revoked,
            Denial::InsufficientScope => Metric::InsufficientScope,
            Denial::Unavailable => Metric::UnavailableDenied,
        });
        if self.config.report_only || manner.report_only {
            return Ok(self.admit(Reason::ReportOnly(denial), edits));
        }
        let mark = self.config.filter_state.then(|| Mark::refused(denial));
        Err(Refusal { denial, detail: detail.to_owned(), grpc: manner.grpc, mark, cause: None, token: edits.token })
    }

    fn count(&mut self, metric: Metric) {
        self.counted.push(metric);
    }
}

/// The first half of a token's id. It tells the tokens of a log apart, and `curfew token inspect` shows the whole id.
fn shortened(id: RevocationKey) -> String {
    id.to_string().chars().take(16).collect()
}

/// The mode that the configuration asks for, and the bytes that are left of `cache_bytes` for proofs.
fn mode(config: &Config, seed: [u64; 2]) -> (Mode, u64) {
    match config.consistency {
        Consistency::Bounded { max_staleness } => {
            // A proof is some ten times the size of an answer, and there is one of each for a token.
            let answers = config.cache_bytes / 8;
            let bounded = Bounded::new(answers, max_staleness);
            (Mode::Bounded(bounded), config.cache_bytes.saturating_sub(answers))
        }
        Consistency::Strict { replica_bytes } => {
            let keyspaces = config.policy.keyspaces().collect();
            let timeout = config.control_plane.timeout;
            let settings = FeedSettings { keyspaces, budget: replica_bytes, timeout, seed };
            (Mode::Strict(Strict::new(settings)), config.cache_bytes)
        }
    }
}
