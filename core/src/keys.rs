//! Verification keys, from a JWK Set (RFC 7517) or a shared secret. The algorithm belongs to the key; a token's header can only agree.
//!
//! Keys are jwt-simple's: its importers are strict (minimum sizes, points on the curve, no small-order keys). The two
//! kinds it has no importer for, P-521 and `oct`, are checked here.

use hmac::{Hmac, KeyInit as _};
use jwt_simple::algorithms::{ECDSAP256PublicKeyLike, ECDSAP384PublicKeyLike, EdDSAPublicKeyLike, RSAPublicKeyLike};
use jwt_simple::prelude::{
    ES256PublicKey, ES384PublicKey, Ed25519PublicKey, PS256PublicKey, PS384PublicKey, PS512PublicKey, RS256PublicKey,
    RS384PublicKey, RS512PublicKey,
};
use p521::pkcs8::EncodePublicKey;
use serde_json::Value;
use sha2::{Sha256, Sha384, Sha512};
use superboring::pkey::{PKey, Public};

use crate::{Object, base64url, ed25519};

/// A JWS algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

/// The hash function inside an algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// Every algorithm, with its name in `alg`.
    pub const ALL: [(&'static str, Self); 13] = [
        ("HS256", Self::HS256),
        ("HS384", Self::HS384),
        ("HS512", Self::HS512),
        ("RS256", Self::RS256),
        ("RS384", Self::RS384),
        ("RS512", Self::RS512),
        ("PS256", Self::PS256),
        ("PS384", Self::PS384),
        ("PS512", Self::PS512),
        ("ES256", Self::ES256),
        ("ES384", Self::ES384),
        ("ES512", Self::ES512),
        ("EdDSA", Self::EdDSA),
    ];

    /// The algorithm of an exact `alg` name. `Ed25519` is RFC 9864's name for what `EdDSA` means with such a key.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDSA);
        }
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, algorithm)| *algorithm)
    }

    /// The name in `alg`.
    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, algorithm)| *algorithm == self);
        found.map_or("", |(name, _)| name)
    }

    /// The hash function that the signature is made over.
    pub const fn hash(self) -> Hash {
        match self {
            Self::HS256 | Self::RS256 | Self::PS256 | Self::ES256 => Hash::Sha256,
            Self::HS384 | Self::RS384 | Self::PS384 | Self::ES384 => Hash::Sha384,
            Self::HS512 | Self::RS512 | Self::PS512 | Self::ES512 | Self::EdDSA => Hash::Sha512,
        }
    }

    /// The shortest secret, in bytes: the size of the hash (RFC 7518 section 3.2). `None` for asymmetric algorithms.
    pub const fn minimum_secret(self) -> Option<usize> {
        match self {
            Self::HS256 => Some(32),
            Self::HS384 => Some(48),
            Self::HS512 => Some(64),
            _ => None,
        }
    }
}

/// A key that tokens are verified with. Its debug form shows no key material.
pub struct VerificationKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) material: Material,
    spki: Option<Vec<u8>>,
}

/// HMAC keys as states that have taken the key in already.
pub(crate) enum Material {
    Hs256(Hmac<Sha256>),
    Hs384(Hmac<Sha384>),
    Hs512(Hmac<Sha512>),
    Rsa(PKey<Public>),
    P256(ES256PublicKey),
    P384(ES384PublicKey),
    P521(p521::ecdsa::VerifyingKey),
    Ed25519(ed25519::Key),
}

impl std::fmt::Debug for VerificationKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.algorithm.as_str();
        write!(formatter, "VerificationKey({name}, {:?})", self.kid)
    }
}

impl VerificationKey {
    /// A key from a shared secret.
    ///
    /// # Errors
    /// A sentence for the operator: the algorithm takes no secret, or the secret is shorter than its hash.
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, String> {
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
        Ok(Self { algorithm, kid: None, material, spki: None })
    }

    /// A key from one member of a JWK Set. `Ok(None)` for a key that is not for verifying tokens, which a set may well
    /// hold (RFC 7517 section 5): one for encryption, or of a type or algorithm that Curfew does not know.
    ///
    /// A key that names no `alg` takes `default` if that fits its type, else the usual one of its type.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn from_jwk(jwk: &Object, default: Option<Algorithm>) -> Result<Option<Self>, String> {
        if jwk.get("use").is_some_and(|usage| usage != "sig") {
            return Ok(None);
        }
        let Some(algorithm) = algorithm_of(jwk, default)? else {
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
        let (material, spki) = import(jwk, algorithm)?;
        Ok(Some(Self { algorithm, kid, material, spki }))
    }

    /// The algorithm of this key.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key as DER SubjectPublicKeyInfo (RFC 5280 section 4.1), for RSA and ECDSA keys.
    pub fn spki(&self) -> Option<&[u8]> {
        self.spki.as_deref()
    }
}

fn algorithm_of(jwk: &Object, default: Option<Algorithm>) -> Result<Option<Algorithm>, String> {
    let member = |name| jwk.get(name).and_then(Value::as_str);
    if jwk.contains_key("alg") {
        return Ok(member("alg").and_then(Algorithm::parse));
    }
    use Algorithm::{ES256, ES384, ES512, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
    let candidates: &[Algorithm] = match (member("kty"), member("crv")) {
        (Some("RSA"), _) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        (Some("EC"), Some("P-256")) => &[ES256],
        (Some("EC"), Some("P-384")) => &[ES384],
        (Some("EC"), Some("P-521")) => &[ES512],
        (Some("OKP"), Some("Ed25519")) => &[EdDSA],
        (Some("oct"), _) => &[HS256, HS384, HS512],
        _ => return Ok(None),
    };
    let chosen = default.filter(|algorithm| candidates.contains(algorithm));
    match (chosen, candidates) {
        // The length of a secret says nothing of the hash it is for.
        (None, [HS256, ..]) => Err("needs an alg, for its type does not imply one".into()),
        (chosen, candidates) => Ok(chosen.or_else(|| candidates.first().copied())),
    }
}

type Imported = (Material, Option<Vec<u8>>);

fn import(jwk: &Object, algorithm: Algorithm) -> Result<Imported, String> {
    let json = serde_json::to_string(jwk).map_err(|error| error.to_string())?;
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => import_secret(jwk, algorithm),
        Algorithm::RS256 => import_rsa(RS256PublicKey::from_jwk(&json), algorithm),
        Algorithm::RS384 => import_rsa(RS384PublicKey::from_jwk(&json), algorithm),
        Algorithm::RS512 => import_rsa(RS512PublicKey::from_jwk(&json), algorithm),
        Algorithm::PS256 => import_rsa(PS256PublicKey::from_jwk(&json), algorithm),
        Algorithm::PS384 => import_rsa(PS384PublicKey::from_jwk(&json), algorithm),
        Algorithm::PS512 => import_rsa(PS512PublicKey::from_jwk(&json), algorithm),
        Algorithm::ES256 => {
            let key = ES256PublicKey::from_jwk(&json).map_err(|error| unusable(algorithm, error))?;
            let spki = key.public_key().to_der().map_err(|error| unusable(algorithm, error))?;
            Ok((Material::P256(key), Some(spki)))
        }
        Algorithm::ES384 => {
            let key = ES384PublicKey::from_jwk(&json).map_err(|error| unusable(algorithm, error))?;
            let spki = key.public_key().to_der().map_err(|error| unusable(algorithm, error))?;
            Ok((Material::P384(key), Some(spki)))
        }
        Algorithm::ES512 => import_p521(jwk),
        Algorithm::EdDSA => {
            let key = Ed25519PublicKey::from_jwk(&json).map_err(|error| unusable(algorithm, error))?;
            let key = ed25519::Key::new(**key.public_key().as_ref());
            let key = key.ok_or_else(|| unusable(algorithm, "not a point of large order"))?;
            Ok((Material::Ed25519(key), None))
        }
    }
}

fn unusable(algorithm: Algorithm, error: impl std::fmt::Display) -> String {
    format!("is not a usable {} key: {error}", algorithm.as_str())
}

fn import_rsa<K: RSAPublicKeyLike>(
    key: Result<K, jwt_simple::Error>,
    algorithm: Algorithm,
) -> Result<Imported, String> {
    let key = key.map_err(|error| unusable(algorithm, error))?;
    let spki = key.public_key().to_der().map_err(|error| unusable(algorithm, error))?;
    let rsa = key.public_key().as_ref().clone();
    let rsa = PKey::from_rsa(rsa).map_err(|_| unusable(algorithm, "not an RSA key"))?;
    Ok((Material::Rsa(rsa), Some(spki)))
}

fn import_secret(jwk: &Object, algorithm: Algorithm) -> Result<Imported, String> {
    let secret = jwk.get("k").and_then(Value::as_str);
    let secret = secret.and_then(|k| base64url::decode(k.as_bytes()));
    let secret = secret.ok_or_else(|| unusable(algorithm, "k is not base64url"))?;
    VerificationKey::from_secret(algorithm, &secret).map(|key| (key.material, None))
}

/// RFC 7518 section 6.2.1: both coordinates in full length.
fn import_p521(jwk: &Object) -> Result<Imported, String> {
    let wrong = || unusable(Algorithm::ES512, "not a point on P-521");
    if jwk.get("kty").and_then(Value::as_str) != Some("EC") || jwk.get("crv").and_then(Value::as_str) != Some("P-521") {
        return Err(wrong());
    }
    let coordinate = |name| {
        let text = jwk.get(name).and_then(Value::as_str)?;
        base64url::decode(text.as_bytes()).filter(|bytes| bytes.len() == 66)
    };
    let (x, y) = coordinate("x").zip(coordinate("y")).ok_or_else(wrong)?;
    let point = [&[0x04], x.as_slice(), y.as_slice()].concat();
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| wrong())?;
    let spki = p521::PublicKey::from(key).to_public_key_der().map_err(|_| wrong())?;
    Ok((Material::P521(key), Some(spki.into_vec())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(jwk: Value) -> Result<Option<VerificationKey>, String> {
        let Value::Object(jwk) = jwk else { panic!("a JWK is an object") };
        VerificationKey::from_jwk(&jwk, None)
    }

    #[test]
    fn short_secrets_are_refused() {
        for (name, algorithm) in Algorithm::ALL {
            let Some(minimum) = algorithm.minimum_secret() else { continue };
            assert!(VerificationKey::from_secret(algorithm, &vec![1; minimum]).is_ok());
            let error = VerificationKey::from_secret(algorithm, &vec![1; minimum - 1]).unwrap_err();
            assert_eq!(error, format!("is too short for {name}: {} bytes, at least {minimum} are needed", minimum - 1));
        }
        let error = VerificationKey::from_secret(Algorithm::RS256, &[1; 64]).unwrap_err();
        assert_eq!(error, "RS256 takes a JWK Set, not a secret");
    }

    #[test]
    fn keys_for_other_purposes_are_passed_over() {
        assert!(key(json!({"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"})).unwrap().is_none());
        assert!(key(json!({"kty": "EC", "crv": "secp256k1", "x": "", "y": ""})).unwrap().is_none());
        assert!(key(json!({"kty": "RSA", "alg": "RSA-OAEP"})).unwrap().is_none());
        assert!(key(json!({"kty": "new"})).unwrap().is_none());
    }

    #[test]
    fn unusable_keys_are_mistakes() {
        let weak = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
        assert!(key(weak).unwrap_err().starts_with("is not a usable RS256 key"));
        let off_curve = json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"});
        assert_eq!(key(off_curve).unwrap_err(), "is not a usable ES512 key: not a point on P-521");
        let private = json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"});
        assert_eq!(key(private).unwrap_err(), "is a private key; put only its public part here");
        assert_eq!(key(json!({"kty": "oct", "k": "AA"})).unwrap_err(), "needs an alg, for its type does not imply one");
        let small_order = json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
        assert!(key(small_order).unwrap_err().starts_with("is not a usable EdDSA key"));
    }

    fn encoded(bytes: &[u8]) -> String {
        use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
        Base64UrlSafeNoPadding::encode_to_string(bytes).unwrap()
    }

    #[test]
    fn an_rsa_key_has_2048_bits_at_least_and_an_odd_modulus() {
        let with_modulus = |first: u8, last: u8| {
            let mut modulus = [0xa5; 256];
            (modulus[0], modulus[255]) = (first, last);
            key(json!({"kty": "RSA", "n": encoded(&modulus), "e": "AQAB"}))
        };
        assert!(with_modulus(0x80, 1).is_ok());
        assert!(with_modulus(0x7f, 1).unwrap_err().starts_with("is not a usable RS256 key"), "2047 bits");
        assert!(
            with_modulus(0x80, 2).unwrap_err().starts_with("is not a usable RS256 key"),
            "no product of two primes"
        );
    }

    #[test]
    fn debug_shows_no_key_material() {
        let key = VerificationKey::from_secret(Algorithm::HS256, &[b'x'; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "VerificationKey(HS256, None)");
    }
}
