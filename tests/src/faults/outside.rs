//! A mesh as clients and filters see it: addresses, the internal secret, and how tokens are made. It stays the same
//! whatever dies inside the mesh.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use curfew_core::wire::{CHECK_PATH, CheckRequest};
use curfew_core::{KeySets, Policy, verify_natively};
use serde_json::{Value, json};

use super::ledger::Reply;
use super::population::Token;
use crate::http::Request;
use crate::key_server::KeyServer;
use crate::settings::Settings;
use crate::tokens::{Signer, claims, now};

/// The verdict of a control plane on a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Active,
    Revoked,
    /// The control plane did not answer, or answered something else.
    None,
}

/// Addresses and secrets of a mesh.
#[derive(Debug)]
pub(super) struct Outside {
    /// The Envoys.
    pub(super) entrances: Vec<SocketAddr>,
    /// The control planes' public listeners.
    pub(super) public: Vec<SocketAddr>,
    internal: Vec<SocketAddr>,
    /// The second issuer, if the mesh has one.
    pub(super) issuer: Option<Arc<KeyServer>>,
    secret: String,
    signer: Signer,
    policy: Policy,
    keys: KeySets,
}

impl Outside {
    /// The outside of the parts at these addresses; `filter` is the filter's configuration.
    pub(super) fn new(
        entrances: Vec<SocketAddr>,
        [public, internal]: [Vec<SocketAddr>; 2],
        settings: &Settings,
        filter: &Value,
        issuer: Option<Arc<KeyServer>>,
    ) -> Result<Self> {
        let read = Policy::from_document(&json!({ "issuers": filter.get("issuers") }));
        let (policy, keys) = read.map_err(|mistakes| anyhow!("the filter's issuers: {mistakes}"))?;
        Ok(Self {
            entrances,
            public,
            internal,
            issuer,
            secret: settings.required("CURFEW_INTERNAL_SECRET")?.to_owned(),
            signer: Signer::from_secret(settings.required("JWT_SECRET")?),
            policy,
            keys,
        })
    }

    /// How many control planes there are.
    pub(super) fn planes(&self) -> usize {
        self.internal.len()
    }

    /// The control planes' internal listeners.
    pub(super) fn internal(&self) -> &[SocketAddr] {
        &self.internal
    }

    /// A call that changes keys, as bytes for an internal listener.
    pub(super) fn operators_call(&self, what: &str, body: &Value) -> Vec<u8> {
        let call = Request::post(&format!("/internal/v1/keys/{what}"));
        call.json(body).bearer(&self.secret).to_open_connection()
    }

    /// A new token, with the question that the filter would ask about it.
    pub(super) fn token(&self) -> Result<Token> {
        let text = self.signer.sign(&claims("alice"))?;
        let proven = self.policy.prove(text.as_bytes(), now(), &self.keys, verify_natively);
        let proven = proven.map_err(|error| anyhow!("a token of the clients is refused: {error}"))?;
        let question = serde_json::to_value(CheckRequest::about(&proven))?;
        Ok(Token::new(text, question))
    }

    /// Asks one control plane about a token, past the filter and its cache.
    pub(super) fn check(&self, plane: usize, question: &Value) -> (Reply, Verdict) {
        let Some(address) = self.internal.get(plane) else { return (Reply::none(), Verdict::None) };
        let answer = Request::post(CHECK_PATH).json(question).bearer(&self.secret).send(*address);
        let reply = Reply::of(&answer);
        let verdict = answer.ok().filter(|answer| answer.status == 200).map(|answer| answer.json());
        let verdict = match verdict.as_ref().and_then(|answer| answer.get("verdict")?.as_str()) {
            Some("active") => Verdict::Active,
            Some("revoked") => Verdict::Revoked,
            _ => Verdict::None,
        };
        (reply, verdict)
    }

    /// True if every Envoy admits a new token, the token is logged out, and every control plane then knows it.
    pub(super) fn is_well(&self) -> bool {
        let Ok(token) = self.token() else { return false };
        let is_ok = |entrance: SocketAddr, request: &[u8]| {
            crate::http::exchange(entrance, request, "GET").is_ok_and(|answer| answer.status == 200)
        };
        self.entrances.iter().all(|entrance| is_ok(*entrance, &token.request))
            && self.entrances.first().is_some_and(|entrance| is_ok(*entrance, &token.logout))
            && (0..self.planes()).all(|plane| self.check(plane, &token.question).1 == Verdict::Revoked)
    }
}
