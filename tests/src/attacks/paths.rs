//! Paths that look public to one program and protected to another, each sent without a token.

use curfew_core::Denial;

use super::{Attack, Expected, Row};
use crate::http::Request;

const SECTION: &str = "paths";

/// Why the control plane has no such rows.
const NO_RULES: &str = "the control plane has no rules about paths";

fn target(id: &str, asks: &str, expected: Expected, target: &str) -> Row {
    let mut row = Row::new(SECTION, id, asks, expected, Attack::Target(target.to_owned()));
    row.filter_only = Some(NO_RULES);
    row
}

fn closed(id: &str, asks: &str, path: &str) -> Row {
    target(id, asks, Expected::Closed, path)
}

/// A request for the public path with one more header.
fn beside(id: &str, asks: &str, expected: Expected, name: &'static str, value: &'static str) -> Row {
    let make = move |_: &super::Forge<'_>| Ok(Request::get("/public/page").header(name, value));
    let mut row = Row::new(SECTION, id, asks, expected, Attack::Request(Box::new(make)));
    row.filter_only = Some(NO_RULES);
    row
}

/// A header that some program serves instead of the public path, or cuts off it.
fn redirecting(id: &str, asks: &str, name: &'static str, value: &'static str) -> Row {
    beside(id, asks, Expected::Refused(Denial::Missing), name, value)
}

/// `/public/` needs no token; everything else does.
pub(super) fn rows() -> Vec<Row> {
    [targets(), headers()].into_iter().flatten().collect()
}

/// The public path, with headers that name another path or method.
fn headers() -> Vec<Row> {
    vec![
        redirecting("script-name", "a prefix that gunicorn cuts off the path", "SCRIPT_NAME", "/public"),
        redirecting("script-name-mixed", "the same in another spelling", "Script-Name", "/public"),
        redirecting(
            "script-name-whole",
            "the whole path as that prefix, which leaves /",
            "script_name",
            "/public/page",
        ),
        redirecting("x-script-name", "a prefix that WSGI snippets cut off", "X-Script-Name", "/public"),
        redirecting("x-script_name", "the same with one underscore", "X-Script_Name", "/public"),
        redirecting("forwarded-script-name", "a prefix for mod_wsgi", "X-Forwarded-Script-Name", "/public"),
        redirecting("forwarded-prefix", "a prefix as a proxy would name it", "X-Forwarded-Prefix", "/public"),
        redirecting("traversal-path", "a prefix for Plack", "X-Traversal-Path", "/public"),
        redirecting("path-info", "another path as a variable of CGI", "PATH_INFO", "/admin"),
        redirecting("forwarded-uri", "another path as forward-auth servers get it", "X-Forwarded-Uri", "/admin"),
        redirecting("forwarded-path", "another path as a gateway would name it", "X-Forwarded-Path", "/admin"),
        redirecting(
            "forwarded-method",
            "another method as forward-auth servers get it",
            "X-Forwarded-Method",
            "DELETE",
        ),
        redirecting("original-path", "another path as the original one", "X-Original-Path", "/admin"),
        redirecting("original-uri", "another path as nginx names it", "X-Original-URI", "/admin"),
        redirecting("original-url", "another path as IIS names it", "X-Original-URL", "/admin"),
        redirecting("rewrite-url", "another path as its rewriter names it", "x_rewrite_url", "/admin"),
        redirecting("method-override", "another method", "X-HTTP-Method-Override", "DELETE"),
        beside(
            "original-uri-same",
            "the path that was asked for as the original one",
            Expected::Open,
            "X-Original-URI",
            "/public/page",
        ),
        beside(
            "method-same",
            "the method that was asked for as an override",
            Expected::Open,
            "X-HTTP-Method-Override",
            "GET",
        ),
        target(
            "method-parameter",
            "another method in the query",
            Expected::Refused(Denial::Missing),
            "/public/page?_method=DELETE",
        ),
    ]
}

/// Paths that dress up.
fn targets() -> Vec<Row> {
    vec![
        target("open", "the public path itself", Expected::Open, "/public/page"),
        target("open-query", "dots and escapes in the query alone", Expected::Open, "/public/page?next=%2e%2e/admin"),
        target("open-space", "an escaped space", Expected::Open, "/public/a%20b.png"),
        target(
            "open-letters",
            "escaped letters, accents and Chinese",
            Expected::Open,
            "/public/%61/caf%c3%a9/%e6%97%a5",
        ),
        target("open-signs", "escaped parentheses and an escaped @", Expected::Open, "/public/j%40e.com%20%281%29"),
        closed("plain", "a protected path", "/admin"),
        closed("traversal", "two dots", "/public/../admin"),
        closed("traversal-end", "two dots at the end", "/public/.."),
        closed("escaped-dots", "escaped dots", "/public/%2e%2e/admin"),
        closed("escaped-dots-upper", "escaped dots in capitals", "/public/%2E%2E/admin"),
        closed("half-escaped", "one escaped dot", "/public/.%2e/admin"),
        closed("escaped-slash", "an escaped slash", "/public/..%2fadmin"),
        closed("escaped-twice", "dots escaped twice", "/public/%252e%252e/admin"),
        closed("escaped-slash-twice", "a slash escaped twice", "/public/..%252fadmin"),
        closed("double-slash", "two slashes", "//admin"),
        closed("double-slash-host", "two slashes and a public host", "//public/../admin"),
        closed("double-slash-inside", "two slashes before two dots", "/public//../admin"),
        closed("dot-segment", "a dot segment", "/./admin"),
        closed("parameter", "a path parameter", "/admin;x=/public/"),
        closed("parameter-dots", "a parameter behind two dots", "/public/..;/admin"),
        closed("parameter-first", "a parameter before two dots", "/public;x=1/../admin"),
        closed("backslash", "a backslash for a slash", "/public\\..\\admin"),
        closed("backslash-dots", "a backslash behind two dots", "/public/..\\admin"),
        closed("escaped-backslash", "an escaped backslash", "/public/..%5cadmin"),
        closed("case", "capitals", "/ADMIN"),
        closed("public-case", "the public path in capitals", "/PUBLIC/../admin"),
        closed("prefix-word", "a path that only begins alike", "/publicity"),
        closed("nul", "an escaped NUL and a harmless ending", "/admin%00.css"),
        closed("nul-public", "an escaped NUL behind the public path", "/public%00/../admin"),
        closed("escaped-letter", "an escaped letter", "/%61dmin"),
        closed("query", "a public path in the query", "/admin?x=/public/"),
        closed("escaped-query", "an escaped question mark", "/admin%3f/public/"),
        closed("fragment", "a public path in the fragment", "/admin#/public/"),
        closed("fragment-public", "two dots in the fragment of a public path", "/public#/../../admin"),
        closed("overlong", "overlong UTF-8 for dots, escaped", "/public/%c0%ae%c0%ae/admin"),
        closed("overlong-slash", "overlong UTF-8 for a slash, escaped", "/public/..%c0%afadmin"),
        closed("wide-slash", "a full-width slash, escaped", "/public/..%ef%bc%8fadmin"),
        closed("raw-wide-slash", "a full-width slash, raw", "/public/..\u{ff0f}admin"),
        closed("wide-dots", "full-width dots, escaped", "/public/%ef%bc%8e%ef%bc%8e/admin"),
        closed("utf16-escape", "IIS' %u escapes", "/public/%u002e%u002e/admin"),
        closed("bad-escape", "an escape that is none", "/public/%2/../admin"),
        closed("absolute", "absolute form", "http://localhost/admin"),
        closed("absolute-dots", "absolute form with two dots", "http://localhost/public/../admin"),
        closed("absolute-host", "absolute form with a public host", "http://public/admin"),
        closed("logout-dots", "two dots behind an endpoint that is skipped", "/api/v2/logout/../../../admin"),
        closed("many-dots", "more dots than directories", "/public/../../../../admin"),
        closed("three-dots", "three dots", "/public/.../../../admin"),
        closed("space", "an escaped space behind two dots", "/public/..%20/../admin"),
        closed("space-dots", "two dots and an escaped space", "/public/..%20/admin"),
        closed("invisible", "dots around a character that nobody sees", "/public/.%e2%80%8b./admin"),
        closed("greek-question-mark", "an escaped character that turns into a semicolon", "/public/..%cd%be/admin"),
        closed("two-dot-leader", "an escaped character that turns into two dots", "/public/%e2%80%a5/admin"),
        closed("escaped-semicolon", "an escaped parameter behind two dots", "/public/..%3b/admin"),
        closed("escaped-percent", "a percent sign that begins an escape", "/public/%25%32%65%25%32%65/admin"),
    ]
}
