//! Names as lenient programs read them.
//!
//! Upstreams differ in what they take for the same name: CGI cannot tell `x-user-id` from `x_user_id`, PHP turns dots and
//! spaces in cookies and parameters into underscores, some decode `%6b`, some fold case. Where such a difference would let
//! a client show one thing to the filter and another to the upstream, names are compared the way the most lenient does.

/// Whether some reader may take the two names for the same: no case, and any punctuation for any other.
pub(crate) fn alike(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().map(fold).eq(other.iter().map(fold))
}

fn fold(byte: &u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'_' }
}

/// A name in a query or a cookie after the decoding that some readers do: `%` escapes, `+` for a space, spaces around it,
/// and PHP's `name[]`.
pub(crate) fn decoded(name: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let escape = after.split_first_chunk::<2>().filter(|_| byte == b'%');
        let (byte, after) = match escape.and_then(|(digits, after)| Some((unescape(digits)?, after))) {
            Some(unescaped) => unescaped,
            None if byte == b'+' => (b' ', after),
            None => (byte, after),
        };
        decoded.push(byte);
        rest = after;
    }
    let name = decoded.split(|&byte| byte == b'[').next().unwrap_or_default();
    name.trim_ascii().to_vec()
}

fn unescape(digits: &[u8; 2]) -> Option<u8> {
    let digits =
        std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_alike_whatever_their_case_and_punctuation() {
        for other in ["x-user-id", "X_USER-ID", "x.user.id", "x user id"] {
            assert!(alike(b"x-user-id", other.as_bytes()), "{other}");
        }
        for other in ["x-userid", "x-user-id-", "y-user-id"] {
            assert!(!alike(b"x-user-id", other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn decoding_is_what_the_most_lenient_reader_does() {
        for name in ["token", "to%6ben", "to%6Ben", "+token", " token ", "token[]", "%74oken%5b0]"] {
            assert_eq!(decoded(name.as_bytes()), b"token", "{name}");
        }
        assert_eq!(decoded(b"to%6"), b"to%6");
        assert_eq!(decoded(b"to%+1"), b"to% 1");
    }
}
