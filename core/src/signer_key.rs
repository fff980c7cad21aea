//! Which keys a token's header means, and which of them its signature verifies with.

use crate::TokenError;
use crate::algorithm::Algorithm;
use crate::issuer::Issuer;
use crate::key::{KeyId, VerificationKey};
use crate::key_set::KeySet;
use crate::signature::SignatureCheck;
use crate::token::UnverifiedToken;

/// The key of the issuer that the signature verifies with. The header can only agree with a key and the algorithm that
/// belongs to it (RFC 8725 section 3.1).
pub(crate) fn check_signature(
    issuer: &Issuer,
    keys: Option<&KeySet>,
    token: &UnverifiedToken<'_>,
    verify: &mut impl FnMut(&SignatureCheck<'_>) -> bool,
) -> Result<KeyId, TokenError> {
    let alg = Algorithm::parse(&token.header.alg).ok_or(TokenError::Algorithm)?;
    if !issuer.algorithms.is_empty() && !issuer.algorithms.contains(&alg) {
        return Err(TokenError::Algorithm);
    }
    let keys = keys.ok_or(TokenError::UnknownKey)?;
    let kid = token.header.kid.as_deref();
    let fitting = keys.keys_for(alg, kid, issuer.try_all_keys);
    if fitting.is_empty() {
        return Err(why_no_key_fits(keys, alg, kid));
    }
    let check = |key| SignatureCheck { key, signing_input: token.signing_input, signature: &token.signature };
    let verified = fitting.into_iter().find(|key| verify(&check(key)));
    verified.map(VerificationKey::id).ok_or(TokenError::Signature)
}

/// Which of `kid`, `alg` and a missing `kid` it is. A `kid` that no key has is named first: the issuer may have new keys.
fn why_no_key_fits(keys: &KeySet, alg: Algorithm, kid: Option<&str>) -> TokenError {
    match kid {
        Some(kid) if !keys.names(kid) => TokenError::UnknownKey,
        None if keys.is_empty() => TokenError::UnknownKey,
        None if keys.has_algorithm(alg) => TokenError::MissingKid,
        _ => TokenError::Algorithm,
    }
}
