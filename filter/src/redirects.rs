//! Headers with which a client can make programs behind Envoy serve another path or method than the request line's.
//!
//! Each of them is read by some server, framework or widely copied snippet. A request that carries one matches no rule
//! that admits without a token: the rule judges the request line, and the upstream would serve something else. The
//! request is not refused for it. It needs a token, as every request does that no rule opens.
//!
//! Left out are headers from which programs only make links (`Forwarded`, `X-Forwarded-Host`, `X-Forwarded-Proto`), and
//! `x-envoy-original-path`, which Envoy itself writes and no program that we know of serves.

use curfew_core::Fields;

use crate::names::{alike, count_alike};
use crate::request::Request;
use crate::sources::QUERY_VIEWS;

/// Replace the path: IIS and its modules, Symfony, Zend, Laminas and Yii (`x-original-url`, `x-rewrite-url`), programs
/// that answer forwarded questions of Traefik, Caddy, nginx and Kong (`x-forwarded-uri`, `x-original-uri` ...), WSGI
/// servers that take variables from headers (`path-info`), adapters for Next.js, Vercel and Netlify.
const PATHS: [&str; 14] = [
    "path-info",
    "x-forwarded-path",
    "x-forwarded-path-info",
    "x-forwarded-uri",
    "x-forwarded-url",
    "x-invoke-path",
    "x-matched-path",
    "x-nf-original-path",
    "x-original-path",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-path-info",
    "x-rewrite-url",
];

/// Are cut off the path: gunicorn (`script_name`), mod_wsgi, Plack, and the snippets that mount a WSGI application
/// below a prefix. `/public` on `/public/admin` serves `/admin`. A header that repeats the path is not harmless
/// here: it serves `/`.
const PREFIXES: [&str; 5] =
    ["script-name", "x-forwarded-prefix", "x-forwarded-script-name", "x-script-name", "x-traversal-path"];

/// Replace the method: Rack, Rails, Laravel, Symfony, Spring, Express, ASP.NET, OData, programs that answer forwarded
/// questions.
const METHODS: [&str; 5] =
    ["x-forwarded-method", "x-http-method", "x-http-method-override", "x-method-override", "x-original-method"];

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    PATHS.into_iter().chain(PREFIXES).chain(METHODS)
}

/// The lengths that their names have, a bit for each.
const LENGTHS: u64 = lengths(&PATHS) | lengths(&PREFIXES) | lengths(&METHODS);

const fn lengths(names: &[&str]) -> u64 {
    match names {
        [] => 0,
        [first, rest @ ..] => (1 << first.len()) | lengths(rest),
    }
}

/// Decides whether a request asks for something else than its request line says.
#[derive(Debug, Default)]
pub(crate) struct Redirects {
    /// Headers that a proxy before this one sets or removes, so that no client can.
    trusted: Vec<String>,
}

impl Redirects {
    pub(crate) fn read(fields: &mut Fields<'_, '_>) -> Self {
        // None is what most operators mean, so an empty list is no mistake here.
        let trusted = match fields.list("trusted_headers") {
            None | Some([]) => Vec::new(),
            Some(_) => fields.texts("trusted_headers").unwrap_or_default(),
        };
        let known = |name: &String| all().any(|own| own == name);
        if !trusted.iter().all(known) {
            let names: Vec<_> = all().collect();
            fields.wrong("trusted_headers", format!("must be some of: {}", names.join(", ")));
        }
        Self { trusted }
    }

    /// True if a request asks for another path or method than its request line's: by such a header, or by the parameter
    /// `_method`. A header that only repeats the request line does not count, because some proxies add it to every
    /// request. A `_method` in a form's body cannot be seen here.
    pub(crate) fn concern(&self, request: &Request<'_>) -> bool {
        let by_header = request.headers().any(|(name, value)| self.redirects(request, name, value));
        by_header || count_alike(request.query(), &QUERY_VIEWS, "_method") > 0
    }

    fn redirects(&self, request: &Request<'_>, name: &[u8], value: &[u8]) -> bool {
        // Most headers are none of these, and their length shows that.
        if name.len() >= 64 || LENGTHS & (1 << name.len()) == 0 || self.trusts(name) {
            return false;
        }
        let among = |names: &[&str]| names.iter().any(|own| alike(own.as_bytes(), name));
        among(&PREFIXES)
            || (among(&PATHS) && value != request.target())
            || (among(&METHODS) && value != request.method())
    }

    /// A proxy writes the name as it is configured. Another spelling of it comes from a client.
    fn trusts(&self, name: &[u8]) -> bool {
        self.trusted.iter().any(|trusted| trusted.as_bytes().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use curfew_core::Mistakes;
    use serde_json::json;

    use super::*;

    fn redirects(document: &serde_json::Value) -> (Redirects, Vec<String>) {
        let mut mistakes = Mistakes::default();
        let redirects = Fields::read("", document, &mut mistakes, Redirects::read).unwrap();
        (redirects, mistakes.iter().map(ToString::to_string).collect())
    }

    fn concerns(redirects: &Redirects, name: &str, value: &str) -> bool {
        let headers: [(&[u8], &[u8]); 3] =
            [(b":method", b"GET"), (b":path", b"/public/admin"), (name.as_bytes(), value.as_bytes())];
        redirects.concern(&Request::new(&headers))
    }

    #[test]
    fn every_header_counts_in_every_spelling() {
        let redirects = Redirects::default();
        for name in all() {
            let mixed = name.replacen('-', "_", 1);
            for spelling in [name.to_owned(), name.to_uppercase(), name.replace('-', "_"), mixed] {
                for value in ["/public", "/admin", "DELETE", ""] {
                    assert!(concerns(&redirects, &spelling, value), "{spelling}: {value}");
                }
            }
        }
    }

    #[test]
    fn a_header_that_repeats_the_request_line_does_not_count_unless_it_is_cut_off_the_path() {
        let redirects = Redirects::default();
        for name in PATHS {
            assert!(!concerns(&redirects, name, "/public/admin"), "{name}");
            assert!(concerns(&redirects, name, "GET"), "{name}");
        }
        for name in METHODS {
            assert!(!concerns(&redirects, name, "GET"), "{name}");
            assert!(concerns(&redirects, name, "get"), "{name}");
        }
        for name in PREFIXES {
            assert!(concerns(&redirects, name, "/public/admin"), "{name}: it serves /");
        }
    }

    #[test]
    fn other_headers_do_not_count() {
        let long = "x".repeat(64);
        for name in ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-request-id", &long] {
            assert!(!concerns(&Redirects::default(), name, "/admin"), "{name}");
        }
    }

    #[test]
    fn a_trusted_header_counts_only_in_another_spelling() {
        let (redirects, mistakes) = redirects(&json!({"trusted_headers": ["x-forwarded-prefix"]}));
        assert_eq!(mistakes, Vec::<String>::new());
        assert!(!concerns(&redirects, "X-Forwarded-Prefix", "/api"));
        for name in ["x_forwarded_prefix", "x-forwarded_prefix", "x-script-name"] {
            assert!(concerns(&redirects, name, "/api"), "{name}");
        }
    }

    #[test]
    fn a_header_that_nothing_is_known_of_cannot_be_trusted() {
        for names in [json!(["x-forwarded-for"]), json!(["X-Forwarded-Prefix"])] {
            let (_, mistakes) = redirects(&json!({ "trusted_headers": names }));
            let [mistake] = mistakes.as_slice() else { panic!("{mistakes:?}") };
            assert!(mistake.starts_with("trusted_headers: must be some of: path-info, x-forwarded-path"), "{mistake}");
        }
    }

    #[test]
    fn the_documentation_lists_them_all() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/filter-configuration.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, section) = page.split_once("### Headers that name another path").unwrap();
        let table: String = section.lines().filter(|line| line.starts_with("| ")).collect();
        for name in all() {
            assert!(table.contains(&format!("`{name}`")), "{name}");
        }
    }
}
