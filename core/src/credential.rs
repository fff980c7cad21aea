//! The token inside an `Authorization` header's value.

/// Why an `Authorization` value holds no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The value is empty, or a scheme without a credential.
    #[error("the header is empty")]
    Empty,
    /// Another scheme, several credentials, or bytes that no token has.
    #[error("the header is not one bearer token")]
    NotBearer,
}

/// The token of an `Authorization` value: `Bearer`, in any case, with spaces before the token (RFC 9110 section 11.4,
/// RFC 6750 section 2.1), or the bare token, as the documented API has always taken it.
///
/// Only the bytes that a token may hold pass, so a tab, a comma, a second credential and another scheme are refused.
pub fn from_authorization(value: &[u8]) -> Result<&[u8], CredentialError> {
    let token = in_authorization(value)?;
    if is_token_text(token) { Ok(token) } else { Err(CredentialError::NotBearer) }
}

/// The text in the place of the token in an `Authorization` value. It is a credential only if [`is_token_text`];
/// callers that have checked the same text before need not check it again.
pub fn in_authorization(value: &[u8]) -> Result<&[u8], CredentialError> {
    let value = trim_spaces(value);
    let token = match value.split_first_chunk::<7>() {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => trim_spaces(token),
        _ if value.eq_ignore_ascii_case(b"bearer") => &[],
        _ => value,
    };
    if token.is_empty() { Err(CredentialError::Empty) } else { Ok(token) }
}

/// True if a compact JWS may hold every one of these bytes.
pub fn is_token_text(text: &[u8]) -> bool {
    text.iter().all(|&byte| is_token_byte(byte))
}

/// True if a compact JWS may hold this byte (RFC 7515 section 7.1).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    // This runs for every byte of every token, and more than once for forged ones: a load is cheaper than comparisons.
    static TOKEN_BYTES: [bool; 256] = token_bytes();
    TOKEN_BYTES.get(usize::from(byte)).copied().unwrap_or(false)
}

#[expect(clippy::indexing_slicing, reason = "run by the compiler, which refuses an index out of bounds")]
const fn token_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < u8::MAX {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        byte += 1;
    }
    table
}

fn trim_spaces(mut value: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_in_any_case_and_the_bare_token_are_taken() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c ", "a.b.c", " a.b.c"] {
            assert_eq!(from_authorization(value.as_bytes()), Ok(&b"a.b.c"[..]), "{value}");
        }
    }

    #[test]
    fn a_token_may_contain_65_characters() {
        let alphabet: Vec<u8> = (0..=u8::MAX).filter(|byte| is_token_byte(*byte)).collect();
        assert_eq!(alphabet, b"-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz");
    }

    #[test]
    fn an_empty_value_is_no_credential() {
        for value in ["", "  ", "Bearer", "bearer  "] {
            assert_eq!(from_authorization(value.as_bytes()), Err(CredentialError::Empty), "{value}");
        }
    }

    #[test]
    fn anything_else_is_not_a_bearer_token() {
        let values: [&[u8]; 9] = [
            b"Bearer\ta.b.c",
            b"Bearer \xc2\xa0a.b.c",
            b"Bearer a.b.c, Bearer d.e.f",
            b"Basic x, Bearer a.b.c",
            b"Basic dXNlcjpwYXNz",
            b"Bearer a.b.c d",
            b"Bearer a.b.c=",
            b"Bearer a.b.\xff",
            b"Bearer \"a.b.c\"",
        ];
        for value in values {
            assert_eq!(from_authorization(value), Err(CredentialError::NotBearer), "{value:?}");
        }
        // Without a space, the scheme's name is part of the text. Its header does not decode, so no token is read from
        // it.
        assert_eq!(from_authorization(b"Bearera.b.c"), Ok(&b"Bearera.b.c"[..]));
    }
}
