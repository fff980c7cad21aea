//! Strict base64url (RFC 4648 section 5) as JWS uses it (RFC 7515 section 2): no padding, no whitespace, and the unused
//! bits of the last character are zero.
//!
//! The last rule is what keeps one token from having several spellings: a decoder that ignores those bits lets anybody
//! change a logged-out token's text without any key.

use ct_codecs::{Base64UrlSafeNoPadding, Decoder};

/// Decodes `text`, or says nothing about why it could not: the caller knows which part of the token it was.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    Base64UrlSafeNoPadding::decode_to_vec(text, None).ok()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn only_the_canonical_spelling_decodes() {
        assert_eq!(decode(b"_-8").as_deref(), Some(&[0xff, 0xef][..]));
        for respelled in [&b"_-9"[..], b"_-8=", b"/+8", b"_-8 ", b"_\n-8", b"_-8\0", b"A"] {
            assert_eq!(decode(respelled), None, "{respelled:?}");
        }
    }
}
