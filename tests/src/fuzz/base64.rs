//! A second reader of base64url (RFC 4648 section 5), bit by bit, which accepts only the canonical spelling.

/// The bytes of a text, if no other text in this alphabet means the same bytes.
pub(super) fn canonical(text: &[u8]) -> Option<Vec<u8>> {
    let (mut bits, mut held) = (0_u32, 0_u32);
    let mut bytes = Vec::new();
    for &byte in text {
        held = (held << 6 | sextet(byte)?) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.extend((held >> bits).to_le_bytes().first());
        }
    }
    let unused = held & ((1 << bits) - 1);
    (bits < 6 && unused == 0).then_some(bytes)
}

fn sextet(byte: u8) -> Option<u32> {
    match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn one_spelling_is_read_and_no_other() {
        assert_eq!(canonical(b"_-8").as_deref(), Some(&[0xff, 0xef][..]));
        assert_eq!(canonical(b"AAECAwQF").as_deref(), Some(&[0, 1, 2, 3, 4, 5][..]));
        for respelled in [&b"_-9"[..], b"_-8=", b"/+8", b"A", b"AAAAA", b"_-8\0"] {
            assert_eq!(canonical(respelled), None, "{respelled:?}");
        }
    }
}
