//! The same requests to Curfew's filter and to a real `jwt_authn` with the same key, next to each other in one Envoy: what
//! `docs/coming-from-jwt-authn.md` says of both.

use curfew_testbed::http::Request;
use curfew_testbed::ports::loopback;
use curfew_testbed::stack::{Plan, Stack, runs};
use curfew_testbed::tokens::{Signer, claims, jwks, now, with};
use curfew_testbed::upstream::echoed_header;
use serde_json::{Value, json};

use super::{example, moved_over};

const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http";
const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// The other listener's name.
const JWT_AUTHN: &str = "jwt_authn";

const DAY: i64 = 24 * 3600;

/// A stack with Curfew at its listener, and `jwt_authn` at another one. Both lead to the same upstream.
struct Beside {
    stack: Stack,
    signer: Signer,
    _directory: tempfile::TempDir,
}

/// What is asked, with the statuses here and there.
type Row<'a> = (&'a str, Request, [u16; 2]);

impl Beside {
    /// The page's example on both sides, each with its rules changed.
    fn start(here: impl FnOnce(&mut Value), there: impl FnOnce(&mut Value)) -> Self {
        let directory = tempfile::tempdir_in(runs().unwrap()).unwrap();
        let signer = Signer::generate("RS256").unwrap();
        let mut jwt_authn: Value = serde_saphyr::from_str(&example("yaml")).unwrap();
        jwt_authn["@type"] = json!(format!("{HTTP}.jwt_authn.v3.JwtAuthentication"));
        let shop = jwt_authn["providers"]["shop"].as_object_mut().unwrap();
        shop.remove("remote_jwks").unwrap();
        shop.insert("local_jwks".into(), json!({"inline_string": jwks([&signer]).to_string()}));
        there(&mut jwt_authn);
        let mut plan: Plan = moved_over(&signer, directory.path()).change_filter(here).unwrap();
        plan.bootstrap.add_listener(listener(&jwt_authn)).unwrap();
        Self { stack: plan.start().unwrap(), signer, _directory: directory }
    }

    /// A token of the example's issuer whose claims differ from those of a good one in this way.
    fn token(&self, changes: Value) -> String {
        let good = with(claims("alice"), json!({"iss": "https://id.example.com", "aud": "shop"}));
        self.signer.sign(&with(good, changes)).unwrap()
    }

    /// The answers here and there.
    fn ask(&self, request: &Request) -> [curfew_testbed::http::Answer; 2] {
        let there = self.stack.envoy.listener(JWT_AUTHN).unwrap();
        [self.stack.address(), there].map(|address| request.send(address).unwrap())
    }

    fn holds(&self, rows: &[Row<'_>]) {
        let wrong = rows.iter().filter_map(|(what, request, expected)| {
            let got = self.ask(request).map(|answer| answer.status);
            (got != *expected).then(|| format!("{what}: {got:?} instead of {expected:?}"))
        });
        assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new(), "here and there");
    }
}

/// A listener whose requests pass `jwt_authn` on their way to the upstream.
fn listener(jwt_authn: &Value) -> Value {
    let manager = json!({
        "@type": MANAGER,
        "stat_prefix": JWT_AUTHN,
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt_authn},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": format!("{HTTP}.router.v3.Router")}},
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
        ]}]},
    });
    let address = loopback(0);
    json!({
        "name": JWT_AUTHN,
        "address": {"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}},
        "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
        ]}],
    })
}

fn bearing(path: &str, token: &str) -> Request {
    Request::get(path).header("Authorization", format!("JWT {token}"))
}

#[test]
fn the_example_and_what_the_page_says_of_tokens_hold_beside_jwt_authn() {
    let beside = Beside::start(|_| {}, |_| {});
    let audience = |audience: Value| beside.token(json!({ "aud": audience }));
    let [shop, partners, strange] = ["shop", "partners", "x"].map(|name| audience(json!(name)));
    let both = audience(json!(["partners", "shop"]));
    let until = |exp: i64| beside.token(json!({"exp": exp, "iat": now() - 60}));
    let foreign = beside.token(json!({"iss": "https://other.example.com"}));
    // The first character of the signature: some of the last one's bits mean nothing.
    let (signed, signature) = shop.rsplit_once('.').unwrap();
    let other = if signature.starts_with('x') { "y" } else { "x" };
    let forged = format!("{signed}.{other}{}", &signature[1..]);
    let orders = |token: &str| bearing("/orders", token);
    let in_cookie = |token: &str| Request::get("/orders").header("Cookie", format!("session={token}"));
    let preflight = || Request::new("OPTIONS", "/orders").header("Origin", "https://shop.example.com");
    beside.holds(&[
        ("a good token", orders(&shop), [200, 200]),
        ("in a cookie", in_cookie(&shop), [200, 200]),
        ("no token", Request::get("/orders"), [401, 401]),
        ("a forged signature", orders(&forged), [401, 401]),
        ("another issuer", orders(&foreign), [401, 401]),
        ("an open path", Request::get("/healthz"), [200, 200]),
        ("two audiences", orders(&both), [200, 200]),
        ("another rule's audience", orders(&partners), [403, 403]),
        ("an audience of no issuer", orders(&strange), [401, 403]),
        ("the rule's own audience", bearing("/partners/7", &partners), [200, 200]),
        ("the issuer's other audience", bearing("/partners/7", &shop), [403, 403]),
        ("an audience of no issuer there", bearing("/partners/7", &strange), [401, 403]),
        ("a prefix inside a word", bearing("/partnership", &shop), [200, 403]),
        ("a prefix inside a word, its audience", bearing("/partnership", &partners), [403, 200]),
        ("a preflight", preflight().header("Access-Control-Request-Method", "GET"), [200, 200]),
        ("no preflight", preflight(), [401, 401]),
        ("another scheme", Request::get("/orders").bearer(&shop), [401, 401]),
        ("another scheme beside a cookie", in_cookie(&shop).bearer("x"), [401, 200]),
        (
            "text before the prefix",
            Request::get("/orders").header("Authorization", format!("x JWT {shop}")),
            [401, 200],
        ),
        ("a second good token", in_cookie(&shop).header("Authorization", format!("JWT {both}")), [401, 200]),
        ("a place that is not named", Request::get(&format!("/orders?access_token={shop}")), [401, 401]),
        ("over for 30 s", orders(&until(now() - 30)), [401, 200]),
        ("over for 90 s", orders(&until(now() - 90)), [401, 401]),
        ("without an end", orders(&beside.token(json!({"exp": null}))), [401, 200]),
        ("over since 1970", orders(&until(0)), [401, 200]),
        ("good for 40 days", orders(&until(now() + 40 * DAY)), [401, 200]),
        ("good for 20 days", orders(&until(now() + 20 * DAY)), [200, 200]),
    ]);
}

#[test]
fn the_upstream_gets_from_both_the_headers_that_the_page_says() {
    let beside = Beside::start(|_| {}, |_| {});
    let shop = beside.token(json!({}));
    let forged = |request: Request| request.header("x-jwt-payload", "forged").header("x-user-id", "root");
    let seen = |request: &Request, name: &str| {
        beside.ask(request).map(|answer| {
            assert_eq!(answer.status, 200, "{}", answer.text());
            echoed_header(&answer.json(), name)
        })
    };
    let payload = shop.split('.').nth(1).map(str::to_owned);
    let user = Some("alice".to_owned());
    let in_header = forged(bearing("/orders", &shop));
    assert_eq!(seen(&in_header, "x-user-id"), [user.clone(), user]);
    assert_eq!(seen(&in_header, "x-jwt-payload"), [payload.clone(), payload]);
    assert_eq!(seen(&in_header, "authorization"), [None, None]);
    let cookie = format!("session={shop}");
    let in_cookie = Request::get("/orders").header("Cookie", &cookie);
    assert_eq!(seen(&in_cookie, "cookie"), [None, Some(cookie)]);
    let open = forged(Request::get("/healthz"));
    assert_eq!(seen(&open, "x-user-id"), [None, None]);
    assert_eq!(seen(&open, "x-jwt-payload"), [None, None]);
}

#[test]
fn rules_match_here_and_there_as_the_page_says() {
    const URI_TEMPLATE: &str = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig";
    let template = |path: &str| {
        let config = json!({"@type": URI_TEMPLATE, "path_template": path});
        json!({"match": {"path_match_policy": {"name": "envoy.path.match.uri_template", "typed_config": config}}})
    };
    let any = json!({"requires_any": {"requirements": [{"provider_name": "shop"}, {"allow_missing": {}}]}});
    let asks = |prefix: &str| json!({"match": {"prefix": prefix}, "requires": {"provider_name": "shop"}});
    // No rule there says anything about other paths than these.
    let there = json!([
        {"match": {"prefix": "/api/v"}},
        template("/files/**"),
        template("/users/{id}"),
        {"match": {"path": "/healthz"}},
        {"match": {"path_separated_prefix": "/docs"}},
        {"match": {"prefix": "/optional"}, "requires": any},
        asks("/orders"),
        asks("/files"),
        asks("/users"),
        asks("/docs"),
    ]);
    let here = json!([
        {"prefix": "/api/v", "action": "skip"},
        {"prefix": "/files", "action": "skip"},
        {"template": "/users/{id}", "action": "skip"},
        {"path": "/healthz", "action": "skip"},
        {"prefix": "/docs", "action": "skip"},
        {"prefix": "/optional", "action": "optional"},
        {"prefix": "/orders", "action": "require"},
    ]);
    let beside = Beside::start(|filter| filter["rules"] = here, |jwt_authn| jwt_authn["rules"] = there);
    let get = Request::get;
    let shop = beside.token(json!({}));
    let over = beside.token(json!({"exp": now() - 600, "iat": now() - 900}));
    beside.holds(&[
        ("a rule that asks for a token", get("/orders/7"), [401, 401]),
        ("a rule that asks for a token, with one", bearing("/orders/7", &shop), [200, 200]),
        ("no rule", get("/other"), [401, 200]),
        ("a prefix that ends inside a segment", get("/api/v1"), [401, 200]),
        ("the prefix itself", get("/api/v"), [200, 200]),
        ("`**` without a slash", get("/files"), [200, 401]),
        ("`**`", get("/files/a/b"), [200, 200]),
        ("a variable", get("/users/7"), [200, 200]),
        ("a variable and more", get("/users/7/x"), [401, 401]),
        ("a path", get("/healthz"), [200, 200]),
        ("a path and a query", get("/healthz?all=1"), [200, 200]),
        ("a path separated prefix", get("/docs/a"), [200, 200]),
        ("a path separated prefix inside a word", get("/docsx"), [401, 401]),
        ("optional, no token", get("/optional"), [200, 200]),
        ("optional, a good token", bearing("/optional", &shop), [200, 200]),
        ("optional, a token that is over", bearing("/optional", &over), [401, 401]),
    ]);
}
