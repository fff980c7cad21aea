//! A key that tokens are verified with, from a JWK (RFC 7517) or a shared secret. The algorithm belongs to the key; a
//! token's header can only agree with it.

mod import;

use hmac::{Hmac, KeyInit as _};
use jwt_simple::prelude::{ES256PublicKey, ES384PublicKey};
use serde_json::Value;
use sha2::{Sha256, Sha384, Sha512};
use superboring::pkey::{PKey, Public};

use crate::algorithm::Algorithm;
use crate::id::labelled;
use crate::{Object, ed25519};

/// A key that tokens are verified with. Its debug form shows no key material.
pub struct VerificationKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) material: Material,
    id: KeyId,
    spki: Option<Vec<u8>>,
}

/// The key in the form that its algorithm's implementation takes.
pub(crate) enum Material {
    /// An HMAC state that has absorbed the key already, as have the next two.
    Hs256(Hmac<Sha256>),
    Hs384(Hmac<Sha384>),
    Hs512(Hmac<Sha512>),
    Rsa(PKey<Public>),
    P256(ES256PublicKey),
    P384(ES384PublicKey),
    P521(p521::ecdsa::VerifyingKey),
    Ed25519(ed25519::Key),
}

/// The identity of a key: the first 16 bytes of a SHA-256 over its algorithm, its material and its `kid`.
///
/// It stays the same wherever and however often the key is read, so a proof can name the key that it was made with. It
/// is shown nowhere, not even by `Debug`: a shared secret that a person has chosen can be guessed, and this hash would
/// tell whether a guess is right.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 16]);

impl std::fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KeyId(..)")
    }
}

impl KeyId {
    /// Takes sixteen bytes that were computed before.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The `kid` comes last and may be missing, so a key without one has another identity than a key whose `kid` is
    /// empty.
    fn of(algorithm: Algorithm, material: &[u8], kid: Option<&str>) -> Self {
        let mut parts = vec![algorithm.as_str().as_bytes(), material];
        parts.extend(kid.map(str::as_bytes));
        Self(labelled("curfew:v1:key", &parts))
    }
}

impl std::fmt::Debug for VerificationKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.algorithm.as_str();
        write!(formatter, "VerificationKey({name}, {:?})", self.kid)
    }
}

impl VerificationKey {
    /// Makes a key from a shared secret.
    ///
    /// # Errors
    /// A sentence for the operator: the algorithm takes no secret, or the secret is shorter than its hash.
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, String> {
        Self::from_named_secret(algorithm, secret, None)
    }

    fn from_named_secret(algorithm: Algorithm, secret: &[u8], kid: Option<String>) -> Result<Self, String> {
        let name = algorithm.as_str();
        let Some(minimum) = algorithm.minimum_secret() else {
            return Err(format!("{name} takes a JWK Set, not a secret"));
        };
        if secret.len() < minimum {
            return Err(format!("is too short for {name}: {} bytes, at least {minimum} are needed", secret.len()));
        }
        let material = match algorithm {
            Algorithm::HS384 => Hmac::new_from_slice(secret).map(Material::Hs384),
            Algorithm::HS512 => Hmac::new_from_slice(secret).map(Material::Hs512),
            _ => Hmac::new_from_slice(secret).map(Material::Hs256),
        };
        let material = material.map_err(|error| error.to_string())?;
        let id = KeyId::of(algorithm, secret, kid.as_deref());
        Ok(Self { algorithm, kid, material, id, spki: None })
    }

    /// Makes a key from one member of a JWK Set. `Ok(None)` for a key that is not for verifying tokens, which a set may
    /// well hold (RFC 7517 section 5): a key for encryption, or of a type or algorithm that Curfew does not know.
    ///
    /// A key that names no `alg` takes `default` if that fits its type, else the usual algorithm of its type.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn from_jwk(jwk: &Object, default: Option<Algorithm>) -> Result<Option<Self>, String> {
        if jwk.get("use").is_some_and(|usage| usage != "sig") {
            return Ok(None);
        }
        let Some(algorithm) = import::algorithm_of(jwk, default)? else {
            return Ok(None);
        };
        if ["d", "p", "q"].iter().any(|member| jwk.contains_key(*member)) {
            return Err("is a private key; put only its public part here".into());
        }
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err("has a kid that is not a string".into()),
        };
        import::key(jwk, algorithm, kid).map(Some)
    }

    /// The key of these parts. `public` is the encoding that its identity is computed over.
    fn public(algorithm: Algorithm, kid: Option<String>, material: Material, public: &[u8]) -> Self {
        let id = KeyId::of(algorithm, public, kid.as_deref());
        Self { algorithm, kid, material, id, spki: None }
    }

    /// The algorithm of this key.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its `kid`, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The identity of this key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The public key as DER SubjectPublicKeyInfo (RFC 5280 section 4.1), for RSA and ECDSA keys.
    pub fn spki(&self) -> Option<&[u8]> {
        self.spki.as_deref()
    }
}

#[cfg(test)]
mod tests;
