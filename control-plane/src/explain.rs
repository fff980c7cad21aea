//! What operators are told about a token: why it is accepted or not, what has logged it out, and which workers know that. The
//! endpoint and the command line share these words.

mod answered;

use curfew_core::{KeySets, Policy, ProvenToken, Times, TokenError, TokenKeys, UnprovenToken};
use serde::{Deserialize, Serialize};

use crate::leases::{Gateway, GatewayList, Others};
use crate::store::{Explained, Found, Registered};

pub use answered::{Answered, Header, Refused, Rule, Upstream};

/// The answer of `POST /internal/v1/explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Whether the token is accepted, apart from any logout.
    pub accepted: bool,
    /// Whether the token is accepted and a revocation covers it. Absent if its claims cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<bool>,
    /// The rule that the token breaks; absent if it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Broken>,
    /// What the token says. Without `key` nothing has proven it: anybody could have made the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Told>,
    /// What is stored about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Kept>,
    /// A key that an operator holds back, and that has signed the token, or that the token names. Taking a key out of force
    /// revokes all that it signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
    /// Set if nothing can prove the token because no keys of its issuer are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_keys: Option<WithoutKeys>,
    /// What a filter would answer. Only if that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Answered>,
}

/// The rule that a token breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// The stable code of the 401.
    pub code: String,
    /// The rule, as in `curfew_tokens_refused`.
    pub reason: String,
    /// A sentence.
    pub detail: String,
}

/// What a token says. Times are seconds of Unix time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The issuer namespace; empty for an issuer without a name.
    pub issuer: String,
    /// The user claim.
    pub user: Option<String>,
    /// The session claim.
    pub session: Option<String>,
    /// `iat`.
    pub issued_at: Option<i64>,
    /// What cutoffs are compared with.
    pub cutoff_time: Option<i64>,
    /// `exp`.
    pub expires_at: i64,
    /// The key that has proven the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
}

/// A key of an issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its algorithm.
    pub algorithm: String,
    /// Its `kid`, if it has one.
    pub kid: Option<String>,
    /// Its thumbprint (RFC 7638). A secret has none.
    #[serde(default)]
    pub thumbprint: Option<String>,
    /// Where the set that has it comes from.
    #[serde(default)]
    pub source: Option<String>,
    /// When that set came in force, in seconds of Unix time. Absent for a secret.
    #[serde(default)]
    pub changed_at: Option<i64>,
}

/// A key that is not in force although its issuer lists it, or a name that no key may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// Its `kid`, if it has one.
    pub kid: Option<String>,
    /// Its thumbprint; absent if no key with the token's `kid` is listed.
    pub thumbprint: Option<String>,
    /// `removed` or `distrusted`.
    pub state: String,
    /// Since when, in seconds of Unix time.
    pub since: i64,
    /// True if this very key has signed the token. Otherwise the token only names it.
    pub signed: bool,
}

/// An issuer of which no keys are known: its source has given none yet, or they were kept for as long as they may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithoutKeys {
    /// Where its keys come from.
    pub source: String,
    /// Why the last question for them failed, as a code. Absent if none has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The same, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is stored about a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The history of the log.
    pub epoch: String,
    /// The log's head when this was read.
    pub seq: u64,
    /// The revocations under the token's keys, in the order of the log.
    pub revocations: Vec<Found>,
    /// The token's row, if it is known.
    pub registration: Option<Registered>,
    /// The workers that poll this control plane.
    pub workers: Vec<Holder>,
    /// How many other control planes grant leases. Their workers are not among these.
    #[serde(default)]
    pub other_control_planes: usize,
}

/// A worker, and whether it refuses the token by its own copy of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The worker.
    #[serde(flatten)]
    pub worker: Gateway,
    /// True if it holds all revocations above, as far as this control plane knows.
    pub holds: bool,
}

/// A token as far as it could be read.
pub struct Read {
    /// The keys under which it can be revoked.
    pub keys: TokenKeys,
    /// When it is valid.
    pub times: Times,
    /// What it says.
    pub told: Told,
}

impl From<&TokenError> for Broken {
    fn from(error: &TokenError) -> Self {
        let (code, reason) = (error.denial().code().to_owned(), error.reason().to_owned());
        Self { code, reason, detail: error.to_string() }
    }
}

impl Read {
    /// A token that `keys` have proven.
    pub fn by_proof(token: ProvenToken, keys: &KeySets) -> Self {
        let key = keys.find(token.key).map(|key| Key {
            algorithm: key.algorithm().as_str().to_owned(),
            kid: key.kid().map(str::to_owned),
            thumbprint: key.thumbprint(),
            source: None,
            changed_at: None,
        });
        let ProvenToken { keys, times, issuer, user, session_id, .. } = token;
        let told = told(issuer, user, session_id, &times);
        Self { keys, times, told: Told { key, ..told } }
    }

    /// A token that nothing has proven, as far as it can be read.
    pub fn without_proof(text: &[u8], policy: &Policy) -> Option<Self> {
        let UnprovenToken { keys, times, issuer, user, session_id } = policy.read_unproven(text).ok()?;
        let told = told(issuer, user, session_id, &times);
        Some(Self { keys, times, told })
    }
}

fn told(issuer: String, user: Option<String>, session: Option<String>, times: &Times) -> Told {
    let (issued_at, cutoff_time, expires_at) = (times.issued_at, times.cutoff_time, times.expires_at);
    Told { issuer, user, session, issued_at, cutoff_time, expires_at, key: None }
}

impl Explanation {
    /// A token of which nothing can be read. Without `refusal`, there is no token.
    pub fn unread(refusal: Option<Broken>) -> Self {
        let (held_back, without_keys) = (None, None);
        Self {
            accepted: false,
            revoked: None,
            refusal,
            token: None,
            stored: None,
            held_back,
            without_keys,
            filter: None,
        }
    }
}

impl Kept {
    /// What is stored, and which of these workers hold it.
    pub fn of(explained: Explained, workers: GatewayList, others: Others) -> Self {
        let Explained { position, revocations, registration, .. } = explained;
        let newest = revocations.iter().map(|found| found.seq).max().unwrap_or(0);
        // A worker of another history shows no lag.
        let holds = |worker: &Gateway| worker.lag.is_some() && worker.applied >= newest;
        let workers = workers.workers.into_iter().map(|worker| Holder { holds: holds(&worker), worker }).collect();
        let (epoch, seq) = (position.epoch.to_string(), position.seq);
        Self { epoch, seq, revocations, registration, workers, other_control_planes: others.alive }
    }
}
