//! A key that tokens are verified with, from a JWK (RFC 7517) or a shared secret. The algorithm belongs to the key; a
//! token's header can only agree with it.
//!
//! A JWK that serves several algorithms becomes a key for each of them, which share the material.

mod import;
mod kind;
mod members;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _};
use jwt_simple::prelude::{ES256PublicKey, ES384PublicKey};
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use superboring::pkey::{PKey, Public};

use crate::algorithm::Algorithm;
use crate::id::labelled;
use crate::{Object, ed25519};
use kind::KeyType;
pub use kind::is_plain;
use members::PublicMembers;

/// A key that tokens are verified with. Its debug form shows no key material. A clone shares the material.
#[derive(Clone)]
pub struct VerificationKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) material: Arc<Material>,
    id: KeyId,
    spki: Option<Arc<[u8]>>,
    /// `None` for a secret, which has no public part.
    members: Option<Arc<PublicMembers>>,
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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
        Ok(Self { algorithm, kid, material: Arc::new(material), id, spki: None, members: None })
    }

    /// Makes the keys of one member of a JWK Set: one for each algorithm that it serves.
    ///
    /// `allowed` are the algorithms that tokens of the issuer may have; empty stands for all of them. A JWK with `alg`
    /// serves that algorithm. One without serves the allowed algorithms of its type; where `allowed` is empty, RS256 for
    /// an RSA key, and the algorithm of the curve for others.
    ///
    /// Members that are not known, or that belong to another type, are ignored (RFC 7517 section 4).
    ///
    /// # Errors
    /// Why the key cannot be used, in words that follow the key's name: a key for another purpose, of a type or an
    /// algorithm that is not known or not allowed, with a member that is wrong, or with its private part.
    pub fn from_jwk(jwk: &Object, allowed: &[Algorithm]) -> Result<Vec<Self>, String> {
        let kind = KeyType::of(jwk)?;
        kind::check_purpose(jwk)?;
        let algorithms = kind.algorithms(jwk, allowed)?;
        if kind.is_private(jwk) {
            return Err(PRIVATE.into());
        }
        let kid = kid(jwk)?;
        if kind == KeyType::Secret {
            let secret = members::bytes(jwk, "k")?;
            let key = |algorithm| Self::from_named_secret(algorithm, &secret, kid.clone());
            return algorithms.into_iter().map(|algorithm| key(algorithm).map_err(|why| format!("k {why}"))).collect();
        }
        let public = import::public_key(jwk, kind)?;
        Ok(algorithms.into_iter().map(|algorithm| Self::of_public(algorithm, kid.clone(), &public)).collect())
    }

    fn of_public(algorithm: Algorithm, kid: Option<String>, key: &import::PublicKey) -> Self {
        Self {
            algorithm,
            id: KeyId::of(algorithm, &key.encoding, kid.as_deref()),
            kid,
            material: Arc::clone(&key.material),
            spki: key.is_spki.then(|| Arc::clone(&key.encoding)),
            members: Some(Arc::clone(&key.members)),
        }
    }

    /// The algorithm of this key.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The name that tokens call the key by.
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

    /// The thumbprint (RFC 7638) with SHA-256, as base64url: it names the key whatever its `kid`, its algorithm and the
    /// spelling of its JWK. `None` for a secret: a secret that a person has chosen can be guessed, and its hash would
    /// tell whether a guess is right.
    pub fn thumbprint(&self) -> Option<String> {
        let members = self.members.as_ref()?;
        Some(URL_SAFE_NO_PAD.encode(Sha256::digest(members.to_text())))
    }

    /// The key as a JWK: its public members, its `kid`, its `alg` if `with_alg` is true, and nothing else. `None` for a
    /// secret.
    pub(crate) fn to_public_jwk(&self, with_alg: bool) -> Option<Value> {
        let mut jwk = Object::new();
        jwk.extend(with_alg.then(|| ("alg".to_owned(), self.algorithm.as_str().into())));
        jwk.extend(self.members.as_ref()?.iter().map(|(name, text)| (name.to_owned(), text.into())));
        jwk.extend(self.kid.as_deref().map(|kid| ("kid".to_owned(), kid.into())));
        Some(Value::Object(jwk))
    }
}

/// What is said of a key that was published with its private part.
const PRIVATE: &str = "is a private key; put only its public part here";

/// True if the member of a JWK Set holds the private part of a key pair.
pub(crate) fn is_private(jwk: &Object) -> bool {
    KeyType::of(jwk).is_ok_and(|kind| kind.is_private(jwk))
}

/// An empty `kid` is one: tokens cannot name it, but it is not the same as no `kid`.
fn kid(jwk: &Object) -> Result<Option<String>, String> {
    match jwk.get("kid") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(kid)) => Ok(Some(kid.clone())),
        Some(_) => Err("kid is not a text".into()),
    }
}

#[cfg(test)]
mod tests;
