//! Tokens that no sane issuer would make, and other spellings of tokens that one did make.

use anyhow::{Context as _, Result};
use ct_codecs::{Base64UrlSafeNoPadding, Decoder as _};

use super::{base64, hs256_bytes};

/// A token with exactly this header and payload text, signed with HMAC-SHA-256 whatever the header says.
pub fn hs256_text(secret: &str, header: &str, payload: &str) -> String {
    hs256_bytes(secret, header, payload.as_bytes())
}

/// The other valid spelling of an ES256 token: the signature `(r, n - s)`, which needs no key to make.
///
/// # Errors
/// When the token's signature is not one of ES256.
pub fn es256_twin(token: &str) -> Result<String> {
    let (input, signature) = token.rsplit_once('.').context("a token has dots")?;
    let signature = Base64UrlSafeNoPadding::decode_to_vec(signature, None)?;
    let signature = p256::ecdsa::Signature::from_slice(&signature).context("an ES256 signature")?;
    let (r, s) = signature.split_scalars();
    let twin = p256::ecdsa::Signature::from_scalars(r, -s).context("the twin")?;
    Ok(format!("{input}.{}", base64(&twin.to_bytes())))
}

/// The same token with a last character whose unused bits are set: lax decoders read the same signature.
pub fn respelled_base64(token: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = token.to_owned();
    let last = text.pop().and_then(|last| ALPHABET.iter().position(|known| char::from(*known) == last));
    let twin = last.and_then(|position| ALPHABET.get(position | 1));
    text.push(char::from(*twin.unwrap_or(&b'A')));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_respelling_changes_only_unused_bits() {
        // 32 bytes leave two unused bits in the last of 43 characters.
        let token = format!("h.p.{}", base64(&[0; 32]));
        let twin = respelled_base64(&token);
        assert_ne!(token, twin);
        assert_eq!(twin.len(), token.len());
        assert!(twin.ends_with("AAB"));
    }
}
