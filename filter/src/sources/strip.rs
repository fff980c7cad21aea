//! Takes the token out of the request, in every place where it was found, before the upstream sees it.

use super::subprotocol::{self, Entry};
use super::{Source, Sources};
use crate::request::Request;

/// Changes to one header.
#[derive(Debug, PartialEq, Eq)]
pub enum Strip {
    /// Nothing is left of the header.
    Remove(String),
    /// This is left of it, as one value.
    Replace(&'static str, Vec<u8>),
}

impl Sources {
    /// How to take the token out of the request, one change for each header. Nothing if the upstream may see it.
    pub(crate) fn stripped(&self, request: &Request<'_>) -> Vec<Strip> {
        if self.forward {
            return Vec::new();
        }
        let holds = |source: &&Source| matches!(source.text(request, self.ignore_other_schemes), Ok(Some(_)));
        let holding: Vec<&Source> = self.places.iter().filter(holds).collect();
        let mut changes = Vec::new();
        for source in &holding {
            if let Source::Header(header) = source {
                changes.push(Strip::Remove(header.name.clone()));
            }
        }
        let cookies: Vec<&str> = holding.iter().filter_map(|source| source.cookie()).collect();
        if !cookies.is_empty() {
            let left = request.values("cookie").flat_map(|header| header.split(|&byte| byte == b';'));
            let left = left.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty() && !names_one(pair, &cookies));
            changes.push(left_of("cookie", left, b"; "));
        }
        let parameters: Vec<&str> = holding.iter().filter_map(|source| source.parameter()).collect();
        if !parameters.is_empty() {
            changes.push(Strip::Replace(":path", without(request, &parameters)));
        }
        let names: Vec<&str> = holding.iter().filter_map(|source| source.subprotocol()).collect();
        if !names.is_empty() {
            changes.push(left_of(subprotocol::HEADER, left_subprotocols(request, &names).into_iter(), b", "));
        }
        changes
    }
}

impl Source {
    fn cookie(&self) -> Option<&str> {
        if let Self::Cookie(name) = self { Some(name) } else { None }
    }

    fn parameter(&self) -> Option<&str> {
        if let Self::Query(name) = self { Some(name) } else { None }
    }

    fn subprotocol(&self) -> Option<&str> {
        if let Self::Subprotocol(name) = self { Some(name) } else { None }
    }
}

/// True for `name=value` with one of these names.
fn names_one(pair: &[u8], names: &[&str]) -> bool {
    let named =
        |name: &&str| pair.trim_ascii_start().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    names.iter().any(named)
}

fn left_of<'a>(header: &'static str, left: impl Iterator<Item = &'a [u8]>, separator: &[u8]) -> Strip {
    let left = left.collect::<Vec<_>>().join(separator);
    if left.is_empty() { Strip::Remove(header.to_owned()) } else { Strip::Replace(header, left) }
}

/// `:path` without these parameters.
fn without(request: &Request<'_>, names: &[&str]) -> Vec<u8> {
    let path = request.target().split(|&byte| byte == b'?').next().unwrap_or_default();
    let left = request.query().split(|&byte| byte == b'&').filter(|pair| !names_one(pair, names));
    let left = left.collect::<Vec<_>>().join(&b'&');
    if left.is_empty() { path.to_vec() } else { [path, &left].join(&b'?') }
}

fn left_subprotocols<'a>(request: &Request<'a>, names: &[&str]) -> Vec<&'a [u8]> {
    let mut left = Vec::new();
    let mut entries = subprotocol::entries(request);
    while let Some(entry) = entries.next() {
        let read = names.iter().map(|name| Entry::read(entry, name)).find(|entry| !matches!(entry, Entry::Other));
        match read {
            Some(Entry::Announces) => drop(entries.next()),
            Some(Entry::Carries(_)) => {}
            _ if entry.is_empty() => {}
            _ => left.push(entry),
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Sources;

    fn stripped(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut sources = Sources::new(vec![
            Source::header("authorization"),
            Source::Cookie("access_token".into()),
            Source::Query("token".into()),
            Source::Subprotocol("bearer".into()),
        ]);
        sources.forward = false;
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let changes = sources.stripped(&Request::new(&headers)).into_iter().map(|change| match change {
            Strip::Remove(name) => (name, "-".to_owned()),
            Strip::Replace(name, value) => (name.to_owned(), String::from_utf8(value).unwrap()),
        });
        changes.collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_token_is_taken_out_of_every_place_and_nothing_else_is() {
        let everywhere = [
            (":path", "/ws?a=1&token=a.b.c&b=%2F&mytoken=2"),
            ("authorization", "Bearer a.b.c"),
            ("cookie", "theme=dark; access_token=a.b.c;  x=access_token"),
            ("sec-websocket-protocol", "chat.v1, bearer, a.b.c,chat.v2"),
        ];
        let left = [
            ("authorization", "-"),
            ("cookie", "theme=dark; x=access_token"),
            (":path", "/ws?a=1&b=%2F&mytoken=2"),
            ("sec-websocket-protocol", "chat.v1, chat.v2"),
        ];
        assert_eq!(stripped(&everywhere), pairs(&left));
        let alone = [
            (":path", "/ws?token=a.b.c"),
            ("cookie", "access_token=a.b.c"),
            ("sec-websocket-protocol", "bearer.a.b.c"),
        ];
        assert_eq!(stripped(&alone), pairs(&[("cookie", "-"), (":path", "/ws"), ("sec-websocket-protocol", "-")]));
        let crumbs = [(":path", "/"), ("cookie", "a=1"), ("cookie", "access_token=a.b.c"), ("cookie", "b=2")];
        assert_eq!(stripped(&crumbs), pairs(&[("cookie", "a=1; b=2")]));
    }

    #[test]
    fn where_there_is_no_token_nothing_is_changed() {
        for headers in [
            &[(":path", "/?a=token"), ("cookie", "a=access_token=1"), ("authorization", "")][..],
            &[(":path", "/?token="), ("sec-websocket-protocol", "chat")],
        ] {
            assert_eq!(stripped(headers), [], "{headers:?}");
        }
    }
}
