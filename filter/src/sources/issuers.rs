//! Which issuers' tokens may be in which place: a place may be for some issuers alone.

use curfew_core::Fields;

use super::{Candidate, Source, Sources, bit};

/// How many places there may be where some are for some issuers alone.
const MOST_LIMITED_PLACES: usize = 64;

impl Sources {
    /// Why a proven token of this issuer is not taken from the places where it was found; `None` if one of them may hold
    /// it. The issuer by its name in the configuration.
    pub(crate) fn misplaced(&self, candidate: &Candidate<'_>, issuer: impl FnOnce() -> String) -> Option<String> {
        if !self.are_limited() {
            return None;
        }
        let issuer = issuer();
        let mut held = self.issuers.iter().enumerate().filter(|(place, _)| candidate.places & bit(*place) != 0);
        let taken = held.any(|(_, issuers)| issuers.is_empty() || issuers.contains(&issuer));
        let shown = self.places.get(candidate.place).map(Source::shown).unwrap_or_default();
        (!taken).then(|| format!("Tokens of this issuer are not taken from {shown}."))
    }

    /// Notes each place that is for an issuer which is not configured: no token could be there.
    pub(crate) fn check_issuers(&self, configured: &[&str], fields: &mut Fields<'_, '_>) {
        if self.are_limited() && self.places.len() > MOST_LIMITED_PLACES {
            fields.wrong("sources", format!("must be at most {MOST_LIMITED_PLACES} where some name issuers"));
        }
        for unknown in self.issuers.iter().flatten().filter(|issuer| !configured.contains(&issuer.as_str())) {
            fields.wrong("sources", format!("names the issuer {unknown:?}, which is not among issuers"));
        }
    }

    fn are_limited(&self) -> bool {
        self.issuers.iter().any(|issuers| !issuers.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use curfew_core::Mistakes;
    use serde_json::{Value, json};

    use super::*;
    use crate::request::Request;
    use crate::sources::find;

    const A: &str = "https://a.example.com";
    const B: &str = "https://b.example.com";

    fn read(sources: Value) -> Result<Sources, String> {
        let mut mistakes = Mistakes::default();
        let document = json!({ "sources": sources });
        let read = Fields::read("", &document, &mut mistakes, |fields| {
            let sources = Sources::read(fields);
            sources.check_issuers(&[A, B], fields);
            sources
        });
        read.filter(|_| mistakes.is_empty()).ok_or_else(|| mistakes.to_string())
    }

    fn judge(sources: &Sources, headers: &[(&str, &str)], issuer: &str) -> Option<String> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let candidate = find(sources, &Request::new(&headers)).unwrap().unwrap();
        sources.misplaced(&candidate, || issuer.to_owned())
    }

    #[test]
    fn a_place_may_be_for_some_issuers_alone() {
        let sources =
            read(json!([{"header": "authorization", "issuers": [A]}, {"cookie": "t", "issuers": [B]}])).unwrap();
        let (header, cookie) = (("authorization", "Bearer a.b.c"), ("cookie", "t=a.b.c"));
        assert_eq!(judge(&sources, &[header], A), None);
        assert_eq!(judge(&sources, &[cookie], B), None);
        assert_eq!(judge(&sources, &[header, cookie], A), None, "one of the two places may hold it");
        assert_eq!(judge(&sources, &[header, cookie], B), None);
        let refused = |place: &str| Some(format!("Tokens of this issuer are not taken from {place}."));
        assert_eq!(judge(&sources, &[header], B), refused("the header authorization"));
        assert_eq!(judge(&sources, &[cookie], A), refused("the cookie t"));
    }

    #[test]
    fn a_place_without_issuers_is_for_all() {
        let sources = read(json!([{"header": "authorization"}, {"cookie": "t", "issuers": [B]}])).unwrap();
        assert_eq!(judge(&sources, &[("authorization", "Bearer a.b.c")], A), None);
        assert!(judge(&sources, &[("cookie", "t=a.b.c")], A).is_some());
        let all = read(json!([{"header": "authorization"}, {"cookie": "t"}])).unwrap();
        assert_eq!(judge(&all, &[("cookie", "t=a.b.c")], A), None);
    }

    #[test]
    fn what_could_not_be_meant_is_a_mistake() {
        let unknown = read(json!([{"cookie": "t", "issuers": ["https://c.example.com"]}])).unwrap_err();
        assert_eq!(unknown, r#"sources: names the issuer "https://c.example.com", which is not among issuers"#);
        let twice = json!([{"header": "X-T", "issuers": [A]}, {"header": "x-t", "prefix": "JWT", "issuers": [B]}]);
        assert_eq!(read(twice).unwrap_err(), "sources[1].issuers: must be the same in all sources of one header");
        assert!(read(json!([{"cookie": "t", "issuers": []}])).is_err());
    }
}
