//! What a worker would answer to one request, played by the very [`Gate`] that decides in Envoy. Nothing is told twice
//! here: the rehearsal hands the gate a request, and answers what the gate asks.
//!
//! The worker that it plays knows all that its control plane knows: it gets the keys that it asks for, and in strict mode a
//! lease, and the part of the log that concerns the token. Time stands still meanwhile. What Envoy does to a request
//! before the filter sees it is not played, and neither are calls that do not reach the control plane.

mod stage;

use curfew_core::wire::{CheckAnswer, CheckRequest, FeedRevocation, KeysAnswer, KeysRequest};
use curfew_core::{Mistakes, read_document};
use serde_json::Value;

use crate::config::{Config, Consistency};
use crate::gate::{Decision, Gate, Refusal};
use crate::permit::Reason;
use crate::request::Request;
use crate::rules::Applied;
use crate::sources::{Head, NoSuchPlace};

use stage::Stage;

/// What stands for a secret in a variable of the VM's environment. The secret itself decides nothing here.
const SECRET: &str = "a-secret-that-the-rehearsal-does-not-need";

/// The budget of caches and of the copy of the log. The tables are made for it in advance, and one request needs little.
const BUDGET: u64 = 64 << 10;

/// The control plane, as a worker's calls reach it.
pub trait Answers {
    /// The answer to a call for keys; `None` if the control plane gives none.
    fn keys(&mut self, request: &KeysRequest) -> Option<KeysAnswer>;

    /// True if the control plane answers the polls of a worker with this configuration, so that it gets leases.
    fn grants_leases(&mut self) -> bool;

    /// The answer to the question about a token; `None` if the control plane gives none.
    fn check(&mut self, request: &CheckRequest) -> Option<Known>;
}

/// What a control plane knows of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its answer to the question.
    pub answer: CheckAnswer,
    /// The revocations in the log under the token's keys.
    pub revocations: Vec<FeedRevocation>,
}

/// A configuration that a filter would take. No `Debug`: its text may hold secrets.
pub struct Rehearsal<'c> {
    text: &'c [u8],
    config: Config,
    rules: Vec<Value>,
}

/// What a worker would answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Rehearsed {
    /// The decision. A permit has all the edits that are made of the request.
    pub decision: Decision,
    /// The refusal that `report_only` holds back.
    pub withheld: Option<Refusal>,
    /// The rules that apply.
    pub applied: Applied,
    /// The issuers whose keys the filter has asked for in vain.
    pub without_keys: Vec<String>,
}

impl<'c> Rehearsal<'c> {
    /// Reads the plugin configuration.
    ///
    /// # Errors
    /// What the filter would write into Envoy's log: everything that is wrong with it.
    pub fn read(text: &'c [u8]) -> Result<Self, Mistakes> {
        let config = read(text)?;
        let document = read_document(text).ok();
        let rules = document.and_then(|document| document.get("rules").and_then(Value::as_array).cloned());
        Ok(Self { text, config, rules: rules.unwrap_or_default() })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The rules as they stand in the configuration.
    pub fn rules(&self) -> &[Value] {
        &self.rules
    }

    /// Puts a token into a request's head where the filter looks for it first, or in the `wanted` place, such as
    /// `cookie:access_token`. Returns the place for people.
    ///
    /// # Errors
    /// The filter looks for tokens in other places.
    pub fn put(&self, token: &[u8], wanted: Option<&str>, head: &mut Head) -> Result<String, NoSuchPlace> {
        let issuer = self.config.policy.read_unproven(token).ok().map(|token| token.issuer);
        self.config.sources.put(token, issuer.as_deref(), wanted, head)
    }

    /// Plays a request at `unix`, in seconds of Unix time.
    pub fn play(self, request: &Request<'_>, unix: i64, answers: &mut dyn Answers) -> Rehearsed {
        let applied = self.config.rules.applied(request);
        let mut stage = Stage::new(Gate::new(self.config, SEED), unix, answers);
        let decision = stage.play(request);
        let without_keys = stage.without_keys();
        let withheld = matches!(&decision, Ok(permit) if matches!(permit.reason, Reason::ReportOnly(_)));
        let enforcing = withheld.then(|| read(self.text).ok()).flatten().map(|mut config| {
            config.report_only = false;
            config.rules.enforce();
            Gate::new(config, SEED)
        });
        let enforced = enforcing.map(|gate| Stage::new(gate, unix, answers).play(request));
        Rehearsed { decision, withheld: enforced.and_then(Result::err), applied, without_keys }
    }
}

/// It spreads keys in a table that holds few.
const SEED: [u64; 2] = [1, 2];

/// The configuration with small budgets.
fn read(text: &[u8]) -> Result<Config, Mistakes> {
    let mut config = Config::parse_with(text, &|_| Some(SECRET.to_owned()))?;
    config.cache_bytes = BUDGET;
    if let Consistency::Strict { replica_bytes } = &mut config.consistency {
        *replica_bytes = BUDGET;
    }
    Ok(config)
}
