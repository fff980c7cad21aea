//! A header that may hold a token: which prefixes stand before it, and what belongs to another scheme.

use curfew_core::{CredentialError, Fields, in_authorization};

use super::Problem;

/// The longest prefix.
const MAX_PREFIX_BYTES: usize = 64;

/// A header, and what stands before the token in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderSource {
    /// Its name in lower case.
    pub name: String,
    /// Texts that stand before the token; case does not count. Spaces may follow them, and must if the text ends with a
    /// letter or a digit.
    pub prefixes: Vec<String>,
    /// True if it may also hold `Bearer` and the token, or the bare token.
    pub bearer: bool,
}

impl HeaderSource {
    pub(super) fn new(name: &str, prefix: Option<String>) -> Self {
        let bearer = prefix.is_none();
        Self { name: name.to_ascii_lowercase(), prefixes: prefix.into_iter().collect(), bearer }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.bearer |= other.bearer;
        self.prefixes.extend(other.prefixes.iter().cloned());
    }

    pub(super) fn read_prefix(fields: &mut Fields<'_, '_>, has_header: bool) -> Option<String> {
        let prefix = fields.text("prefix")?.trim_end_matches(' ').to_owned();
        if !has_header {
            fields.wrong("prefix", "belongs to header");
        }
        let visible = prefix.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if !visible || !(1..=MAX_PREFIX_BYTES).contains(&prefix.len()) {
            fields.wrong("prefix", format!("must be 1 to {MAX_PREFIX_BYTES} visible ASCII characters without a comma"));
        }
        Some(prefix)
    }

    /// The text in the place of the token. With `ignore`, a credential of another scheme is none.
    pub(super) fn token<'a>(&self, value: &'a [u8], ignore: bool) -> Result<Option<&'a [u8]>, Problem> {
        let value = trim_spaces(value);
        if let Some(token) = self.prefixes.iter().find_map(|prefix| behind(prefix.as_bytes(), value)) {
            return Ok(Some(token).filter(|token| !token.is_empty()));
        }
        if ignore && self.is_of_another_scheme(value) {
            return Ok(None);
        }
        match in_authorization(value) {
            _ if value.is_empty() => Ok(None),
            _ if !self.bearer => Err(Problem::NotOneToken),
            Err(CredentialError::Empty) => Ok(None),
            Err(CredentialError::NotBearer) => Err(Problem::NotOneToken),
            Ok(token) => Ok(Some(token)),
        }
    }

    /// True for a scheme that is none of ours, with a credential in which no program finds a token. Some programs look
    /// for their scheme behind a comma, and some take the second word of the value, whatever the first one is.
    fn is_of_another_scheme(&self, value: &[u8]) -> bool {
        let scheme = value.split(|&byte| byte == b' ').next().unwrap_or_default();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        let mut words = value.split(|byte| !byte.is_ascii_alphanumeric());
        !scheme.is_empty()
            && scheme.iter().all(plain)
            && value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
            && !words.any(|word| self.is_own(word))
            && !value.split(|byte| !plain(byte) && *byte != b'.').any(looks_like_a_token)
    }

    fn is_own(&self, word: &[u8]) -> bool {
        let own = |prefix: &String| prefix.as_bytes().eq_ignore_ascii_case(word);
        word.eq_ignore_ascii_case(b"bearer") || self.prefixes.iter().any(own)
    }
}

/// The text behind the prefix, if the value begins with it.
fn behind<'a>(prefix: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    let separated = !prefix.last().is_some_and(u8::is_ascii_alphanumeric) || matches!(rest, [] | [b' ', ..]);
    (start.eq_ignore_ascii_case(prefix) && separated).then(|| trim_spaces(rest))
}

/// True for three parts with dots between them.
fn looks_like_a_token(word: &[u8]) -> bool {
    word.split(|&byte| byte == b'.').filter(|part| !part.is_empty()).count() > 2
}

fn trim_spaces(mut value: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = value {
        value = rest;
    }
    value
}
