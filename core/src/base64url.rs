//! Strict base64url (RFC 4648 section 5) as JWS uses it (RFC 7515 section 2): no padding, no whitespace, and the unused
//! bits of the last character are zero.
//!
//! The last rule is what keeps one token from having several spellings: a decoder that ignores those bits lets anybody
//! change a logged-out token's text without any key.
//!
//! Decoding takes no constant time: whoever sends a token knows it. It was the dearest part of refusing one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Decodes `text`, or says nothing about why it could not: the caller knows which part of the token it was.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
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

    #[test]
    fn nothing_has_two_spellings() {
        let mut seen = std::collections::HashSet::new();
        for text in (0..=u16::MAX).map(u16::to_be_bytes) {
            if let Some(bytes) = decode(&text) {
                assert_eq!(bytes.len(), 1);
                assert!(seen.insert(bytes), "{}", text.escape_ascii());
            }
        }
        assert_eq!(seen.len(), 256);
        // Among texts of three characters only the last has unused bits: two of its six.
        let last = (0..=u8::MAX).filter(|last| decode(&[b'A', b'A', *last]).is_some()).count();
        assert_eq!(last, 16);
    }
}
