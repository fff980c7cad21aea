//! Envoy's foreign function `verify_signature`, answered by native code.
//!
//! The message is protobuf: 1 hash function, 2 public key (DER SubjectPublicKeyInfo), 3 signature, 4 text. The answer:
//! 1 success (bool), 2 error. RSA is PKCS#1 v1.5; ECDSA takes a DER signature. The core's own code checks the
//! signature, so this host is as strict as the filter's fallback and shows nothing about Envoy's BoringSSL; the
//! end-to-end tests do.

use curfew_core::{SignatureCheck, VerificationKey, verify_natively};
use jwt_simple::prelude::{ES256PublicKey, ES384PublicKey, RS256PublicKey};
use serde_json::{Value, json};

use crate::tokens::base64;

const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;
/// Protobuf for "1: true".
const SUCCESS: [u8; 2] = [0x08, 0x01];
const FAILURE: &[u8] = b"\x08\x00\x12\x17Failed to verify signature.";

/// Answers one call.
pub(super) fn verify_signature(message: &[u8]) -> Vec<u8> {
    match Message::parse(message).and_then(|message| message.verify()) {
        Some(true) => SUCCESS.to_vec(),
        _ => failure(),
    }
}

fn failure() -> Vec<u8> {
    FAILURE.to_vec()
}

#[derive(Default)]
struct Message {
    hash: String,
    public_key: Vec<u8>,
    signature: Vec<u8>,
    text: Vec<u8>,
}

impl Message {
    fn parse(mut rest: &[u8]) -> Option<Self> {
        let mut message = Self::default();
        while !rest.is_empty() {
            let tag = varint(&mut rest)?;
            if tag & 7 == VARINT {
                varint(&mut rest)?;
                continue;
            }
            if tag & 7 != LENGTH_DELIMITED {
                return None;
            }
            let length = usize::try_from(varint(&mut rest)?).ok()?;
            let (value, after) = rest.split_at_checked(length)?;
            rest = after;
            match tag >> 3 {
                1 => message.hash = String::from_utf8(value.to_vec()).ok()?,
                2 => message.public_key = value.to_vec(),
                3 => message.signature = value.to_vec(),
                4 => message.text = value.to_vec(),
                _ => return None,
            }
        }
        Some(message)
    }

    fn verify(&self) -> Option<bool> {
        let (jwk, signature) = self.rsa().or_else(|| self.ecdsa())?;
        let key = VerificationKey::from_jwk(jwk.as_object()?, &[]).ok()?.pop()?;
        let check = SignatureCheck { key: &key, signing_input: &self.text, signature: &signature };
        Some(verify_natively(&check))
    }

    fn rsa(&self) -> Option<(Value, Vec<u8>)> {
        let key = RS256PublicKey::from_der(&self.public_key).ok()?;
        let mut jwk: Value = serde_json::from_str(&key.to_jwk()).ok()?;
        let bits = self.hash.strip_prefix("sha")?;
        jwk.as_object_mut()?.insert("alg".into(), json!(format!("RS{bits}")));
        Some((jwk, self.signature.clone()))
    }

    fn ecdsa(&self) -> Option<(Value, Vec<u8>)> {
        let (der, signature) = (&self.public_key, &self.signature);
        match self.hash.as_str() {
            "sha256" => {
                let jwk = ES256PublicKey::from_der(der).ok()?.to_jwk();
                let halves = p256::ecdsa::Signature::from_der(signature).ok()?;
                Some((serde_json::from_str(&jwk).ok()?, halves.to_bytes().to_vec()))
            }
            "sha384" => {
                let jwk = ES384PublicKey::from_der(der).ok()?.to_jwk();
                let halves = p384::ecdsa::Signature::from_der(signature).ok()?;
                Some((serde_json::from_str(&jwk).ok()?, halves.to_bytes().to_vec()))
            }
            "sha512" => {
                let halves = p521::ecdsa::Signature::from_der(signature).ok()?;
                Some((p521_jwk(der)?, halves.to_bytes().to_vec()))
            }
            _ => None,
        }
    }
}

/// A SubjectPublicKeyInfo of P-521 ends with the uncompressed point: 0x04, x, y of 66 bytes each.
fn p521_jwk(der: &[u8]) -> Option<Value> {
    let point = der.get(der.len().checked_sub(133)?..)?;
    let (&4, halves) = point.split_first()? else {
        return None;
    };
    let (x, y) = halves.split_at_checked(66)?;
    Some(json!({"kty": "EC", "crv": "P-521", "alg": "ES512", "x": base64(x), "y": base64(y)}))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
