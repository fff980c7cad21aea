//! Readers of credentials, as upstreams have them. Each is a model of programs in use; none is the filter's own.
//!
//! A reader that decodes a whole query before it splits it is not among them, because for it any value can contain any
//! parameter.

/// The values that some program finds under a name.
pub(super) type Find = fn(list: &[u8], name: &str) -> Vec<Vec<u8>>;

/// Readers of a query.
pub(super) const QUERY: [(&str, Find); 7] = [
    ("WHATWG", |list, name| named(split(list, b"&"), name, decoded, same)),
    ("with semicolons", |list, name| named(split(list, b"&;"), name, decoded, same)),
    ("PHP", |list, name| named(split(list, b"&"), name, |raw| php(&decoded(raw)), same)),
    ("without case", |list, name| named(split(list, b"&;"), name, decoded, same_folded)),
    ("trimming", |list, name| named(split(list, b"&"), name, |raw| decoded(raw).trim_ascii().to_vec(), same)),
    ("ending at #", |list, name| named(split(until(list, b'#'), b"&"), name, decoded, same)),
    ("splitting at #", |list, name| named(split(list, b"&#"), name, decoded, same)),
];

/// Readers of one `cookie` header.
pub(super) const COOKIE: [(&str, Find); 7] = [
    ("RFC 6265", |list, name| named(split(list, b";"), name, trimmed, same)),
    ("PHP", |list, name| named(split(list, b";"), name, |raw| php(raw.trim_ascii_start()), same)),
    ("decoding names", |list, name| named(split(list, b";"), name, |raw| php(&decoded(raw.trim_ascii_start())), same)),
    ("Python", |list, name| named(split(list, b"; \t\n\r\x0b\x0c"), name, trimmed, same)),
    ("RFC 2109", |list, name| named(split(list, b";,"), name, trimmed, same)),
    ("without case", |list, name| named(split(list, b";"), name, trimmed, same_folded)),
    ("by quotes", |list, name| named(split(list, b";,\""), name, trimmed, same)),
];

/// The credentials in the values of a header: each of a list, with `Bearer` before it or without.
pub(super) fn credentials(value: &[u8]) -> Vec<Vec<u8>> {
    let blank = |byte: &u8| byte.is_ascii_whitespace();
    let credential = |part: &[u8]| {
        let part = part.trim_ascii();
        match part.split_at_checked(6) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer") && rest.first().is_none_or(blank) => {
                rest.trim_ascii().to_vec()
            }
            _ => part.to_vec(),
        }
    };
    value.split(|&byte| byte == b',').map(credential).collect()
}

/// True if CGI (RFC 3875 section 4.1.18), or a program that folds all punctuation, has one variable for both names.
pub(super) fn same_header(own: &[u8], name: &str) -> bool {
    let variable = |byte: &u8| if byte.is_ascii_punctuation() { b'_' } else { byte.to_ascii_uppercase() };
    own.iter().map(variable).eq(name.as_bytes().iter().map(variable))
}

fn named<'a>(
    pairs: impl Iterator<Item = &'a [u8]>,
    name: &str,
    read_name: fn(&[u8]) -> Vec<u8>,
    same: fn(&[u8], &[u8]) -> bool,
) -> Vec<Vec<u8>> {
    let value = |pair: &[u8]| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (own, value) = pair.split_at_checked(equals)?;
        let value = decoded(unquoted(value.get(1..)?.trim_ascii()));
        same(&read_name(own), name.as_bytes()).then_some(value)
    };
    pairs.filter_map(value).collect()
}

fn split<'a>(list: &'a [u8], separators: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    list.split(|byte| separators.contains(byte))
}

fn until(list: &[u8], end: u8) -> &[u8] {
    list.split(|&byte| byte == end).next().unwrap_or_default()
}

fn same(one: &[u8], other: &[u8]) -> bool {
    one == other
}

fn same_folded(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn trimmed(raw: &[u8]) -> Vec<u8> {
    raw.trim_ascii().to_vec()
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

/// `application/x-www-form-urlencoded`: escapes, and `+` for a space. Everything else stays as it is.
fn decoded(raw: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::new();
    let mut rest = raw;
    loop {
        rest = match rest {
            [] => return bytes,
            [b'%', high, low, after @ ..] if digit(*high).is_some() && digit(*low).is_some() => {
                bytes.push(digit(*high).unwrap_or(0) << 4 | digit(*low).unwrap_or(0));
                after
            }
            [byte, after @ ..] => {
                bytes.push(if *byte == b'+' { b' ' } else { *byte });
                after
            }
        };
    }
}

/// PHP's name of a variable (`php_register_variable_ex`): no leading spaces, nothing after a NUL or an array's bracket,
/// and `_` for dots, spaces and a bracket that is never closed.
fn php(name: &[u8]) -> Vec<u8> {
    let name = until(name, 0);
    let start = name.iter().position(|&byte| byte != b' ').unwrap_or(name.len());
    let name = name.get(start..).unwrap_or_default();
    let open = name.iter().position(|&byte| byte == b'[').filter(|open| *open > 0);
    let closed = open.filter(|open| name.get(*open..).is_some_and(|rest| rest.contains(&b']')));
    let name = closed.and_then(|open| name.get(..open)).unwrap_or(name);
    name.iter().map(|byte| if b" .[".contains(byte) { b'_' } else { *byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(readers: &[(&str, Find)], reader: &str, list: &str) -> Vec<String> {
        let (_, find) = readers.iter().find(|(name, _)| *name == reader).unwrap();
        find(list.as_bytes(), "my_token").into_iter().map(|value| String::from_utf8(value).unwrap()).collect()
    }

    #[test]
    fn readers_of_queries_find_what_their_programs_do() {
        assert_eq!(found(&QUERY, "WHATWG", "my_token=1&a=2&my%5ftoken=3;my_token=4"), ["1", "3;my_token=4"]);
        assert_eq!(found(&QUERY, "with semicolons", "a=1;my_token=2"), ["2"]);
        assert_eq!(
            found(&QUERY, "PHP", "my.token=1&+my+token=2&my_token[x]=3&my[token=4&my_token%00=5"),
            ["1", "2", "3", "4", "5"]
        );
        assert_eq!(found(&QUERY, "without case", "MY_TOKEN=1"), ["1"]);
        assert_eq!(found(&QUERY, "ending at #", "my_token=1#x"), ["1"]);
    }

    #[test]
    fn readers_of_cookies_find_what_their_programs_do() {
        assert_eq!(found(&COOKIE, "RFC 6265", "a=1; my_token =\"2\"; MY_TOKEN=3"), ["2"]);
        assert_eq!(found(&COOKIE, "PHP", "my.token=1; my token=2"), ["1", "2"]);
        assert_eq!(found(&COOKIE, "Python", "a=1 my_token=2"), ["2"]);
        assert_eq!(found(&COOKIE, "RFC 2109", "a=1, my_token=2"), ["2"]);
    }

    #[test]
    fn a_header_may_hold_several_credentials() {
        assert_eq!(credentials(b"Basic x, BEARER\ta.b.c"), [b"Basic x".to_vec(), b"a.b.c".to_vec()]);
        assert!(same_header(b"x_user.id", "x-user-id") && !same_header(b"x-userid", "x-user-id"));
    }
}
