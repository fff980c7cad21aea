//! Which requests need a token: the operator's rules over method and path.
//!
//! The path is the one thing here that an attacker writes and that the upstream may read differently. So a rule that
//! lets requests pass without a token is only ever applied to a path in canonical form, of which there is no second
//! reading; any other path needs a token whatever the rules say.

use curfew_core::Fields;
use serde_json::Value;

/// What a rule asks of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A good token, or 401.
    Require,
    /// A good token or none at all.
    Optional,
    /// Nothing; a token that is there is not looked at.
    Skip,
}

/// The rules in order; the first that matches decides, and a request that none matches needs a token.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

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
    /// What a request with this method and this raw `:path` needs.
    pub fn action(&self, method: &[u8], target: &[u8]) -> Action {
        let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
        let canonical = is_canonical(path);
        let matching = self.0.iter().find(|rule| {
            let opens = rule.action != Action::Require;
            (canonical || !opens) && rule.matches(method, path)
        });
        matching.map_or(Action::Require, |rule| rule.action)
    }

    pub(crate) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let values = fields.list("rules").unwrap_or_default();
        let mut rules = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let path = fields.at(&format!("rules[{index}]"));
            rules.extend(Rule::read(path, value, fields));
        }
        Self(rules)
    }
}

impl Rule {
    fn matches(&self, method: &[u8], path: &[u8]) -> bool {
        let method_matches = self.methods.is_empty() || self.methods.iter().any(|own| own.as_bytes() == method);
        method_matches && self.path.matches(path)
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

/// Whether every reader sees the same path: absolute, printable ASCII, nothing encoded, no parameters, no fragment, no
/// empty and no dot segments. A slash at the end is fine.
fn is_canonical(path: &[u8]) -> bool {
    let Some(segments) = path.strip_prefix(b"/") else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"%;\\#?".contains(&byte);
    if !segments.iter().copied().all(plain) {
        return false;
    }
    let segments =
        segments.strip_suffix(b"/").map_or(segments, |trimmed| if trimmed.is_empty() { b"/" } else { trimmed });
    segments.is_empty() || segments.split(|&byte| byte == b'/').all(|segment| !matches!(segment, b"" | b"." | b".."))
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

    #[test]
    fn the_first_matching_rule_decides() {
        let rules = rules(json!([
            {"prefix": "/public/admin", "action": "require"},
            {"prefix": "/public/", "action": "skip"},
            {"path": "/news", "methods": ["GET", "HEAD"], "action": "optional"},
        ]));
        let action = |method: &str, path: &str| rules.action(method.as_bytes(), path.as_bytes());
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
            assert_eq!(rules.action(b"GET", path), Action::Require, "{}", path.escape_ascii());
        }
        for path in [&b"/public"[..], b"/public/", b"/public/a/b", b"/public?a=%2e%2e", b"/"] {
            assert_eq!(rules.action(b"GET", path), Action::Skip, "{}", path.escape_ascii());
        }
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
