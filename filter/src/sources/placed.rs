//! Puts a token where it is looked for, for a request that nobody has sent.

use super::subprotocol;
use super::{Source, Sources};

/// The head of a request that is made up: names and values.
pub type Head = Vec<(String, Vec<u8>)>;

/// The configuration has no such place for a token, or none for tokens of this issuer. It holds the places that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuchPlace(pub String);

impl Sources {
    /// Puts a token of this issuer into the head: into the first place where such tokens are looked for, or into the `wanted`
    /// place, such as `header:authorization`, `cookie:t`, `query:t` or `subprotocol:t`. Returns the place for people.
    ///
    /// # Errors
    /// There is no such place.
    pub(crate) fn put(
        &self,
        token: &[u8],
        issuer: Option<&str>,
        wanted: Option<&str>,
        head: &mut Head,
    ) -> Result<String, NoSuchPlace> {
        let may_hold = |issuers: &&Vec<String>| {
            issuers.is_empty() || issuer.is_none_or(|issuer| issuers.iter().any(|own| own == issuer))
        };
        let mut places = self.places.iter().zip(&self.issuers);
        let found = places.find(|(place, issuers)| match wanted {
            Some(wanted) => place.code().eq_ignore_ascii_case(wanted),
            None => may_hold(issuers),
        });
        let Some((place, _)) = found else {
            let places: Vec<_> = self.places.iter().map(Source::code).collect();
            return Err(NoSuchPlace(places.join(", ")));
        };
        place.put(token, head);
        Ok(place.shown())
    }
}

impl Source {
    /// The kind of the place and its name.
    fn code(&self) -> String {
        match self {
            Self::Header(source) => format!("header:{}", source.name),
            Self::Cookie(name) => format!("cookie:{name}"),
            Self::Query(name) => format!("query:{name}"),
            Self::Subprotocol(name) => format!("subprotocol:{name}"),
        }
    }

    fn put(&self, token: &[u8], head: &mut Head) {
        let behind = |start: &str| [start.as_bytes(), token].concat();
        match self {
            Self::Header(source) => {
                let prefix = source.prefixes.first().filter(|_| !source.bearer).map_or("Bearer", String::as_str);
                head.push((source.name.clone(), behind(&format!("{prefix} "))));
            }
            Self::Cookie(name) => head.push(("cookie".to_owned(), behind(&format!("{name}=")))),
            Self::Query(name) => {
                if let Some((_, target)) = head.iter_mut().find(|(name, _)| name == ":path") {
                    let separator = if target.contains(&b'?') { '&' } else { '?' };
                    target.extend(behind(&format!("{separator}{name}=")));
                }
            }
            Self::Subprotocol(name) => head.push((subprotocol::HEADER.to_owned(), behind(&format!("{name}, ")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use curfew_core::{Fields, Mistakes};
    use serde_json::{Value, json};

    use super::*;
    use crate::request::Request;
    use crate::sources::extract;

    const TOKEN: &[u8] = b"a.b.c";

    fn read(sources: Value) -> Sources {
        let (mut mistakes, document) = (Mistakes::default(), json!({ "sources": sources }));
        Fields::read("", &document, &mut mistakes, Sources::read).unwrap()
    }

    fn head() -> Head {
        vec![(":path".into(), b"/ws?a=1".to_vec()), ("cookie".into(), b"theme=dark".to_vec())]
    }

    #[test]
    fn a_token_is_found_where_it_was_put() {
        for source in [
            json!({"header": "authorization"}),
            json!({"header": "X-Token", "prefix": "JWT"}),
            json!({"header": "x-token", "prefix": "jwt="}),
            json!({"cookie": "t"}),
            json!({"query": "t"}),
            json!({"subprotocol": "bearer"}),
        ] {
            let (sources, mut head) = (read(json!([source])), head());
            sources.put(TOKEN, None, None, &mut head).unwrap();
            let pairs: Vec<_> = head.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
            assert_eq!(extract(&sources, &Request::new(&pairs)), Ok(Some(TOKEN)), "{source}: {head:?}");
        }
    }

    #[test]
    fn the_first_place_for_the_issuer_is_taken_unless_another_one_is_wanted() {
        let sources = read(json!([{"header": "authorization", "issuers": ["a"]}, {"cookie": "t"}, {"query": "t"}]));
        let put = |issuer: &str, wanted: Option<&str>| sources.put(TOKEN, Some(issuer), wanted, &mut head());
        assert_eq!(put("a", None).unwrap(), "the header authorization");
        assert_eq!(put("b", None).unwrap(), "the cookie t");
        assert_eq!(put("b", Some("query:t")).unwrap(), "the query parameter t");
        assert_eq!(put("b", Some("Header:Authorization")).unwrap(), "the header authorization");
        let places = "header:authorization, cookie:t, query:t".to_owned();
        assert_eq!(put("a", Some("cookie:other")), Err(NoSuchPlace(places)));
    }
}
