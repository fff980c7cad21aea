//! Any bytes as a token, for the one check that all tokens pass.
//!
//! An accepted text must be a token to a second, stricter reader. Any other text that is accepted in its place must be
//! the same token, or a logout of the one would leave the other alive.

use anyhow::{Context as _, Result, ensure};
use curfew_core::{DEFAULT_MAX_TOKEN_BYTES, ProvenToken, from_authorization};
use serde_json::Value;

use super::base64::canonical;
use super::fixed::{NOW, Rules, fixed};
use super::respelling::respellings;
use super::{Outcome, json::Tree};

/// Every rule that a token can break, and "accepted".
pub(super) const REACHES: [Outcome; 21] = [
    "accepted",
    "too_long",
    "not_compact",
    "encoding",
    "header",
    "header_parameter",
    "type",
    "claims",
    "claim",
    "issuer",
    "audience",
    "required_claim",
    "no_user",
    "unknown_key",
    "algorithm",
    "no_issue_time",
    "signature",
    "expired",
    "not_yet_valid",
    "issued_in_future",
    "lives_too_long",
];

/// Judges a text.
///
/// # Errors
/// The property that it breaks.
pub fn check(text: &[u8]) -> Result<Outcome> {
    let rules = &fixed()?.strict;
    let token = match rules.prove(text) {
        Ok(token) => token,
        Err(error) => return Ok(error.reason()),
    };
    let unsigned = rules.policy.prove(text, NOW, &rules.keys, |_| false);
    ensure!(unsigned.is_err(), "accepted without any signature that verifies");
    is_one_token(text, &token)?;
    no_second_spelling(rules, text, &token)?;
    Ok("accepted")
}

/// The second reader's judgement of an accepted text.
fn is_one_token(text: &[u8], token: &ProvenToken) -> Result<()> {
    ensure!(text.len() <= DEFAULT_MAX_TOKEN_BYTES, "longer than is allowed");
    ensure!(from_authorization(text) == Ok(text), "accepted, but not as the value of a header");
    let parts: Vec<&[u8]> = text.split(|&byte| byte == b'.').collect();
    let [header, payload, signature] = parts.as_slice() else { anyhow::bail!("{} parts", parts.len()) };
    let read = |part: &[u8], name| canonical(part).with_context(|| format!("{name} has another spelling"));
    let header = read(header, "the header")?;
    let payload = read(payload, "the payload")?;
    read(signature, "the signature")?;
    one_algorithm(&header)?;
    let claims = Tree::read(&payload).context("the payload is no JSON")?;
    ensure!(!claims.names_twice(), "the payload has a member twice");
    ensure!(token.keys.token.as_bytes()[..] == id(text)?[..], "the token id is not that of what was signed");
    Ok(())
}

fn one_algorithm(header: &[u8]) -> Result<()> {
    ensure!(!Tree::read(header).context("the header is no JSON")?.names_twice(), "the header has a member twice");
    let header: Value = serde_json::from_slice(header)?;
    let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let known = crate::tokens::ALGORITHMS.contains(&algorithm) || algorithm == "Ed25519";
    ensure!(known, "accepted with the algorithm {algorithm:?}");
    for refused in ["crit", "b64", "zip", "enc"] {
        ensure!(header.get(refused).is_none(), "accepted with the header parameter {refused}");
    }
    Ok(())
}

/// The first 16 bytes of the hash of everything before the last dot.
fn id(text: &[u8]) -> Result<Vec<u8>> {
    let last = text.iter().rposition(|&byte| byte == b'.').context("no dot")?;
    let signed = text.get(..last).unwrap_or_default();
    Ok(hmac_sha256::Hash::hash(signed).get(..16).unwrap_or_default().to_vec())
}

/// If a respelling of an accepted token is accepted too, it has the same id and is in canonical form.
pub(super) fn no_second_spelling(rules: &Rules, text: &[u8], token: &ProvenToken) -> Result<()> {
    for other in respellings(text) {
        if let Ok(proven) = rules.prove(&other) {
            let shown = other.escape_ascii();
            ensure!(proven.keys.token == token.keys.token, "another id for the respelling {shown}");
            is_one_token(&other, &proven).with_context(|| format!("the respelling {shown} is accepted"))?;
        }
    }
    Ok(())
}
