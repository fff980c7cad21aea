//! What kind of key a JWK is, what it is for, and which algorithms it serves.

use serde_json::Value;

use super::members::text;
use crate::Object;
use crate::algorithm::Algorithm;

/// The type of a key, with its curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyType {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
    Secret,
}

impl KeyType {
    pub(super) fn of(jwk: &Object) -> Result<Self, String> {
        match text(jwk, "kty")?.ok_or("kty is missing")? {
            "RSA" => Ok(Self::Rsa),
            "oct" => Ok(Self::Secret),
            "EC" => match text(jwk, "crv")?.ok_or("crv is missing")? {
                "P-256" => Ok(Self::P256),
                "P-384" => Ok(Self::P384),
                "P-521" => Ok(Self::P521),
                other => Err(format!("crv is {}, and P-256, P-384 and P-521 are supported", shown(other))),
            },
            "OKP" => match text(jwk, "crv")?.ok_or("crv is missing")? {
                "Ed25519" => Ok(Self::Ed25519),
                other => Err(format!("crv is {}, and Ed25519 is supported", shown(other))),
            },
            other => Err(format!("kty is {}, and RSA, EC, OKP and oct are supported", shown(other))),
        }
    }

    /// All algorithms that a key of this type can serve. No algorithm is in two of these lists: that is what keeps a
    /// public key from ever being taken for the secret of an HMAC.
    const fn candidates(self) -> &'static [Algorithm] {
        use Algorithm::{ES256, ES384, ES512, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
        match self {
            Self::Rsa => &[RS256, RS384, RS512, PS256, PS384, PS512],
            Self::P256 => &[ES256],
            Self::P384 => &[ES384],
            Self::P521 => &[ES512],
            Self::Ed25519 => &[EdDSA],
            Self::Secret => &[HS256, HS384, HS512],
        }
    }

    /// The algorithms that the JWK serves, of those that are allowed; see [`super::VerificationKey::from_jwk`].
    pub(super) fn algorithms(self, jwk: &Object, allowed: &[Algorithm]) -> Result<Vec<Algorithm>, String> {
        if let Some(name) = text(jwk, "alg")? {
            return self.named(name, allowed).map(|algorithm| vec![algorithm]);
        }
        let candidates = self.candidates();
        if !allowed.is_empty() {
            let served: Vec<_> = candidates.iter().copied().filter(|algorithm| allowed.contains(algorithm)).collect();
            let why = "serves none of the algorithms that its issuer's tokens may have";
            return if served.is_empty() { Err(why.into()) } else { Ok(served) };
        }
        match (self, candidates) {
            // The length of a secret does not say which hash it is for.
            (Self::Secret, _) => Err("needs an alg, for its type does not imply one".into()),
            (_, [first, ..]) => Ok(vec![*first]),
            (_, []) => Ok(Vec::new()),
        }
    }

    fn named(self, name: &str, allowed: &[Algorithm]) -> Result<Algorithm, String> {
        let algorithm = Algorithm::parse(name)
            .ok_or_else(|| format!("alg is {}, with which no tokens are verified here", shown(name)))?;
        if !self.candidates().contains(&algorithm) {
            return Err(format!("alg is {name}, which is not of its type"));
        }
        if !allowed.is_empty() && !allowed.contains(&algorithm) {
            return Err(format!("alg is {name}, which is not among the algorithms of its issuer"));
        }
        Ok(algorithm)
    }

    /// True if a member of the private part is there (RFC 7518 sections 6.2.2 and 6.3.2, RFC 8037 section 2).
    pub(super) fn is_private(self, jwk: &Object) -> bool {
        let private: &[&str] = match self {
            Self::Rsa => &["d", "p", "q", "dp", "dq", "qi", "oth"],
            Self::Secret => &[],
            _ => &["d"],
        };
        private.iter().any(|name| !matches!(text(jwk, name), Ok(None)))
    }
}

/// Checks that the key is for signatures (RFC 7517 sections 4.2 and 4.3).
pub(super) fn check_purpose(jwk: &Object) -> Result<(), String> {
    match text(jwk, "use")? {
        None | Some("sig") => {}
        Some(other) => return Err(format!("use is {}, and only keys for signatures are used", shown(other))),
    }
    match jwk.get("key_ops") {
        Some(Value::Array(operations))
            if !operations.is_empty() && !operations.iter().any(|name| name == "verify" || name == "sign") =>
        {
            Err("key_ops has no verify, and only keys for signatures are used".into())
        }
        _ => Ok(()),
    }
}

/// A word of the set's publisher, if it may stand in a line of the log.
fn shown(word: &str) -> &str {
    if is_plain(word) { word } else { "something unusual" }
}

/// True if a word of the set's publisher is short and plain enough for a line of the log.
pub fn is_plain(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=+/@~#".contains(&byte);
    (1..=128).contains(&word.len()) && word.bytes().all(plain)
}
