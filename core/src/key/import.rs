//! Reads the key material of a JWK.
//!
//! The keys are jwt-simple's: its importers are strict (minimum sizes, points on the curve, no keys of small order).
//! They are given a JWK that is written anew, with the members of its type alone, because a member of another type and
//! a member that nobody knows are to be ignored (RFC 7517 section 4). The two kinds that jwt-simple has no importer
//! for, P-521 and `oct`, are checked here.

use std::sync::Arc;

use jwt_simple::algorithms::{ECDSAP256PublicKeyLike, ECDSAP384PublicKeyLike, EdDSAPublicKeyLike, RSAPublicKeyLike};
use jwt_simple::prelude::{ES256PublicKey, ES384PublicKey, Ed25519PublicKey, RS256PublicKey};
use p521::pkcs8::EncodePublicKey;
use superboring::pkey::PKey;

use super::members::{bytes, of_length};
use super::{KeyType, Material, PublicMembers};
use crate::{Object, ed25519};

/// The public key of one JWK, which may serve several algorithms.
pub(super) struct PublicKey {
    pub(super) material: Arc<Material>,
    /// The bytes that the key's identity is computed over.
    pub(super) encoding: Arc<[u8]>,
    /// True if the encoding is a SubjectPublicKeyInfo.
    pub(super) is_spki: bool,
    pub(super) members: Arc<PublicMembers>,
}

/// The public key of a JWK of this type, or a sentence that names the member that is wrong.
pub(super) fn public_key(jwk: &Object, kind: KeyType) -> Result<PublicKey, String> {
    match kind {
        KeyType::Rsa => rsa(jwk),
        KeyType::P256 => p256(jwk),
        KeyType::P384 => p384(jwk),
        KeyType::P521 => p521(jwk),
        KeyType::Ed25519 => ed25519(jwk),
        KeyType::Secret => Err("is no public key".into()),
    }
}

fn with_spki(material: Material, spki: Vec<u8>, members: PublicMembers) -> PublicKey {
    PublicKey { material: Arc::new(material), encoding: spki.into(), is_spki: true, members: Arc::new(members) }
}

/// RFC 7518 section 6.3.1. The importer has the same bounds; they are checked here first to say which member is wrong.
fn rsa(jwk: &Object) -> Result<PublicKey, String> {
    let (n, e) = (number(jwk, "n")?, number(jwk, "e")?);
    let bits = n.first().map_or(0, |first| n.len().saturating_mul(8) - first.leading_zeros() as usize);
    if !(2048..=4096).contains(&bits) {
        return Err(format!("n has {bits} bits, and 2048 to 4096 are accepted"));
    }
    if e != [1, 0, 1] {
        return Err("e is not 65537".into());
    }
    let members = PublicMembers::new("RSA", None, &[("e", &e), ("n", &n)]);
    let unusable = |_| "n is not the modulus of an RSA key".to_owned();
    let key = RS256PublicKey::from_jwk(&members.to_text()).map_err(unusable)?;
    let spki = key.public_key().to_der().map_err(unusable)?;
    let key = key.public_key().as_ref().clone();
    let key = PKey::from_rsa(key).map_err(|_| "n is not the modulus of an RSA key")?;
    Ok(with_spki(Material::Rsa(key), spki, members))
}

/// A number without leading zeros. Many programs write one, for a sign that it has not.
fn number(jwk: &Object, name: &str) -> Result<Vec<u8>, String> {
    let bytes = bytes(jwk, name)?;
    Ok(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// RFC 7518 section 6.2.1: both coordinates in full length.
fn point(jwk: &Object, curve: &'static str, length: usize) -> Result<(PublicMembers, Vec<u8>), String> {
    let (x, y) = (of_length(jwk, "x", length)?, of_length(jwk, "y", length)?);
    let encoded = [&[0x04], x.as_slice(), y.as_slice()].concat();
    Ok((PublicMembers::new("EC", Some(curve), &[("x", &x), ("y", &y)]), encoded))
}

fn p256(jwk: &Object) -> Result<PublicKey, String> {
    let (members, _) = point(jwk, "P-256", 32)?;
    let wrong = |_| "x and y are not a point on P-256".to_owned();
    let key = ES256PublicKey::from_jwk(&members.to_text()).map_err(wrong)?;
    let spki = key.public_key().to_der().map_err(wrong)?;
    Ok(with_spki(Material::P256(key), spki, members))
}

fn p384(jwk: &Object) -> Result<PublicKey, String> {
    let (members, _) = point(jwk, "P-384", 48)?;
    let wrong = |_| "x and y are not a point on P-384".to_owned();
    let key = ES384PublicKey::from_jwk(&members.to_text()).map_err(wrong)?;
    let spki = key.public_key().to_der().map_err(wrong)?;
    Ok(with_spki(Material::P384(key), spki, members))
}

fn p521(jwk: &Object) -> Result<PublicKey, String> {
    let (members, encoded) = point(jwk, "P-521", 66)?;
    let wrong = "x and y are not a point on P-521";
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(&encoded).map_err(|_| wrong)?;
    let spki = p521::PublicKey::from(key).to_public_key_der().map_err(|_| wrong)?;
    Ok(with_spki(Material::P521(key), spki.into_vec(), members))
}

/// RFC 8037 section 2.
fn ed25519(jwk: &Object) -> Result<PublicKey, String> {
    let x = of_length(jwk, "x", 32)?;
    let members = PublicMembers::new("OKP", Some("Ed25519"), &[("x", &x)]);
    let wrong = || "x is not a point of large order on Ed25519".to_owned();
    let key = Ed25519PublicKey::from_jwk(&members.to_text()).map_err(|_| wrong())?;
    let encoding = **key.public_key().as_ref();
    let key = ed25519::Key::new(encoding).ok_or_else(wrong)?;
    Ok(PublicKey {
        material: Arc::new(Material::Ed25519(key)),
        encoding: Arc::new(encoding),
        is_spki: false,
        members: Arc::new(members),
    })
}
