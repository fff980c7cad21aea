//! What clients and filters know of a world: addresses, secrets and tokens. It stays the same whatever dies behind it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use curfew_core::wire::{CHECK_PATH, CheckRequest};
use curfew_core::{KeySets, Policy, verify_natively};
use serde_json::{Value, json};

use super::promise::Promise;
use crate::http::{Answer, Request};
use crate::settings::Settings;
use crate::tokens::{Signer, claims, now};

/// What a question or request was told, and when.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The status, and the code where the answer has one: `200`, `503 unavailable`, `no answer`.
    pub(super) answer: String,
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

impl Told {
    fn by(send: impl FnOnce() -> Result<Answer>) -> (Self, Option<Answer>) {
        let began = Instant::now();
        let answer = send().ok();
        let text = match &answer {
            None => "no answer".to_owned(),
            Some(answer) if answer.code().is_empty() => answer.status.to_string(),
            Some(answer) => format!("{} {}", answer.status, answer.code()),
        };
        (Self { answer: text, began, ended: Instant::now() }, answer)
    }

    pub(super) fn is_ok(&self) -> bool {
        self.answer == "200"
    }

    pub(super) fn took(&self) -> Duration {
        self.ended - self.began
    }
}

/// A control plane's word on a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Active,
    Revoked,
    /// It gave none.
    None,
}

/// The outside of a world.
#[derive(Debug)]
pub(super) struct Front {
    envoy: SocketAddr,
    planes: Vec<SocketAddr>,
    secret: String,
    signer: Signer,
    policy: Policy,
    keys: KeySets,
    pub(super) promise: Promise,
}

impl Front {
    /// The outside of these parts; `filter` is the filter's configuration.
    pub(super) fn new(
        envoy: SocketAddr,
        planes: Vec<SocketAddr>,
        settings: &Settings,
        filter: &Value,
        promise: Promise,
    ) -> Result<Self> {
        let read = Policy::from_document(&json!({ "issuers": filter.get("issuers") }));
        let (policy, keys) = read.map_err(|mistakes| anyhow!("the filter's issuers: {mistakes}"))?;
        Ok(Self {
            envoy,
            planes,
            secret: settings.required("CURFEW_INTERNAL_SECRET")?.to_owned(),
            signer: Signer::from_secret(settings.required("JWT_SECRET")?),
            policy,
            keys,
            promise,
        })
    }

    /// How many control planes there are.
    pub(super) fn planes(&self) -> usize {
        self.planes.len()
    }

    /// A new token of this user.
    pub(super) fn token(&self, user: &str) -> Result<String> {
        self.signer.sign(&claims(user))
    }

    /// What the filter would ask about a token.
    pub(super) fn question(&self, token: &str) -> Result<Value> {
        let proven = self.policy.prove(token.as_bytes(), now(), &self.keys, verify_natively);
        let proven = proven.map_err(|error| anyhow!("a token of the load is refused: {error}"))?;
        Ok(serde_json::to_value(CheckRequest::about(&proven))?)
    }

    /// Uses a token at the protected service.
    pub(super) fn use_token(&self, token: &str) -> Told {
        Told::by(|| Request::get("/orders").bearer(token).send(self.envoy)).0
    }

    /// Logs it out, as a client does: through Envoy.
    pub(super) fn log_out(&self, token: &str) -> Told {
        Told::by(|| Request::post("/api/v2/logout").bearer(token).send(self.envoy)).0
    }

    /// Asks one control plane about it, past the filter and its memory.
    pub(super) fn check(&self, plane: usize, question: &Value) -> (Told, Verdict) {
        let send = || {
            let address = self.planes.get(plane).ok_or_else(|| anyhow!("no control plane {plane}"))?;
            Request::post(CHECK_PATH).json(question).bearer(&self.secret).send(*address)
        };
        let (told, answer) = Told::by(send);
        let verdict = answer.filter(|answer| answer.status == 200).map(|answer| answer.json());
        let verdict = match verdict.as_ref().and_then(|answer| answer.get("verdict")?.as_str()) {
            Some("active") => Verdict::Active,
            Some("revoked") => Verdict::Revoked,
            _ => Verdict::None,
        };
        (told, verdict)
    }

    /// Whether a new token is admitted and logged out, and every control plane then knows it.
    pub(super) fn is_well(&self) -> bool {
        let Ok(token) = self.token("prober") else { return false };
        let Ok(question) = self.question(&token) else { return false };
        self.use_token(&token).is_ok()
            && self.log_out(&token).is_ok()
            && (0..self.planes()).all(|plane| self.check(plane, &question).1 == Verdict::Revoked)
    }
}
