//! Reads the key material of a JWK.
//!
//! The keys are jwt-simple's: its importers are strict (minimum sizes, points on the curve, no keys of small order).
//! The two kinds that it has no importer for, P-521 and `oct`, are checked here.

use jwt_simple::algorithms::{ECDSAP256PublicKeyLike, ECDSAP384PublicKeyLike, EdDSAPublicKeyLike, RSAPublicKeyLike};
use jwt_simple::prelude::{
    ES256PublicKey, ES384PublicKey, Ed25519PublicKey, PS256PublicKey, PS384PublicKey, PS512PublicKey, RS256PublicKey,
    RS384PublicKey, RS512PublicKey,
};
use p521::pkcs8::EncodePublicKey;
use serde_json::Value;
use superboring::pkey::PKey;

use super::{Material, VerificationKey};
use crate::algorithm::Algorithm;
use crate::{Object, base64url, ed25519};

/// The algorithm of a JWK; `None` for one that Curfew does not verify.
pub(super) fn algorithm_of(jwk: &Object, default: Option<Algorithm>) -> Result<Option<Algorithm>, String> {
    use Algorithm::{ES256, ES384, ES512, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
    if jwk.contains_key("alg") {
        return Ok(text(jwk, "alg").and_then(Algorithm::parse));
    }
    let candidates: &[Algorithm] = match (text(jwk, "kty"), text(jwk, "crv")) {
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
        // The length of a secret does not say which hash it is for.
        (None, [HS256, ..]) => Err("needs an alg, for its type does not imply one".into()),
        (chosen, candidates) => Ok(chosen.or_else(|| candidates.first().copied())),
    }
}

/// The key of a JWK whose algorithm is known.
pub(super) fn key(jwk: &Object, algorithm: Algorithm, kid: Option<String>) -> Result<VerificationKey, String> {
    use Algorithm::{ES256, ES384, ES512, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
    let json = serde_json::to_string(jwk).map_err(|error| error.to_string())?;
    let (material, spki) = match algorithm {
        HS256 | HS384 | HS512 => return secret(jwk, algorithm, kid),
        EdDSA => return ed25519(&json, kid),
        RS256 => rsa(RS256PublicKey::from_jwk(&json), algorithm),
        RS384 => rsa(RS384PublicKey::from_jwk(&json), algorithm),
        RS512 => rsa(RS512PublicKey::from_jwk(&json), algorithm),
        PS256 => rsa(PS256PublicKey::from_jwk(&json), algorithm),
        PS384 => rsa(PS384PublicKey::from_jwk(&json), algorithm),
        PS512 => rsa(PS512PublicKey::from_jwk(&json), algorithm),
        ES256 => p256(&json),
        ES384 => p384(&json),
        ES512 => p521(jwk),
    }?;
    let key = VerificationKey::public(algorithm, kid, material, &spki);
    Ok(VerificationKey { spki: Some(spki), ..key })
}

fn text<'a>(jwk: &'a Object, name: &str) -> Option<&'a str> {
    jwk.get(name).and_then(Value::as_str)
}

fn unusable(algorithm: Algorithm, error: impl std::fmt::Display) -> String {
    format!("is not a usable {} key: {error}", algorithm.as_str())
}

/// A key and its SubjectPublicKeyInfo.
type Imported = (Material, Vec<u8>);

fn rsa<K: RSAPublicKeyLike>(key: Result<K, jwt_simple::Error>, algorithm: Algorithm) -> Result<Imported, String> {
    let key = key.map_err(|error| unusable(algorithm, error))?;
    let spki = key.public_key().to_der().map_err(|error| unusable(algorithm, error))?;
    let rsa = key.public_key().as_ref().clone();
    let rsa = PKey::from_rsa(rsa).map_err(|_| unusable(algorithm, "not an RSA key"))?;
    Ok((Material::Rsa(rsa), spki))
}

fn p256(json: &str) -> Result<Imported, String> {
    let wrong = |error| unusable(Algorithm::ES256, error);
    let key = ES256PublicKey::from_jwk(json).map_err(wrong)?;
    let spki = key.public_key().to_der().map_err(wrong)?;
    Ok((Material::P256(key), spki))
}

fn p384(json: &str) -> Result<Imported, String> {
    let wrong = |error| unusable(Algorithm::ES384, error);
    let key = ES384PublicKey::from_jwk(json).map_err(wrong)?;
    let spki = key.public_key().to_der().map_err(wrong)?;
    Ok((Material::P384(key), spki))
}

/// RFC 7518 section 6.2.1: both coordinates in full length.
fn p521(jwk: &Object) -> Result<Imported, String> {
    let wrong = || unusable(Algorithm::ES512, "not a point on P-521");
    if text(jwk, "kty") != Some("EC") || text(jwk, "crv") != Some("P-521") {
        return Err(wrong());
    }
    let coordinate = |name| {
        let text = text(jwk, name)?;
        base64url::decode(text.as_bytes()).filter(|bytes| bytes.len() == 66)
    };
    let (x, y) = coordinate("x").zip(coordinate("y")).ok_or_else(wrong)?;
    let point = [&[0x04], x.as_slice(), y.as_slice()].concat();
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| wrong())?;
    let spki = p521::PublicKey::from(key).to_public_key_der().map_err(|_| wrong())?;
    Ok((Material::P521(key), spki.into_vec()))
}

fn ed25519(json: &str, kid: Option<String>) -> Result<VerificationKey, String> {
    let algorithm = Algorithm::EdDSA;
    let key = Ed25519PublicKey::from_jwk(json).map_err(|error| unusable(algorithm, error))?;
    let encoding = **key.public_key().as_ref();
    let key = ed25519::Key::new(encoding).ok_or_else(|| unusable(algorithm, "not a point of large order"))?;
    Ok(VerificationKey::public(algorithm, kid, Material::Ed25519(key), &encoding))
}

fn secret(jwk: &Object, algorithm: Algorithm, kid: Option<String>) -> Result<VerificationKey, String> {
    let secret = text(jwk, "k").and_then(|k| base64url::decode(k.as_bytes()));
    let secret = secret.ok_or_else(|| unusable(algorithm, "k is not base64url"))?;
    VerificationKey::from_named_secret(algorithm, &secret, kid)
}
