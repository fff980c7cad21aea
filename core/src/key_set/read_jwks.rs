//! Reads the members of a JWK Set into keys, and says of each that cannot be used why not.

use serde_json::Value;

use super::{MAX_NAMELESS_KEYS, MAX_NAMESAKES};
use crate::algorithm::Algorithm;
use crate::document::Mistakes;
use crate::key::{VerificationKey, is_plain};

/// The most JWKs of a set that are used. Multi-tenant providers publish dozens. An RSA key takes some
/// KiB of each VM, so a full set takes about 1 MiB. An Ed25519 key takes 30 KiB more once it has verified a token,
/// which only its owner can bring about.
const MAX_JWKS: usize = 256;

/// The most members of a set that are looked at, so that a set full of keys that cannot be used takes no long time.
const MAX_MEMBERS: usize = 1024;

/// A member of a JWK Set that can be used.
pub(super) struct Member {
    /// One key for each algorithm that it serves, but for those that a member before it serves with the same key.
    pub(super) keys: Vec<VerificationKey>,
    /// True if it names its algorithm.
    pub(super) with_alg: bool,
}

/// The members of a JWK Set that can be used, without two that are the same, and what is wrong with the others.
///
/// # Errors
/// The document is no JWK Set.
pub(super) fn read_jwks(jwks: &Value, allowed: &[Algorithm]) -> Result<(Vec<Member>, Mistakes), Mistakes> {
    let mut mistakes = Mistakes::default();
    let Some(members) = jwks.get("keys").and_then(Value::as_array) else {
        mistakes.add("", r#"must be a JWK Set: an object with a list "keys""#);
        return Err(mistakes);
    };
    let (mut found, mut used) = (Vec::new(), 0);
    for (index, member) in members.iter().enumerate() {
        // Checked before the next key is read, because a key takes memory.
        if used == MAX_JWKS || index == MAX_MEMBERS {
            mistakes.add(format!("keys[{index}]"), format!("is not used, nor is any key after it: {BOUND}"));
            break;
        }
        match read_member(member, allowed, &mut found) {
            Ok(warning) => {
                used += 1;
                warning.into_iter().for_each(|warning| mistakes.add(format!("keys[{index}]"), warning));
            }
            Err(problem) => mistakes.add(format!("keys[{index}]"), problem),
        }
    }
    Ok((found, mistakes))
}

const BOUND: &str = "of a set, 256 keys are used, and 1024 are looked at";

/// Adds a member, if it says something new. What is returned is said to the operator all the same.
fn read_member(member: &Value, allowed: &[Algorithm], found: &mut Vec<Member>) -> Result<Option<String>, String> {
    let Value::Object(jwk) = member else {
        return Err("is not used: it is no object".into());
    };
    let name = match jwk.get("kid").and_then(Value::as_str) {
        Some(kid) if is_plain(kid) => format!("(kid {kid}) "),
        _ => String::new(),
    };
    let read = VerificationKey::from_jwk(jwk, allowed).map_err(|problem| format!("{name}is not used: {problem}"))?;
    // The same key twice says nothing else than once.
    let known = || found.iter().flat_map(|member| &member.keys);
    let new: Vec<_> = read.into_iter().filter(|key| known().all(|known| known.id() != key.id())).collect();
    let alike = new.iter().map(|key| like(known(), key)).max().unwrap_or(0);
    let nameless = new.iter().any(|key| key.kid().is_none());
    if !nameless && alike >= MAX_NAMESAKES {
        return Err(format!("{name}is not used: {MAX_NAMESAKES} keys before it have its kid and its algorithm"));
    }
    if !new.is_empty() {
        found.push(Member {
            keys: new,
            with_alg: jwk.get("alg").is_some_and(|alg| alg.as_str() != Some("") && !alg.is_null()),
        });
    }
    let too_many = nameless && alike >= MAX_NAMELESS_KEYS;
    Ok(too_many.then(|| {
        let more = format!("is one of more than {MAX_NAMELESS_KEYS} keys of its algorithm without kid");
        format!("{more}: not all of them are tried, unless the issuer has try_all_keys")
    }))
}

/// How many keys have the algorithm and the `kid` of this one, or both none.
fn like<'k>(keys: impl Iterator<Item = &'k VerificationKey>, key: &VerificationKey) -> usize {
    keys.filter(|known| known.algorithm() == key.algorithm() && known.kid() == key.kid()).count()
}

#[cfg(test)]
mod tests;
