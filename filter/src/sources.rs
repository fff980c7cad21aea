//! The places in which a request carries its token, and the refusal to choose between two tokens.
//!
//! If the filter reads one credential and the upstream another, the filter has checked nothing. So a request with a
//! choice is refused: one with two values, and also one with a value that only a more lenient program would find
//! (`?to%6ben=`, a cookie after a comma). Values are read under the exact name and counted leniently; if the two counts
//! differ, some upstream may read another value than the filter.

use curfew_core::{CredentialError, Fields, in_authorization, is_token_text};
use serde_json::Value;

use crate::names::{alike, count_alike};
use crate::request::Request;

/// A place for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A header, named in lower case: `Bearer` and the token, or the bare token.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// A query parameter (RFC 6750 section 2.3 discourages it; WebSocket clients in browsers have no other).
    Query(String),
}

/// The request carries several credentials, or something else in the place of a bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ambiguous;

/// The only text in the places of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    text: &'a [u8],
    in_header: bool,
}

impl<'a> Candidate<'a> {
    /// The text as it was sent. Only to look it up among texts that are known to be tokens.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The token.
    ///
    /// # Errors
    /// [`Ambiguous`] for a header's value that is no bearer token: it may be several credentials, or belong to another
    /// scheme.
    pub fn token(&self) -> Result<&'a [u8], Ambiguous> {
        if self.in_header && !is_token_text(self.text) { Err(Ambiguous) } else { Ok(self.text) }
    }
}

/// The only token that the request carries in these places; `None` if there is none.
///
/// # Errors
/// [`Ambiguous`] if a place holds several values or something else than a token, or if two places differ.
pub fn extract<'a>(sources: &[Source], request: &Request<'a>) -> Result<Option<&'a [u8]>, Ambiguous> {
    find(sources, request)?.map(|candidate| candidate.token()).transpose()
}

/// What [`extract`] finds, before its bytes are checked. Most tokens are known from earlier requests, so their bytes
/// need no other check.
///
/// # Errors
/// [`Ambiguous`] if a place holds several values, or if two places differ.
pub fn find<'a>(sources: &[Source], request: &Request<'a>) -> Result<Option<Candidate<'a>>, Ambiguous> {
    let mut found: Option<Candidate<'a>> = None;
    for source in sources {
        let Some(text) = source.text(request)? else { continue };
        if found.is_some_and(|found| found.text != text) {
            return Err(Ambiguous);
        }
        let in_header = matches!(source, Source::Header(_)) || found.is_some_and(|found| found.in_header);
        found = Some(Candidate { text, in_header });
    }
    Ok(found)
}

impl Source {
    fn text<'a>(&self, request: &Request<'a>) -> Result<Option<&'a [u8]>, Ambiguous> {
        match self {
            Self::Header(name) => match header(request, name)?.map(in_authorization) {
                None | Some(Err(CredentialError::Empty)) => Ok(None),
                Some(Err(CredentialError::NotBearer)) => Err(Ambiguous),
                Some(Ok(token)) => Ok(Some(token)),
            },
            Self::Cookie(name) => cookie(request, name),
            Self::Query(name) => query(request, name),
        }
    }

    /// The header that carries this source.
    pub(crate) fn header_name(&self) -> &str {
        match self {
            Self::Header(name) => name,
            Self::Cookie(_) => "cookie",
            Self::Query(_) => ":path",
        }
    }

    pub(crate) fn read_all(fields: &mut Fields<'_, '_>) -> Vec<Self> {
        let Some(values) = fields.list("sources") else {
            return vec![Self::Header("authorization".to_owned())];
        };
        if values.is_empty() {
            fields.wrong("sources", "must name at least one place");
        }
        let mut sources = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let path = fields.at(&format!("sources[{index}]"));
            sources.extend(Self::read(path, value, fields));
        }
        sources
    }

    fn read(path: String, value: &Value, fields: &mut Fields<'_, '_>) -> Option<Self> {
        let place = path.clone();
        let read =
            |fields: &mut Fields<'_, '_>| match (fields.text("header"), fields.text("cookie"), fields.text("query")) {
                (Some(name), None, None) if is_name(name) => Some(Self::Header(name.to_ascii_lowercase())),
                (Some(_), None, None) => {
                    fields.wrong("header", "must be a header's name");
                    None
                }
                (None, Some(name), None) => plain(fields, "cookie", name).map(Self::Cookie),
                (None, None, Some(name)) => plain(fields, "query", name).map(Self::Query),
                _ => {
                    fields.mistakes().add(place, "must have exactly one of header, cookie and query");
                    None
                }
            };
        Fields::read(path, value, fields.mistakes(), read).flatten()
    }
}

/// The name of a cookie or parameter. It must need no escape anywhere and hold no separator: a token under any other
/// name would be found by no program, or only by some.
fn plain(fields: &mut Fields<'_, '_>, field: &'static str, name: &str) -> Option<String> {
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) {
        return Some(name.to_owned());
    }
    fields.wrong(field, "must be a name that every program reads alike: only letters, digits, - . _ ~");
    None
}

/// A field name (RFC 9110 section 5.6.2), pseudo-headers excluded.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn header<'a>(request: &Request<'a>, name: &str) -> Result<Option<&'a [u8]>, Ambiguous> {
    let seen = request.headers().filter(|(own, _)| alike(own, name.as_bytes())).count();
    only(request.values(name), seen)
}

/// RFC 6265 section 5.4; HTTP/2 clients may send one header for each cookie (RFC 9113 section 8.2.3). Some programs
/// take commas, quotes and all blanks for separators; to others a space is part of a name.
fn cookie<'a>(request: &Request<'a>, name: &str) -> Result<Option<&'a [u8]>, Ambiguous> {
    const VIEWS: [&[u8]; 3] = [b";,\" \t\r\n\x0b\x0c", b";,", b";"];
    let seen = request.values("cookie").map(|header| count_alike(header, &VIEWS, name)).sum();
    only(request.values("cookie").flat_map(|header| exact(header, b';', name)), seen)
}

fn query<'a>(request: &Request<'a>, name: &str) -> Result<Option<&'a [u8]>, Ambiguous> {
    let query = request.query();
    only(exact(query, b'&', name), count_alike(query, &QUERY_VIEWS, name))
}

/// The sets of bytes that programs take for separators in a query.
pub(crate) const QUERY_VIEWS: [&[u8]; 2] = [b"&;#", b"&"];

/// The only value, or `None`. Several values are ambiguous even if they are equal, and so is a value that lenient
/// programs see and exact ones do not.
fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>, seen: usize) -> Result<Option<&'a [u8]>, Ambiguous> {
    match (values.next(), values.next(), seen) {
        (None, None, 0) => Ok(None),
        (Some(value), None, 1) => Ok(Some(value).filter(|value| !value.is_empty())),
        _ => Err(Ambiguous),
    }
}

/// The values of exactly `name` in a list of `name=value` pairs.
fn exact<'a>(list: &'a [u8], separator: u8, name: &str) -> impl Iterator<Item = &'a [u8]> {
    list.split(move |&byte| byte == separator).filter_map(move |pair| {
        let value = pair.trim_ascii_start().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.trim_ascii_end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Vec<Source> {
        vec![
            Source::Header("authorization".into()),
            Source::Cookie("access_token".into()),
            Source::Query("token".into()),
        ]
    }

    fn token(headers: &[(&str, &str)]) -> Result<Option<String>, Ambiguous> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let found = extract(&sources(), &Request::new(&headers))?;
        Ok(found.map(|token| String::from_utf8(token.to_vec()).unwrap()))
    }

    #[test]
    fn a_token_is_found_in_each_place() {
        let found = Ok(Some("a.b.c".to_owned()));
        assert_eq!(token(&[("authorization", "Bearer a.b.c")]), found);
        assert_eq!(token(&[("authorization", "a.b.c")]), found);
        assert_eq!(token(&[("cookie", "x=1; access_token=a.b.c; y=2")]), found);
        assert_eq!(token(&[("cookie", "x=1"), ("cookie", "access_token=a.b.c")]), found);
        assert_eq!(token(&[(":path", "/?x=1&token=a.b.c")]), found);
        assert_eq!(token(&[("cookie", "theme=access_token; access_token=a.b.c")]), found);
        assert_eq!(token(&[("authorization", "bearer a.b.c"), ("cookie", "access_token=a.b.c")]), found);
    }

    #[test]
    fn other_names_and_empty_values_are_no_token() {
        assert_eq!(token(&[]), Ok(None));
        assert_eq!(token(&[("authorization", "")]), Ok(None));
        assert_eq!(token(&[("authorization", "Bearer ")]), Ok(None));
        assert_eq!(token(&[("cookie", "access_token=; my_access_token=a.b.c; access_tokens=a.b.c")]), Ok(None));
        assert_eq!(token(&[(":path", "/token=a.b.c?xtoken=a.b.c")]), Ok(None));
        assert_eq!(token(&[(":path", "/?page_token=1&token_type=2&next=/reset?token=3&x=token=4&token")]), Ok(None));
        assert_eq!(
            token(&[(
                "cookie",
                "__Host-access_token=1; access-token=2; j={\"access_token\":\"x==\"}; a=b access_token"
            )]),
            Ok(None)
        );
    }

    #[test]
    fn what_only_a_lenient_reader_sees_is_refused() {
        let requests = [
            ("cookie", "access_token =a.b.c"),
            ("cookie", "a=1 access_token=a.b.c"),
            ("cookie", "a=1, access_token=a.b.c"),
            ("cookie", "a=1\raccess_token=a.b.c"),
            ("cookie", "a=1\x0caccess_token=a.b.c"),
            ("cookie", "access.token=a.b.c"),
            ("cookie", "access token=a.b.c"),
            ("cookie", "access[token=a.b.c"),
            ("cookie", "ACCESS_TOKEN=a.b.c"),
            ("cookie", "access%5ftoken=a.b.c"),
            ("cookie", "a=\"access_token=a.b.c\""),
            (":path", "/?to%6ben=a.b.c"),
            (":path", "/?a=1;token=a.b.c"),
            (":path", "/?a=1#token=a.b.c"),
            (":path", "/?+token=a.b.c"),
            (":path", "/?token[]=a.b.c"),
            (":path", "/?token%00x=a.b.c"),
            (":path", "/?Token=a.b.c"),
        ];
        for header in requests {
            assert_eq!(token(&[header]), Err(Ambiguous), "{header:?}");
            assert_eq!(token(&[("authorization", "Bearer d.e.f"), header]), Err(Ambiguous), "{header:?}");
        }
        let custom = [Source::Header("x-token".into())];
        let headers: [(&[u8], &[u8]); 2] = [(b"x-token", b"a.b.c"), (b"x_token", b"d.e.f")];
        assert_eq!(extract(&custom, &Request::new(&headers)), Err(Ambiguous));
    }

    #[test]
    fn a_request_with_a_choice_of_tokens_is_refused() {
        let requests: [&[(&str, &str)]; 8] = [
            &[("authorization", "Bearer a.b.c"), ("authorization", "Bearer d.e.f")],
            &[("authorization", "Bearer a.b.c"), ("authorization", "Bearer a.b.c")],
            &[("authorization", "Bearer a.b.c, Bearer d.e.f")],
            &[("authorization", "Basic dXNlcjpwYXNz"), ("cookie", "access_token=a.b.c")],
            &[("cookie", "access_token=a.b.c; access_token=d.e.f")],
            &[("cookie", "access_token=a.b.c"), ("cookie", "access_token=a.b.c")],
            &[(":path", "/?token=a.b.c&token=d.e.f")],
            &[("authorization", "Bearer a.b.c"), (":path", "/?token=d.e.f")],
        ];
        for request in requests {
            assert_eq!(token(request), Err(Ambiguous), "{request:?}");
        }
    }
}
