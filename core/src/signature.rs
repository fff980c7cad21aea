//! Checks a signature over the signing input, apart from any claim.
//!
//! jwt-simple checks a signature and parses claims into its own types in one call, and those types refuse what many
//! issuers write (an integer `sub`). So the check is made here, with jwt-simple's keys and the primitives that it uses
//! itself. The exception is Ed25519, for which other code is much cheaper and accepts the same ([`crate::ed25519`]).

use hmac::Mac;
use jwt_simple::algorithms::{ECDSAP256PublicKeyLike, ECDSAP384PublicKeyLike};
use p256::ecdsa::signature::Verifier as _;
use superboring::hash::MessageDigest;
use superboring::pkey::{PKey, Public};
use superboring::rsa::Padding;
use superboring::sign::Verifier as RsaVerifier;

use crate::algorithm::{Algorithm, Hash};
use crate::key::{Material, VerificationKey};

/// A signature to be checked, here or in the proxy. The check must be about exactly these bytes.
#[derive(Debug, Clone, Copy)]
pub struct SignatureCheck<'a> {
    /// The key, which names the algorithm.
    pub key: &'a VerificationKey,
    /// `header.payload` as it was signed.
    pub signing_input: &'a [u8],
    /// The decoded signature in JWS form (RFC 7518 section 3).
    pub signature: &'a [u8],
}

impl SignatureCheck<'_> {
    /// The ECDSA signature in DER, which some checkers want. `None` for other algorithms, and for a signature that is
    /// not two numbers in `1..n` in full length (RFC 7518 section 3.4).
    pub fn ecdsa_der(&self) -> Option<Vec<u8>> {
        match self.key.algorithm {
            Algorithm::ES256 => {
                let signature = p256::ecdsa::Signature::from_slice(self.signature).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
            Algorithm::ES384 => {
                let signature = p384::ecdsa::Signature::from_slice(self.signature).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
            Algorithm::ES512 => {
                let signature = p521::ecdsa::Signature::from_slice(self.signature).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
            _ => None,
        }
    }
}

/// Checks a signature with the code compiled into this program.
#[must_use]
pub fn verify_natively(check: &SignatureCheck<'_>) -> bool {
    let (message, signature) = (check.signing_input, check.signature);
    match &*check.key.material {
        Material::Hs256(key) => mac(key, message, signature),
        Material::Hs384(key) => mac(key, message, signature),
        Material::Hs512(key) => mac(key, message, signature),
        Material::Rsa(key) => rsa(key, check.key.algorithm, message, signature).unwrap_or(false),
        Material::P256(key) => p256::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| key.public_key().as_ref().verify(message, &signature).is_ok()),
        Material::P384(key) => p384::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| key.public_key().as_ref().verify(message, &signature).is_ok()),
        Material::P521(key) => {
            p521::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
        }
        Material::Ed25519(key) => key.verify(message, signature),
    }
}

/// Compares in constant time. A signature must have exactly the MAC's length, so a truncated one is refused (RFC 7518
/// section 3.2).
fn mac(key: &(impl Mac + Clone), message: &[u8], signature: &[u8]) -> bool {
    key.clone().chain_update(message).verify_slice(signature).is_ok()
}

fn rsa(key: &PKey<Public>, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<bool> {
    let digest = match algorithm.hash() {
        Hash::Sha256 => MessageDigest::sha256(),
        Hash::Sha384 => MessageDigest::sha384(),
        Hash::Sha512 => MessageDigest::sha512(),
    };
    let padding = match algorithm {
        Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 => Padding::PKCS1_PSS,
        _ => Padding::PKCS1,
    };
    let mut verifier = RsaVerifier::new(digest, key).ok()?;
    verifier.set_rsa_padding(padding).ok()?;
    verifier.update(message).ok()?;
    verifier.verify(signature).ok()
}
