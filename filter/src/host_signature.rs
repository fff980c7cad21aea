//! The proxy's own signature check, as bytes: the host function `verify_signature` takes and gives protobuf messages.
//!
//! BoringSSL in the proxy checks RSA and ECDSA some twenty times faster than code compiled to wasm. The host checks
//! neither PSS nor Ed25519 nor HMAC; those are checked in the VM.

use curfew_core::{Algorithm, Hash, SignatureCheck};

/// The host function's name.
pub const FUNCTION: &str = "verify_signature";

/// The message that asks the host to make this check. `None` if the host has no such check, or if the form of the
/// signature is wrong: the caller then checks it in the VM, which refuses that form.
///
/// Envoy's `VerifySignatureArguments`: 1 hash_function, 2 public_key (DER SubjectPublicKeyInfo), 3 signature, 4 text.
pub fn request(check: &SignatureCheck<'_>) -> Option<Vec<u8>> {
    let algorithm = check.key.algorithm();
    let ecdsa;
    let signature = match algorithm {
        Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => check.signature,
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 => {
            // JWS concatenates the two numbers; the host wants them in DER.
            ecdsa = check.ecdsa_der()?;
            &ecdsa
        }
        _ => return None,
    };
    let hash: &[u8] = match algorithm.hash() {
        Hash::Sha256 => b"sha256",
        Hash::Sha384 => b"sha384",
        Hash::Sha512 => b"sha512",
    };
    let key = check.key.spki()?;
    let mut message = Vec::with_capacity(key.len() + signature.len() + check.signing_input.len() + 32);
    for (field, bytes) in [(1, hash), (2, key), (3, signature), (4, check.signing_input)] {
        push_field(&mut message, field, bytes);
    }
    Some(message)
}

/// Appends a length-delimited field.
fn push_field(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | 2);
    let mut length = bytes.len();
    loop {
        // The mask leaves seven bits.
        let low = u8::try_from(length & 0x7f).unwrap_or(0);
        length >>= 7;
        if length == 0 {
            message.push(low);
            break;
        }
        message.push(low | 0x80);
    }
    message.extend_from_slice(bytes);
}

/// True if the host's answer says that the signature verifies. Envoy's `VerifySignatureResult`: 1 result (bool), 2
/// error.
///
/// Success has one encoding, the single field set to true. Everything else is failure, also the empty message.
pub fn verified(answer: &[u8]) -> bool {
    answer == [0x08, 0x01]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_length_delimited() {
        let mut message = Vec::new();
        push_field(&mut message, 1, b"sha256");
        push_field(&mut message, 2, &[7; 300]);
        assert_eq!(message[..10], *b"\x0a\x06sha256\x12\xac");
        assert_eq!(message[10..13], [0x02, 7, 7]);
        assert_eq!(message.len(), 8 + 3 + 300);
    }

    #[test]
    fn only_a_plain_yes_verifies() {
        assert!(verified(&[0x08, 0x01]));
        for answer in [&[][..], &[0x08, 0x00], &[0x08], &[0x12, 0x01, b'x'], &[0x08, 0x01, 0x12, 0x01, b'x']] {
            assert!(!verified(answer), "{answer:?}");
        }
    }
}
