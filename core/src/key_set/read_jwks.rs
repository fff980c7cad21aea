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

/// The keys of a JWK Set, without two that are the same, and what is wrong with the members that are left out.
///
/// # Errors
/// The document is no JWK Set.
pub(super) fn read_jwks(jwks: &Value, allowed: &[Algorithm]) -> Result<(Vec<VerificationKey>, Mistakes), Mistakes> {
    let mut mistakes = Mistakes::default();
    let Some(members) = jwks.get("keys").and_then(Value::as_array) else {
        mistakes.add("", r#"must be a JWK Set: an object with a list "keys""#);
        return Err(mistakes);
    };
    let (mut keys, mut used) = (Vec::new(), 0);
    for (index, member) in members.iter().enumerate() {
        // Checked before the next key is read, because a key takes memory.
        if used == MAX_JWKS || index == MAX_MEMBERS {
            mistakes.add(format!("keys[{index}]"), format!("is not used, nor is any key after it: {BOUND}"));
            break;
        }
        match read_member(member, allowed, &mut keys) {
            Ok(warning) => {
                used += 1;
                warning.into_iter().for_each(|warning| mistakes.add(format!("keys[{index}]"), warning));
            }
            Err(problem) => mistakes.add(format!("keys[{index}]"), problem),
        }
    }
    Ok((keys, mistakes))
}

const BOUND: &str = "of a set, 256 keys are used, and 1024 are looked at";

/// Adds the keys of a member. What is returned is said to the operator all the same.
fn read_member(
    member: &Value,
    allowed: &[Algorithm],
    keys: &mut Vec<VerificationKey>,
) -> Result<Option<String>, String> {
    let Value::Object(jwk) = member else {
        return Err("is not used: it is no object".into());
    };
    let name = match jwk.get("kid").and_then(Value::as_str) {
        Some(kid) if is_plain(kid) => format!("(kid {kid}) "),
        _ => String::new(),
    };
    let read = VerificationKey::from_jwk(jwk, allowed).map_err(|problem| format!("{name}is not used: {problem}"))?;
    // The same key twice says nothing else than once.
    let new: Vec<_> = read.into_iter().filter(|key| keys.iter().all(|known| known.id() != key.id())).collect();
    let alike = new.iter().map(|key| like(keys, key)).max().unwrap_or(0);
    let nameless = new.iter().any(|key| key.kid().is_none());
    if !nameless && alike >= MAX_NAMESAKES {
        return Err(format!("{name}is not used: {MAX_NAMESAKES} keys before it have its kid and its algorithm"));
    }
    keys.extend(new);
    let too_many = nameless && alike >= MAX_NAMELESS_KEYS;
    Ok(too_many.then(|| {
        let more = format!("is one of more than {MAX_NAMELESS_KEYS} keys of its algorithm without kid");
        format!("{more}: not all of them are tried, unless the issuer has try_all_keys")
    }))
}

/// How many keys have the algorithm and the `kid` of this one, or both none.
fn like(keys: &[VerificationKey], key: &VerificationKey) -> usize {
    keys.iter().filter(|known| known.algorithm() == key.algorithm() && known.kid() == key.kid()).count()
}

#[cfg(test)]
mod tests;
