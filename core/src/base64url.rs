//! Strict base64url (RFC 4648 section 5) as JWS uses it (RFC 7515 section 2): no padding, no whitespace, and the unused
//! bits of the last character are zero.
//!
//! The last rule keeps one token from having several spellings: with a decoder that ignores those bits, a client can
//! change the text of a logged-out token without any key.
//!
//! Decoding need not take constant time, because the sender of a token knows it. A constant-time decoder was the most
//! expensive part of refusing a token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Decodes `text`; `None` if it is not canonical. The caller knows which part of the token it was.
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
        // In a text of three characters only the last one has unused bits: two of its six.
        let last = (0..=u8::MAX).filter(|last| decode(&[b'A', b'A', *last]).is_some()).count();
        assert_eq!(last, 16);
    }
}
