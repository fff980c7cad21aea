//! Names as lenient programs read them.
//!
//! Upstreams differ in which names they take for the same: CGI cannot tell `x-user-id` from `x_user_id`, PHP turns dots
//! and spaces in cookies and parameters into underscores, some decode `%6b`, some ignore case. If such a difference
//! lets a client show one thing to the filter and another to the upstream, names are compared as the most lenient
//! program does.

/// True if some reader may take the two header names for the same: case is ignored, and all punctuation is equal.
pub(crate) fn alike(one: &[u8], other: &[u8]) -> bool {
    let fold = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'_' };
    one.len() == other.len() && one.iter().map(fold).eq(other.iter().map(fold))
}

/// How many values some reader would find under `name` in a list of `name=value`. A name stands before an `=`, at the
/// start of the list or after a separator. Readers differ in what separates, so `views` gives several sets of
/// separators.
pub(crate) fn count_alike(list: &[u8], views: &[&[u8]], name: &str) -> usize {
    let mut texts = list.split(|&byte| byte == b'=').collect::<Vec<_>>();
    // After the last `=` there is only a value; before any other `=`, a value may end and a name begin.
    texts.pop();
    let seen = |(index, text): &(usize, &[u8])| {
        views.iter().any(|separators| {
            let mut parts = text.trim_ascii_end().rsplitn(2, |byte| separators.contains(byte));
            let last = parts.next().unwrap_or_default();
            let begins = *index == 0 || parts.next().is_some();
            begins && is_parameter(last, name)
        })
    };
    texts.into_iter().enumerate().filter(seen).count()
}

/// True if some reader takes `raw` for the parameter or cookie `name`. Readers may decode `%` and `+`, drop invisible
/// bytes around a name, end it at a NUL, read PHP's `name[]`, and take dots, spaces and an open bracket for
/// underscores.
fn is_parameter(raw: &[u8], name: &str) -> bool {
    let decoded = decoded(raw);
    let text = decoded.split(|&byte| byte == 0).next().unwrap_or_default();
    let whole = visible(text);
    let indexed = visible(whole.split(|&byte| byte == b'[').next().unwrap_or_default());
    same_parameter(whole, name) || same_parameter(indexed, name)
}

fn same_parameter(one: &[u8], name: &str) -> bool {
    let fold = |byte: &u8| if b"_. [".contains(byte) { b'_' } else { byte.to_ascii_lowercase() };
    one.len() == name.len() && one.iter().map(fold).eq(name.as_bytes().iter().map(fold))
}

fn visible(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && !first.is_ascii_graphic()
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && !last.is_ascii_graphic()
    {
        text = rest;
    }
    text
}

fn decoded(name: &[u8]) -> Vec<u8> {
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
    decoded
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
    fn header_names_are_alike_whatever_their_case_and_punctuation() {
        for other in ["x-user-id", "X_USER-ID", "x.user.id", "x user id"] {
            assert!(alike(b"x-user-id", other.as_bytes()), "{other}");
        }
        for other in ["x-userid", "x-user-id-", "y-user-id"] {
            assert!(!alike(b"x-user-id", other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn parameters_are_what_the_most_lenient_reader_makes_of_them() {
        let names: [&[u8]; 13] = [
            b"my_token",
            b"My_Token",
            b"my%5ftoken",
            b"my.token",
            b"my+token",
            b"my token",
            b"my[token",
            b" my_token ",
            b"\xa0my_token",
            b"\xc2\xa0my_token\x85",
            b"my_token[]",
            b"my_token%5b0]",
            b"my_token%00x",
        ];
        for name in names {
            assert!(is_parameter(name, "my_token"), "{}", name.escape_ascii());
        }
        for name in ["my-token", "mytoken", "my_token_", "xmy_token", "%6"] {
            assert!(!is_parameter(name.as_bytes(), "my_token"), "{name}");
        }
    }

    #[test]
    fn after_an_equals_sign_there_is_a_value_until_something_separates() {
        let count = |list: &str| count_alike(list.as_bytes(), &[b"&;#"], "token");
        assert_eq!(count("token=1&token=2;token=3"), 3);
        assert_eq!(count("next=token=1&page_token=2&token"), 0);
    }
}
