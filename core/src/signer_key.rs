//! Which keys a token's header means, and which of them its signature verifies with.

use crate::TokenError;
use crate::algorithm::Algorithm;
use crate::issuer::Issuer;
use crate::key::{KeyId, VerificationKey};
use crate::key_set::KeySet;
use crate::signature::SignatureCheck;
use crate::token::UnverifiedToken;

/// Why a token was not proven, and whether its issuer may have published a key since that proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unproven {
    /// The first rule that the token breaks.
    pub error: TokenError,
    /// The place of the issuer in the policy, if a key could prove the token that it has published since. `None` if none
    /// could, or if the issuer's keys stand in the configuration.
    pub newer_keys: Option<usize>,
    /// The same, if another set of its keys could: the keys at hand may be an old set.
    pub other_keys: Option<usize>,
}

/// An error that no key changes.
impl From<TokenError> for Unproven {
    fn from(error: TokenError) -> Self {
        Self { error, newer_keys: None, other_keys: None }
    }
}

/// Why no key of the issuer signed the token.
pub(crate) struct NoKey {
    pub(crate) error: TokenError,
    /// True if a key that the issuer has published since may have.
    pub(crate) newer_keys: bool,
    /// True if a key of another set of the issuer may have.
    pub(crate) other_keys: bool,
}

impl NoKey {
    const fn for_ever(error: TokenError) -> Self {
        Self { error, newer_keys: false, other_keys: false }
    }

    const fn for_now(error: TokenError) -> Self {
        Self { error, newer_keys: true, other_keys: true }
    }

    const fn by_these(error: TokenError) -> Self {
        Self { error, newer_keys: false, other_keys: true }
    }
}

/// The key of the issuer that the signature verifies with. The header can only agree with a key and the algorithm that
/// belongs to it (RFC 8725 section 3.1).
pub(crate) fn check_signature(
    issuer: &Issuer,
    keys: Option<&KeySet>,
    token: &UnverifiedToken<'_>,
    verify: &mut impl FnMut(&SignatureCheck<'_>) -> bool,
) -> Result<KeyId, NoKey> {
    let alg = Algorithm::parse(&token.header.alg).ok_or(NoKey::for_ever(TokenError::Algorithm))?;
    if !issuer.algorithms.is_empty() && !issuer.algorithms.contains(&alg) {
        return Err(NoKey::for_ever(TokenError::Algorithm));
    }
    let keys = keys.ok_or(NoKey::for_now(TokenError::UnknownKey))?;
    let kid = token.header.kid.as_deref();
    let fitting = keys.keys_for(alg, kid, issuer.try_all_keys);
    if fitting.is_empty() {
        return Err(why_no_key_fits(keys, alg, kid));
    }
    // A key that the token names by its kid is the right one or none is. A key without a kid is only a guess.
    let guessed = kid.is_none() || fitting.iter().all(|key| key.kid().is_none());
    let check = |key| SignatureCheck { key, signing_input: token.signing_input, signature: &token.signature };
    let verified = fitting.into_iter().find(|key| verify(&check(key)));
    verified.map(VerificationKey::id).ok_or(NoKey {
        error: TokenError::Signature,
        newer_keys: guessed,
        other_keys: true,
    })
}

/// Which of `kid`, `alg` and a missing `kid` it is. A `kid` that no key has is named first: the issuer may have new keys.
fn why_no_key_fits(keys: &KeySet, alg: Algorithm, kid: Option<&str>) -> NoKey {
    match kid {
        Some(kid) if !keys.names(kid) => NoKey::for_now(TokenError::UnknownKey),
        None if keys.is_empty() => NoKey::for_now(TokenError::UnknownKey),
        None if keys.has_algorithm(alg) => NoKey::by_these(TokenError::MissingKid),
        None => NoKey::for_now(TokenError::Algorithm),
        Some(_) => NoKey::by_these(TokenError::Algorithm),
    }
}
