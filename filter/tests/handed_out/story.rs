//! A gate whose issuers' keys the control plane hands out, and a clock, a host and a control plane that stories play.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use curfew_core::wire::{
    CheckAnswer, CheckRequest, CheckVerdict, FeedAnswer, FeedRequest, FeedRevocation, IssuerKeys, KeysAnswer,
};
use curfew_core::{Epoch, Kind as Revocation, RevocationKey, WorkerId, verify_natively};
use curfew_filter::config::Config;
use curfew_filter::feed::Randomness;
use curfew_filter::gate::{Decision, Gate, Question, Step};
use curfew_filter::held_keys::{KeyCall, Waited};
use curfew_filter::knowledge::Answer;
use curfew_filter::metrics::Metric;
use curfew_filter::now::Now;
use curfew_filter::outage::Failure;
use curfew_filter::request::Request;
use serde_json::{Value, json};

pub(crate) const UNIX: i64 = 1_700_000_000;
pub(crate) const ISSUER: &str = "https://issuer.example.com";
pub(crate) const OTHER: &str = "https://other.example.com";
pub(crate) const EPOCH: u8 = 1;
const RANDOMNESS: Randomness = Randomness { worker: WorkerId::from_bytes([7; 16]), jitter: 0 };

fn encode(part: impl AsRef<[u8]>) -> String {
    Base64UrlSafeNoPadding::encode_to_string(part).unwrap()
}

/// The secret of the key with a name.
fn secret(key: &str) -> [u8; 32] {
    let mut secret = [b'.'; 32];
    secret[..key.len()].copy_from_slice(key.as_bytes());
    secret
}

/// A JWK Set with these keys. A name that begins with `-` is not told.
pub(crate) fn jwks(keys: &[&str]) -> Value {
    let jwk = |key: &&str| {
        let mut jwk = json!({"kty": "oct", "alg": "HS256", "k": encode(secret(key))});
        if !key.starts_with('-') {
            jwk["kid"] = json!(key);
        }
        jwk
    };
    json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()})
}

/// A token that this key has signed.
pub(crate) fn token(key: &str) -> String {
    token_of(ISSUER, key, "alice")
}

pub(crate) fn token_of(issuer: &str, key: &str, user: &str) -> String {
    let claims = json!({"iss": issuer, "sub": user, "iat": UNIX, "exp": UNIX + 3600});
    let header = if key.starts_with('-') { json!({"alg": "HS256"}) } else { json!({"alg": "HS256", "kid": key}) };
    signed(&format!("{}.{}", encode(header.to_string()), encode(claims.to_string())), key)
}

/// A token that any of the keys could have signed, with the signature of this one.
pub(crate) fn signed(signing_input: &str, key: &str) -> String {
    format!("{signing_input}.{}", encode(hmac_sha256::HMAC::mac(signing_input, secret(key))))
}

pub(crate) fn answer(epoch: u8, keys_seq: u64, keys: &[&str]) -> KeysAnswer {
    let sets = vec![IssuerKeys { issuer: ISSUER.to_owned(), jwks: Some(jwks(keys)) }];
    KeysAnswer { epoch: Epoch::from_bytes([epoch; 16]), keys_seq, sets }
}

pub(crate) struct Story {
    pub(crate) gate: Gate,
    now: u64,
    tokens: BTreeMap<u32, String>,
    outcomes: BTreeMap<u32, String>,
    /// The names of tokens that refusals bring for the access log.
    pub(crate) named: BTreeMap<u32, Option<String>>,
    questions: BTreeMap<u32, CheckRequest>,
    pub(crate) polls: BTreeMap<u32, FeedRequest>,
    pub(crate) key_calls: BTreeMap<u32, KeyCall>,
    next: u32,
    counted: Vec<Metric>,
    pub(crate) healthy: bool,
    log: Vec<FeedRevocation>,
    /// The seq that the control plane's log has reached, and the newest change of keys in it.
    pub(crate) seq: u64,
    pub(crate) keys_seq: u64,
}

impl Story {
    pub(crate) fn new(changes: Value) -> Self {
        let mut document = json!({
            "issuers": [{"issuer": ISSUER}],
            "control_plane": {"cluster": "curfew", "secret": "0123456789abcdef"},
        });
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        let config = Config::parse(document.to_string().as_bytes()).unwrap();
        Self {
            gate: Gate::new(config, [1, 2]),
            now: 0,
            tokens: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            named: BTreeMap::new(),
            questions: BTreeMap::new(),
            polls: BTreeMap::new(),
            key_calls: BTreeMap::new(),
            next: 100,
            counted: Vec::new(),
            healthy: true,
            log: Vec::new(),
            seq: 0,
            keys_seq: 0,
        }
    }

    pub(crate) fn bounded(changes: Value) -> Self {
        let mut all = json!({"consistency": "bounded"});
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        Self::new(all)
    }

    /// A strict worker that has these keys and a lease, and nothing under way but its poll.
    pub(crate) fn leased(keys: &[&str]) -> Self {
        Self::leased_with(json!({}), keys)
    }

    pub(crate) fn leased_with(changes: Value, keys: &[&str]) -> Self {
        let mut story = Self::new(changes);
        story.get(999_999, &token(keys.first().copied().unwrap_or("old")));
        story.keys_seq = 1;
        story.seq = 1;
        story.page();
        story.keys(&answer(EPOCH, 1, keys));
        story.gone(999_999);
        story
    }

    fn time(&self) -> Now {
        Now { monotonic: Duration::from_millis(self.now), unix: UNIX + i64::try_from(self.now / 1000).unwrap() }
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
    }

    /// A request with a token; its outcome so far.
    pub(crate) fn get(&mut self, stream: u32, token: &str) -> String {
        self.tokens.insert(stream, token.to_owned());
        self.outcomes.insert(stream, "waits".to_owned());
        self.arrive(stream, Waited::default());
        self.settle();
        self.outcome(stream)
    }

    pub(crate) fn outcome(&self, stream: u32) -> String {
        self.outcomes[&stream].clone()
    }

    fn arrive(&mut self, stream: u32, waited: Waited) {
        let authorization = format!("Bearer {}", self.tokens[&stream]);
        let headers: [(&[u8], &[u8]); 2] = [(b":path", b"/orders"), (b"authorization", authorization.as_bytes())];
        let now = self.time();
        match self.gate.arrive_again(stream, waited, &Request::new(&headers), now, verify_natively) {
            Step::Wait { question, .. } => question.into_iter().for_each(|question| self.ask(question)),
            Step::Admit(permit) => self.decided(stream, &Ok(permit)),
            Step::Refuse(refusal) => self.decided(stream, &Err(refusal)),
        }
    }

    fn decided(&mut self, stream: u32, decision: &Decision) {
        if let Err(refusal) = decision {
            self.named.insert(stream, refusal.token.clone());
        }
        let outcome = match decision {
            Ok(_) => "admitted".to_owned(),
            Err(refusal) => refusal.details().replace("curfew_", ""),
        };
        let before = self.outcomes.insert(stream, outcome);
        assert!(before.is_none_or(|before| before == "waits"), "decided twice");
    }

    fn ask(&mut self, question: Question) {
        match self.dispatch() {
            Some(call) => {
                self.gate.sent(question.id, call);
                self.questions.insert(call, question.request);
            }
            None => self.gate.not_sent(question.id, self.time()),
        }
    }

    fn dispatch(&mut self) -> Option<u32> {
        self.next += 1;
        self.healthy.then_some(self.next)
    }

    /// What the glue does after each event: it sends what is due and releases those who may go.
    pub(crate) fn settle(&mut self) {
        loop {
            let now = self.time();
            while let Some(call) = self.gate.key_call(now) {
                match self.dispatch() {
                    Some(number) => {
                        self.gate.key_call_sent(call.kind, number);
                        self.key_calls.insert(number, call);
                    }
                    None => self.gate.key_call_not_sent(call.kind, now),
                }
            }
            if let Some(poll) = self.gate.poll(now, RANDOMNESS) {
                let call = self.dispatch().unwrap_or(0);
                self.gate.poll_sent(call);
                self.polls.insert(call, poll.request);
            }
            let portion = self.gate.next_portion(now);
            if portion == Default::default() {
                break;
            }
            portion.streams.iter().for_each(|(stream, decision)| self.decided(*stream, decision));
            portion.questions.into_iter().for_each(|question| self.ask(question));
            portion.returning.into_iter().for_each(|(stream, waited)| self.arrive(stream, waited));
        }
        self.counted.extend(self.gate.take_counted());
    }

    /// Ticks come, so that lost calls are given up.
    pub(crate) fn tick(&mut self) {
        let now = self.time();
        self.gate.give_up_lost(now);
        self.settle();
    }

    pub(crate) fn counted(&self, metric: Metric) -> usize {
        self.counted.iter().filter(|counted| **counted == metric).count()
    }

    /// The call for keys under way, which is the only one, is answered.
    pub(crate) fn keys(&mut self, answer: &KeysAnswer) {
        self.keys_end(Ok(answer));
    }

    pub(crate) fn keys_fail(&mut self, status: u16) {
        self.keys_end(Err(Failure::Status(status)));
    }

    fn keys_end(&mut self, end: Result<&KeysAnswer, Failure>) {
        assert_eq!(self.key_calls.len(), 1, "{:?}", self.key_calls);
        let (call, _) = self.key_calls.pop_first().unwrap();
        self.gate.keys_answered(call, end, self.time());
        self.settle();
    }

    /// The issuer that the only call for keys under way has asked; `None` for a plain call.
    pub(crate) fn refreshes(&self) -> Option<String> {
        assert_eq!(self.key_calls.len(), 1, "{:?}", self.key_calls);
        self.key_calls.values().next().unwrap().request.refresh.clone()
    }

    /// A token is logged out.
    pub(crate) fn log_out(&mut self, token: &str) {
        let key = RevocationKey::token(token.rsplit_once('.').unwrap().0.as_bytes());
        self.seq += 1;
        self.log.push(FeedRevocation { kind: Revocation::Token, key, cutoff: 0, expires_at: UNIX + 3600 });
    }

    /// The keys change in the log.
    pub(crate) fn change_keys(&mut self) {
        self.seq += 1;
        self.keys_seq = self.seq;
    }

    /// The only poll is answered with all that is new, and a lease from now on.
    pub(crate) fn page(&mut self) {
        self.page_of(EPOCH);
    }

    pub(crate) fn page_of(&mut self, epoch: u8) {
        assert_eq!(self.polls.len(), 1, "{:?}", self.polls);
        let (call, poll) = self.polls.pop_first().unwrap();
        let epoch = Epoch::from_bytes([epoch; 16]);
        let from = if poll.epoch == Some(epoch) { poll.applied } else { 0 };
        let page = FeedAnswer {
            epoch,
            from,
            to: self.seq,
            more: false,
            keys_seq: self.keys_seq,
            revocations: std::mem::take(&mut self.log),
            lease_ms: 2000,
            fresh_ms: 0,
        };
        self.gate.poll_answered(call, Ok(&page), self.time(), RANDOMNESS);
        self.settle();
    }

    /// The questions under way.
    pub(crate) fn asked(&self) -> usize {
        self.questions.len()
    }

    /// The only question is answered from a reading of the log as it is.
    pub(crate) fn check(&mut self, verdict: CheckVerdict) {
        self.check_of(EPOCH, verdict);
    }

    pub(crate) fn check_of(&mut self, epoch: u8, verdict: CheckVerdict) {
        assert_eq!(self.questions.len(), 1, "{:?}", self.questions);
        let (call, _) = self.questions.pop_first().unwrap();
        let epoch = Epoch::from_bytes([epoch; 16]).to_string();
        let answer = CheckAnswer { epoch, seq: self.seq, keys_seq: self.keys_seq, verdict, same_second: false };
        let released = self.gate.answered(call, Ok(Answer::from(answer)), self.time());
        released.streams.iter().for_each(|(stream, decision)| self.decided(*stream, decision));
        released.question.into_iter().for_each(|question| self.ask(question));
        self.settle();
    }

    /// A client goes away.
    pub(crate) fn gone(&mut self, stream: u32) {
        self.gate.forget(stream);
        self.tokens.remove(&stream);
        self.outcomes.remove(&stream);
    }

    /// The outcomes of all streams, each once.
    pub(crate) fn all_outcomes(&self) -> BTreeSet<&str> {
        self.outcomes.values().map(String::as_str).collect()
    }
}
