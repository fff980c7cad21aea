//! The rules that Curfew's filter and its control plane must agree on.
//!
//! They say what a token is, which key may have signed it, how it becomes revocation keys, when a revocation covers it,
//! and which bytes the two sides exchange. A difference between the two in any of these is a silent bypass, so the
//! rules are written once. There is no I/O, no clock, no proxy and no server in here: times are parameters, in seconds
//! of Unix time.
//!
//! Start at [`Policy::prove`]: it takes a token's text to a [`ProvenToken`], or to the [`TokenError`] of the first rule
//! that the token breaks. The [`Policy`] holds the rules, the [`KeySets`] hold the keys, which may be replaced at run
//! time.

mod agreement;
mod algorithm;
mod base64url;
mod claims;
mod compared;
mod credential;
mod document;
mod ed25519;
mod error;
mod id;
mod issuer;
mod json;
mod key;
mod key_rule;
mod key_set;
mod nearest;
mod policy;
mod position;
mod problem;
mod required_claims;
mod revocation;
mod signature;
mod signer_key;
mod token;
pub mod wire;

pub use agreement::{AGREEMENT_HEADER, Agreement, Differences};
pub use algorithm::{Algorithm, Hash};
pub use claims::{ProvenToken, Times, UnprovenToken, claim_at, claim_text, is_identifier};
pub use compared::{Compared, Differing};
pub use credential::{CredentialError, from_authorization, in_authorization, is_token_text};
pub use document::{Fields, Mistake, Mistakes, read_document};
pub use error::TokenError;
pub use id::{Epoch, IssuerId, ParseIdError, WorkerId};
pub use issuer::decode_secret;
pub use key::{KeyId, VerificationKey, is_plain};
pub use key_rule::KeyRule;
pub use key_set::{IssuerKey, KeySet, KeySets, PublishedKey, PublishedKeys};
pub use policy::Policy;
pub use position::LogPosition;
pub use problem::{Denial, Problem, RETRY_AFTER_SECONDS, REVOKED_IN_SAME_SECOND, REVOKED_WITHOUT_TIME};
pub use revocation::{Coverage, Keyspace, Kind, RevocationKey, TokenKeys, covers};
pub use signature::{SignatureCheck, verify_natively};
pub use signer_key::Unproven;
pub use token::{DEFAULT_MAX_TOKEN_BYTES, MAX_HEADER_BYTES, MAX_TOKEN_BYTES, UnverifiedToken};

/// A JSON object that has passed the strict reader: no member twice, bounded depth, valid UTF-8 throughout.
pub type Object = serde_json::Map<String, serde_json::Value>;
