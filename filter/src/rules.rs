//! Which requests need a token: the operator's rules over method and path.
//!
//! An attacker writes the path, and the upstream may read it differently. So a rule that admits requests without a
//! token matches narrowly: only a path with one reading alone (see [`crate::paths`]), and no request that makes some
//! frameworks take another path or method. A rule that asks for a token matches widely, as many routers do: it decodes
//! escapes, and ignores case, a slash at the end, and a suffix for a format such as `.json`.

use curfew_core::Fields;
use serde_json::Value;

use crate::paths::{Path, is_canonical, may_be_read_as, segments};
use crate::preflight::is_preflight;
use crate::redirects::Redirects;
use crate::request::Request;

/// What a rule asks of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A good token, or 401.
    Require,
    /// A good token or none at all.
    Optional,
    /// Nothing; a token is not read.
    Skip,
}

/// The rules in order. The first rule that matches decides; a request that no rule matches needs a token.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    redirects: Redirects,
    /// True if preflights need no token.
    preflights: bool,
}

#[derive(Debug)]
struct Rule {
    path: PathMatch,
    /// Empty matches every method.
    methods: Vec<String>,
    action: Action,
}

#[derive(Debug)]
enum PathMatch {
    Exact(String),
    /// Whole segments: `/public` matches `/public` and `/public/a`, not `/publicity`.
    Prefix(String),
}

impl Rules {
    /// What a request needs.
    pub fn action(&self, request: &Request<'_>) -> Action {
        if self.rules.is_empty() {
            return Action::Require;
        }
        let path = Path::new(request.target().split(|&byte| byte == b'?').next().unwrap_or_default());
        let matching = self.rules.iter().find(|rule| match rule.action {
            Action::Require => rule.matches_widely(request.method(), &path),
            Action::Optional | Action::Skip => {
                rule.matches(request.method(), &path) && path.has_one_reading() && !self.redirects.concern(request)
            }
        });
        matching.map_or(Action::Require, |rule| rule.action)
    }

    /// True if the request is a preflight, and preflights need no token.
    pub fn let_pass_as_preflight(&self, request: &Request<'_>) -> bool {
        self.preflights && is_preflight(request, &self.redirects)
    }

    pub(crate) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let values = fields.list("rules").unwrap_or_default();
        let mut rules = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let path = fields.at(&format!("rules[{index}]"));
            rules.extend(Rule::read(path, value, fields));
        }
        let preflights = fields.boolean("cors_preflight").unwrap_or(false);
        Self { rules, redirects: Redirects::read(fields), preflights }
    }
}

impl Rule {
    /// The path is compared as it was sent: a program that does not decode it must find it below the rule's path too.
    fn matches(&self, method: &[u8], path: &Path<'_>) -> bool {
        self.has_method(|own| own.as_bytes() == method) && self.path.matches(path.raw())
    }

    /// Routers run the handlers of GET for HEAD too, and some frameworks ignore the case of a method.
    fn matches_widely(&self, method: &[u8], path: &Path<'_>) -> bool {
        let same = |own: &str| own.as_bytes().eq_ignore_ascii_case(method);
        let head = method.eq_ignore_ascii_case(b"HEAD");
        self.has_method(|own| same(own) || (head && own == "GET")) && self.path.may_be(path)
    }

    fn has_method(&self, matches: impl Fn(&str) -> bool) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|own| matches(own))
    }

    fn read(path: String, value: &Value, fields: &mut Fields<'_, '_>) -> Option<Self> {
        let read = |fields: &mut Fields<'_, '_>| {
            let actions = [("require", Action::Require), ("optional", Action::Optional), ("skip", Action::Skip)];
            let action = fields.choice("action", &actions);
            if !fields.has("action") {
                fields.wrong("action", "must be given: require, optional or skip");
            }
            let methods = fields.texts("methods").unwrap_or_default();
            if methods.iter().any(|method| !method.bytes().all(|byte| byte.is_ascii_uppercase())) {
                fields.wrong("methods", "must be methods in upper case, such as GET");
            }
            let path = PathMatch::read(fields)?;
            Some(Self { path, methods, action: action? })
        };
        Fields::read(path, value, fields.mistakes(), read).flatten()
    }
}

impl PathMatch {
    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(own) => path == own.as_bytes(),
            Self::Prefix(own) => {
                let rest = path.strip_prefix(own.as_bytes());
                rest.is_some_and(|rest| own.ends_with('/') || rest.is_empty() || rest.starts_with(b"/"))
            }
        }
    }

    /// True if some program may take the path for one that this matches.
    fn may_be(&self, path: &Path<'_>) -> bool {
        let decoded = |text: &str| {
            if text.is_ascii() { self.matches_widely(text.as_bytes()) } else { self.may_be_read_from(text) }
        };
        self.matches_widely(path.raw()) || path.decoded().is_some_and(decoded)
    }

    /// The same as [`Self::matches_widely`], for a text beyond ASCII.
    fn may_be_read_from(&self, text: &str) -> bool {
        let (Self::Exact(own) | Self::Prefix(own)) = self;
        let mut sent = segments(text);
        let own = segments(own.strip_suffix('/').unwrap_or(own)).filter(|own| !own.is_empty());
        for own in own {
            let Some(segment) = sent.next() else { return false };
            let cuts = segment.match_indices('.').filter_map(|(dot, _)| segment.get(..dot));
            if !cuts.chain([segment]).any(|segment| may_be_read_as(segment, own)) {
                return false;
            }
        }
        matches!(self, Self::Prefix(_)) || sent.all(str::is_empty)
    }

    /// Matches as a router that ignores case, a slash at the end and a suffix.
    fn matches_widely(&self, path: &[u8]) -> bool {
        let (Self::Exact(own) | Self::Prefix(own)) = self;
        let own = own.strip_suffix('/').unwrap_or(own).as_bytes();
        let split = path.split_at_checked(own.len());
        let rest = split.filter(|(start, _)| start.eq_ignore_ascii_case(own)).map(|(_, rest)| rest);
        match (self, rest) {
            (_, None) => false,
            (_, Some([] | b"/" | [b'.', ..])) => true,
            (Self::Exact(_), Some(_)) => false,
            (Self::Prefix(_), Some(rest)) => rest.starts_with(b"/"),
        }
    }

    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let (name, text, prefix) = match (fields.text("path"), fields.text("prefix")) {
            (Some(path), None) => ("path", path, false),
            (None, Some(prefix)) => ("prefix", prefix, true),
            _ => {
                fields.wrong("path", "exactly one of path and prefix must be given");
                return None;
            }
        };
        if !is_canonical(text.as_bytes()) {
            let form = "it starts with / and has no empty or dot segments, %, ; or \\";
            fields.wrong(name, format!("must be a path in canonical form: {form}"));
            return None;
        }
        Some(if prefix { Self::Prefix(text.to_owned()) } else { Self::Exact(text.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use curfew_core::Mistakes;
    use serde_json::json;

    use super::*;

    fn rules(rules: Value) -> Rules {
        let document = json!({ "rules": rules });
        let mut mistakes = Mistakes::default();
        let rules = Fields::read("", &document, &mut mistakes, Rules::read).unwrap();
        assert_eq!(mistakes, Mistakes::default());
        rules
    }

    fn action(rules: &Rules, method: &str, path: &[u8]) -> Action {
        rules.action(&Request::new(&[(b":method", method.as_bytes()), (b":path", path)]))
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let rules = rules(json!([
            {"prefix": "/public/admin", "action": "require"},
            {"prefix": "/public/", "action": "skip"},
            {"path": "/news", "methods": ["GET", "HEAD"], "action": "optional"},
        ]));
        let action = |method: &str, path: &str| action(&rules, method, path.as_bytes());
        assert_eq!(action("GET", "/public/a.css?v=1"), Action::Skip);
        assert_eq!(action("GET", "/public/"), Action::Skip);
        assert_eq!(action("GET", "/public/admin/x"), Action::Require);
        assert_eq!(action("GET", "/public/administrator"), Action::Skip);
        assert_eq!(action("GET", "/news"), Action::Optional);
        assert_eq!(action("POST", "/news"), Action::Require);
        assert_eq!(action("GET", "/news/1"), Action::Require);
        assert_eq!(action("GET", "/"), Action::Require);
        assert_eq!(action("OPTIONS", "*"), Action::Require);
        assert_eq!(action("CONNECT", ""), Action::Require);
    }

    #[test]
    fn a_path_with_a_second_reading_opens_nothing() {
        let rules = rules(json!([{"prefix": "/public", "action": "skip"}, {"path": "/", "action": "skip"}]));
        let paths: [&[u8]; 23] = [
            b"/public/../admin",
            b"/public/%2e%2e/admin",
            b"/public/%252e%252e/admin",
            b"/public/..%2fadmin",
            b"//public/x",
            b"/public//admin",
            b"/public//",
            b"/./public",
            b"/public/.",
            b"/public/..",
            b"/public/x;y=1",
            b"/public;/../admin",
            b"/public\\..\\admin",
            b"/public/x%00.css",
            b"/public/\xc0\xae\xc0\xae/admin",
            b"/public/\xef\xbc\x8fadmin",
            b"/public#/admin",
            b"/PUBLIC/x",
            b"/publicity",
            b"/p%75blic/x",
            b"http://example.com/public/x",
            b"/admin?x=/public/",
            b"//",
        ];
        for path in paths {
            assert_eq!(action(&rules, "GET", path), Action::Require, "{}", path.escape_ascii());
        }
        for path in [&b"/public"[..], b"/public/", b"/public/a/b", b"/public?a=%2e%2e", b"/"] {
            assert_eq!(action(&rules, "GET", path), Action::Skip, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn an_escape_that_every_program_reads_alike_is_no_disguise() {
        let rules = rules(json!([
            {"prefix": "/public/admin", "action": "require"},
            {"path": "/public/me", "action": "require"},
            {"prefix": "/public", "action": "skip"},
        ]));
        for path in
            ["/public/a%20b.png", "/public/caf%C3%A9/b", "/public/%E6%97%A5", "/public/%61", "/public/b%C3%BCcher"]
        {
            assert_eq!(action(&rules, "GET", path.as_bytes()), Action::Skip, "{path}");
        }
        for path in [
            "/public/%61dmin",
            "/public/%61DMIN/x%20y",
            "/public/admin%20/x",
            "/public/adm%C3%ADn/x",
            "/public/admi%CC%81n.json",
            "/public/m%65",
            "/public/m%C3%A9/",
            "/p%75blic/a%20b",
        ] {
            assert_eq!(action(&rules, "GET", path.as_bytes()), Action::Require, "{path}");
        }
        assert_eq!(action(&rules, "GET", b"/public/m%C3%A9/x"), Action::Skip);
    }

    #[test]
    fn a_rule_that_asks_for_a_token_matches_what_a_lenient_router_does() {
        let rules = rules(json!([
            {"prefix": "/public/admin", "action": "require"},
            {"prefix": "/public/Keys/", "action": "require"},
            {"path": "/public/me", "action": "require"},
            {"prefix": "/public", "action": "skip"},
        ]));
        for path in [
            "/public/admin.json",
            "/public/me.json",
            "/public/Admin/x",
            "/public/ADMIN",
            "/public/me/",
            "/public/ME",
            "/public/keys",
            "/public/keys/1",
        ] {
            assert_eq!(action(&rules, "GET", path.as_bytes()), Action::Require, "{path}");
        }
        for path in ["/public/administrator", "/public/me/x", "/public/keysmith"] {
            assert_eq!(action(&rules, "GET", path.as_bytes()), Action::Skip, "{path}");
        }
    }

    #[test]
    fn a_header_that_names_another_path_or_method_opens_nothing() {
        let rules = rules(json!([
            {"prefix": "/public", "methods": ["GET"], "action": "skip"},
            {"prefix": "/news", "action": "optional"},
        ]));
        for path in [&b"/public/a"[..], b"/news"] {
            let with = |name: &[u8], value: &[u8]| {
                rules.action(&Request::new(&[(b":method", b"GET"), (b":path", path), (name, value)]))
            };
            for name in ["x-original-url", "X_Rewrite_URL", "script_name", "x-http-method-override"] {
                assert_eq!(with(name.as_bytes(), b"/admin"), Action::Require, "{name}");
            }
            assert_ne!(with(b"x-original-url", path), Action::Require, "it repeats the path");
        }
        assert_eq!(action(&rules, "GET", b"/public/a?x=1&_method=DELETE"), Action::Require);
    }

    #[test]
    fn a_rule_that_asks_for_a_token_takes_methods_as_lenient_routers_do() {
        let rules = rules(json!([
            {"path": "/orders", "methods": ["GET", "POST"], "action": "require"},
            {"path": "/orders", "action": "skip"},
        ]));
        for method in ["GET", "POST", "post", "HEAD"] {
            assert_eq!(action(&rules, method, b"/orders"), Action::Require, "{method}");
        }
        assert_eq!(action(&rules, "OPTIONS", b"/orders"), Action::Skip);
    }

    #[test]
    fn wrong_rules_are_named() {
        let document = json!({"rules": [
            {"path": "/a", "prefix": "/b", "action": "skip"},
            {"path": "/a/../b", "action": "open", "methods": ["get"]},
            {"prefix": "/a"},
            3,
        ]});
        let mut mistakes = Mistakes::default();
        Fields::read("", &document, &mut mistakes, Rules::read);
        let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "rules[0].path: exactly one of path and prefix must be given",
                "rules[1].action: must be one of: require, optional, skip",
                "rules[1].methods: must be methods in upper case, such as GET",
                "rules[1].path: must be a path in canonical form: it starts with / and has no empty or dot segments, %, ; or \\",
                "rules[2].action: must be given: require, optional or skip",
                "rules[3]: must be an object",
            ]
        );
    }
}
