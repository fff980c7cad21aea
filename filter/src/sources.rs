//! The places in which a request carries its token, and the refusal to choose between two tokens.
//!
//! If the filter reads one credential and the upstream another, the filter has checked nothing. So a request with a
//! choice is refused: one with two values, and also one with a value that only a more lenient program would find
//! (`?to%6ben=`, a cookie after a comma). Values are read under the exact name and counted leniently; if the two counts
//! differ, some upstream may read another value than the filter.

mod issuers;
mod placed;
mod schemes;
mod strip;
mod subprotocol;
#[cfg(test)]
mod tests;

use curfew_core::{Fields, is_token_text};
use serde_json::Value;

use crate::names::{alike, count_alike};
use crate::request::Request;

pub use placed::{Head, NoSuchPlace};
pub use schemes::HeaderSource;
pub use strip::Strip;

/// A place for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A header.
    Header(HeaderSource),
    /// A cookie.
    Cookie(String),
    /// A query parameter (RFC 6750 section 2.3 discourages it; WebSocket clients in browsers have few others).
    Query(String),
    /// An entry of `Sec-WebSocket-Protocol`, which a page in a browser can set: the entry behind the one of this name, or
    /// an entry that begins with this name and a dot.
    Subprotocol(String),
}

/// All places for a token, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The places, in the order of the configuration.
    pub places: Vec<Source>,
    /// True if a credential of another scheme in a header is not ours, and no mistake.
    pub ignore_other_schemes: bool,
    /// False if the upstream must not see the token.
    pub forward: bool,
    /// What to say if there is no token.
    missing: String,
    /// The issuers whose tokens may be in each of the places; empty for all.
    issuers: Vec<Vec<String>>,
}

/// The request carries several credentials, or something else in the place of a token. See [`Sources::explain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ambiguous {
    /// This place, by its number, holds several values, or one that only a lenient program finds there.
    Several(usize),
    /// This header holds something else than one token.
    NotOneToken(usize),
    /// These two places hold different tokens.
    Different(usize, usize),
}

/// The only text in the places of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    text: &'a [u8],
    place: usize,
    header: Option<usize>,
    /// All places that hold the text, a bit for each of the first 64.
    places: u64,
}

impl<'a> Candidate<'a> {
    /// The text as it was sent. Only to look it up among texts that are known to be tokens.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Both, if they are the same text.
    fn joined_by(self, other: Self) -> Result<Self, Ambiguous> {
        if self.text == other.text {
            return Ok(Self { header: self.header.or(other.header), places: self.places | other.places, ..self });
        }
        // What is no token at all is the better explanation.
        self.token().and(other.token())?;
        Err(Ambiguous::Different(self.place, other.place))
    }

    /// The token.
    ///
    /// # Errors
    /// [`Ambiguous`] for a header's value that is no bearer token: it may be several credentials, or belong to another
    /// scheme.
    pub fn token(&self) -> Result<&'a [u8], Ambiguous> {
        match self.header {
            Some(place) if !is_token_text(self.text) => Err(Ambiguous::NotOneToken(place)),
            _ => Ok(self.text),
        }
    }
}

/// The only token that the request carries in these places; `None` if there is none.
///
/// # Errors
/// [`Ambiguous`] if a place holds several values or something else than a token, or if two places differ.
pub fn extract<'a>(sources: &Sources, request: &Request<'a>) -> Result<Option<&'a [u8]>, Ambiguous> {
    find(sources, request)?.map(|candidate| candidate.token()).transpose()
}

/// What [`extract`] finds, before its bytes are checked. Most tokens are known from earlier requests, so their bytes
/// need no other check.
///
/// # Errors
/// [`Ambiguous`] if a place holds several values, or if two places differ.
pub fn find<'a>(sources: &Sources, request: &Request<'a>) -> Result<Option<Candidate<'a>>, Ambiguous> {
    let mut found: Option<Candidate<'a>> = None;
    for (place, source) in sources.places.iter().enumerate() {
        let text = source.text(request, sources.ignore_other_schemes).map_err(|problem| problem.at(place))?;
        let Some(text) = text else { continue };
        let header = matches!(source, Source::Header(_)).then_some(place);
        let candidate = Candidate { text, place, header, places: bit(place) };
        found = Some(found.map_or(Ok(candidate), |found| found.joined_by(candidate))?);
    }
    Ok(found)
}

/// The bit of a place, if it is one of the first 64.
fn bit(place: usize) -> u64 {
    u32::try_from(place).ok().and_then(|place| 1_u64.checked_shl(place)).unwrap_or(0)
}

/// What is wrong in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    Several,
    NotOneToken,
}

impl Problem {
    fn at(self, place: usize) -> Ambiguous {
        match self {
            Self::Several => Ambiguous::Several(place),
            Self::NotOneToken => Ambiguous::NotOneToken(place),
        }
    }
}

impl Sources {
    /// These places, with the defaults of the configuration for the rest.
    pub fn new(places: Vec<Source>) -> Self {
        let missing = missing(&places);
        let issuers = vec![Vec::new(); places.len()];
        Self { places, ignore_other_schemes: false, forward: true, missing, issuers }
    }

    /// A sentence for developers about a request without a token.
    pub fn missing(&self) -> &str {
        &self.missing
    }

    /// A sentence for developers.
    pub fn explain(&self, ambiguous: Ambiguous) -> String {
        let shown = |place: usize| self.places.get(place).map(Source::shown).unwrap_or_default();
        match ambiguous {
            Ambiguous::Several(place) => {
                let place = shown(place);
                format!("The request has {place} more than once, or also in a spelling that some programs take for it.")
            }
            Ambiguous::NotOneToken(place) => format!("In {}, there is something else than one token.", shown(place)),
            Ambiguous::Different(one, other) => {
                format!("The request has one token in {} and another in {}.", shown(one), shown(other))
            }
        }
    }

    pub(crate) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let (places, issuers): (Vec<_>, Vec<_>) = Source::read_all(fields).into_iter().unzip();
        let mut sources = Self { issuers, ..Self::new(places) };
        let schemes = fields.choice("other_schemes", &[("refuse", false), ("ignore", true)]);
        sources.ignore_other_schemes = schemes.unwrap_or(false);
        sources.forward = fields.boolean("forward").unwrap_or(true);
        sources
    }
}

fn missing(places: &[Source]) -> String {
    let places: Vec<_> = places.iter().map(Source::shown).collect();
    format!("No token was sent: looked in {}.", places.join(", "))
}

impl Source {
    /// A header that holds `Bearer` and the token, or the bare token.
    pub fn header(name: &str) -> Self {
        Self::Header(HeaderSource { name: name.to_owned(), prefixes: Vec::new(), bearer: true })
    }

    fn text<'a>(&self, request: &Request<'a>, ignore: bool) -> Result<Option<&'a [u8]>, Problem> {
        match self {
            Self::Header(source) => match header(request, &source.name)? {
                None => Ok(None),
                Some(value) => source.token(value, ignore),
            },
            Self::Cookie(name) => cookie(request, name),
            Self::Query(name) => query(request, name),
            Self::Subprotocol(name) => subprotocol::token(request, name),
        }
    }

    /// The header that carries this source.
    pub(crate) fn header_name(&self) -> &str {
        match self {
            Self::Header(source) => &source.name,
            Self::Cookie(_) => "cookie",
            Self::Query(_) => ":path",
            Self::Subprotocol(_) => subprotocol::HEADER,
        }
    }

    /// For people.
    fn shown(&self) -> String {
        match self {
            Self::Header(source) => format!("the header {}", source.name),
            Self::Cookie(name) => format!("the cookie {name}"),
            Self::Query(name) => format!("the query parameter {name}"),
            Self::Subprotocol(name) => format!("the subprotocol {name} of {}", subprotocol::HEADER),
        }
    }

    /// The places, each with the issuers whose tokens may be there.
    fn read_all(fields: &mut Fields<'_, '_>) -> Vec<(Self, Vec<String>)> {
        let Some(values) = fields.list("sources") else {
            return vec![(Self::header("authorization"), Vec::new())];
        };
        if values.is_empty() {
            fields.wrong("sources", "must name at least one place");
        }
        let mut sources = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let path = fields.at(&format!("sources[{index}]"));
            if let Some(source) = Self::read(path, value, fields)
                && let Err(problem) = add(&mut sources, source)
            {
                fields.wrong(&format!("sources[{index}].issuers"), problem);
            }
        }
        sources
    }

    fn read(path: String, value: &Value, fields: &mut Fields<'_, '_>) -> Option<(Self, Vec<String>)> {
        let place = path.clone();
        let read = |fields: &mut Fields<'_, '_>| {
            let issuers = fields.texts("issuers").unwrap_or_default();
            let header = fields.text("header");
            let prefix = HeaderSource::read_prefix(fields, header.is_some());
            let source = match (header, fields.text("cookie"), fields.text("query"), fields.text("subprotocol")) {
                (Some(name), None, None, None) if is_name(name) => Some(Self::Header(HeaderSource::new(name, prefix))),
                (Some(_), None, None, None) => {
                    fields.wrong("header", "must be a header's name");
                    None
                }
                (None, Some(name), None, None) => plain(fields, "cookie", name).map(Self::Cookie),
                (None, None, Some(name), None) => plain(fields, "query", name).map(Self::Query),
                (None, None, None, Some(name)) => plain(fields, "subprotocol", name).map(Self::Subprotocol),
                _ => {
                    let problem = "must have exactly one of header, cookie, query and subprotocol";
                    fields.mistakes().add(place, problem);
                    None
                }
            };
            source.map(|source| (source, issuers))
        };
        Fields::read(path, value, fields.mistakes(), read).flatten()
    }
}

/// Adds a source. Sources of one header are one place, in which several prefixes are known.
fn add(sources: &mut Vec<(Source, Vec<String>)>, source: (Source, Vec<String>)) -> Result<(), &'static str> {
    if let Source::Header(added) = &source.0 {
        for (own, issuers) in &mut *sources {
            if let Source::Header(own) = own
                && own.name == added.name
            {
                own.merge(added);
                let same = *issuers == source.1;
                return if same { Ok(()) } else { Err("must be the same in all sources of one header") };
            }
        }
    }
    sources.push(source);
    Ok(())
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

fn header<'a>(request: &Request<'a>, name: &str) -> Result<Option<&'a [u8]>, Problem> {
    let seen = request.headers().filter(|(own, _)| alike(own, name.as_bytes())).count();
    only(request.values(name), seen)
}

/// RFC 6265 section 5.4; HTTP/2 clients may send one header for each cookie (RFC 9113 section 8.2.3). Some programs
/// take commas, quotes and all blanks for separators; to others a space is part of a name.
fn cookie<'a>(request: &Request<'a>, name: &str) -> Result<Option<&'a [u8]>, Problem> {
    const VIEWS: [&[u8]; 3] = [b";,\" \t\r\n\x0b\x0c", b";,", b";"];
    let seen = request.values("cookie").map(|header| count_alike(header, &VIEWS, name)).sum();
    only(request.values("cookie").flat_map(|header| exact(header, b';', name)), seen)
}

fn query<'a>(request: &Request<'a>, name: &str) -> Result<Option<&'a [u8]>, Problem> {
    let query = request.query();
    only(exact(query, b'&', name), count_alike(query, &QUERY_VIEWS, name))
}

/// The sets of bytes that programs take for separators in a query.
pub(crate) const QUERY_VIEWS: [&[u8]; 2] = [b"&;#", b"&"];

/// The only value, or `None`. Several values are ambiguous even if they are equal, and so is a value that lenient
/// programs see and exact ones do not.
fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>, seen: usize) -> Result<Option<&'a [u8]>, Problem> {
    match (values.next(), values.next(), seen) {
        (None, None, 0) => Ok(None),
        (Some(value), None, 1) => Ok(Some(value).filter(|value| !value.is_empty())),
        _ => Err(Problem::Several),
    }
}

/// The values of exactly `name` in a list of `name=value` pairs.
fn exact<'a>(list: &'a [u8], separator: u8, name: &str) -> impl Iterator<Item = &'a [u8]> {
    list.split(move |&byte| byte == separator).filter_map(move |pair| {
        let value = pair.trim_ascii_start().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.trim_ascii_end())
    })
}
