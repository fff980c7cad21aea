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
    for path in ["/public/a%20b.png", "/public/caf%C3%A9/b", "/public/%E6%97%A5", "/public/%61", "/public/b%C3%BCcher"]
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
            "rules[0].path: exactly one of path, prefix and template must be given",
            "rules[1].action: must be one of: require, optional, skip",
            "rules[1].methods: must be methods in upper case, such as GET",
            "rules[1].path: must be a path in canonical form: it starts with / and has no empty or dot segments, %, ; or \\",
            "rules[2].action: must be given: require, optional or skip",
            "rules[3]: must be an object",
        ]
    );
}

fn demand(rules: &Rules, headers: &[(&str, &str)]) -> Demand {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    rules.demand(&Request::new(&headers))
}

/// The demands of the rules, as the numbers of their requirements.
fn claims(rules: &Rules, method: &str, path: &str) -> Vec<u32> {
    let claims = demand(rules, &[(":method", method), (":path", path)]).claims;
    (0..u64::BITS).filter(|bit| claims & (1 << bit) != 0).collect()
}

#[test]
fn a_rule_asks_for_claims_and_a_lenient_reading_takes_none_away() {
    let rules = rules(json!([
        {"path": "/orders/me", "action": "require"},
        {"prefix": "/orders", "methods": ["GET"], "action": "require", "claims": {"scope": {"contains": "orders.read"}}},
        {"prefix": "/orders", "action": "require", "claims": {"scope": {"contains": "orders.write"}}},
        {"prefix": "/news", "action": "optional", "claims": {"paid": true}},
        {"prefix": "/public", "action": "skip"},
    ]));
    let claims = |method: &str, path: &str| claims(&rules, method, path);
    assert_eq!(claims("GET", "/orders/7"), [0]);
    assert_eq!(claims("POST", "/orders"), [1]);
    assert!(claims("GET", "/orders/me").is_empty());
    assert!(claims("GET", "/other").is_empty());
    // Other programs may not take these for /orders/me.
    assert_eq!(claims("GET", "/orders/ME"), [0]);
    assert_eq!(claims("GET", "/orders/me.json"), [0]);
    assert_eq!(claims("HEAD", "/orders/7"), [0, 1]);
    assert_eq!(claims("get", "/orders/7"), [0, 1]);
    assert_eq!(claims("GET", "/ORDERS/7"), [0, 1]);
    assert_eq!(claims("GET", "/ord%65rs/7"), [0, 1]);
    // These may be read as any path or method.
    for path in ["/x/%2e%2e/orders", "/public/..%2forders", "//orders", "/orders;x", "/public?_method=DELETE"] {
        assert_eq!(claims("GET", path), [0, 1, 2], "{path}");
    }
    assert_eq!(demand(&rules, &[(":path", "/public/x")]).action, Action::Skip);
    let news = demand(&rules, &[(":path", "/news/7")]);
    assert_eq!((news.action, news.claims), (Action::Optional, 4));
    let news = demand(&rules, &[(":path", "/NEWS/7")]);
    assert_eq!((news.action, news.claims), (Action::Require, 4));
}

#[test]
fn a_template_matches_segment_by_segment() {
    let rules = rules(json!([
        {"template": "/users/{id}/keys", "action": "require"},
        {"template": "/users/{id}", "methods": ["GET"], "action": "skip"},
        {"template": "/users/{id}/{kind}", "action": "skip"},
    ]));
    for path in ["/users/7", "/users/a%20b", "/users/7/avatar"] {
        assert_eq!(action(&rules, "GET", path.as_bytes()), Action::Skip, "{path}");
    }
    for path in [
        "/users",
        "/users/",
        "/users/7/",
        "/users/7/keys",
        "/users/7/KEYS.json",
        "/users/7/k%65ys/",
        "/users/7/a/b",
        "/users/%2e%2e",
        "/users/..",
        "/Users/7",
        "/users//keys",
    ] {
        assert_eq!(action(&rules, "GET", path.as_bytes()), Action::Require, "{path}");
    }
    assert_eq!(action(&rules, "POST", b"/users/7"), Action::Require);
}

/// With a look at each cut of a segment this took billions of steps, before any token was read.
#[test]
fn a_long_segment_is_judged_at_once() {
    let rules = rules(json!([
        {"template": "/users/{id}", "action": "require"},
        {"prefix": "/admin", "action": "require"},
        {"prefix": "/public", "action": "skip"},
    ]));
    let started = std::time::Instant::now();
    for path in [format!("/{}", ".".repeat(56_000)), format!("/%C3%A9{}", ".a".repeat(28_000))] {
        assert_eq!(action(&rules, "GET", path.as_bytes()), Action::Require);
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_host_opens_only_what_every_program_takes_for_it() {
    let rules = rules(json!([
        {"prefix": "/", "hosts": ["admin.example.com"], "action": "require", "claims": {"role": "admin"}},
        {"prefix": "/", "hosts": ["www.example.com", "*.cdn.example.com"], "action": "skip"},
    ]));
    let with = |host: &str, more: &[(&str, &str)]| {
        let demand = demand(&rules, &[&[(":path", "/x"), (":authority", host)][..], more].concat());
        (demand.action, demand.claims)
    };
    for host in ["www.example.com", "www.example.com:8443", "a.cdn.example.com"] {
        assert_eq!(with(host, &[]), (Action::Skip, 0), "{host}");
    }
    assert_eq!(with("www.example.com", &[("x-forwarded-host", "www.example.com")]), (Action::Skip, 0));
    for host in ["WWW.example.com", "www.example.com.", "cdn.example.com", "example.com"] {
        assert_eq!(with(host, &[]), (Action::Require, 0), "{host}");
    }
    for host in [
        "admin.example.com",
        "ADMIN.example.com:443",
        "admin.example.com.",
        "",
        // Some programs cut these at the colon, or at what else is no part of a name.
        "admin.example.com:x",
        "admin.example.com:x.cdn.example.com",
        "admin.example.com/.cdn.example.com",
        "admin.example.com@www.example.com",
        "[::1",
        ".cdn.example.com:x",
    ] {
        assert_eq!(with(host, &[]), (Action::Require, 1), "{host}");
    }
    for (name, value) in [
        ("x-forwarded-host", "admin.example.com"),
        ("x_forwarded_host", "www.example.com, admin.example.com"),
        ("forwarded", "for=192.0.2.1;Host=admin.example.com"),
        ("x-host", "admin.example.com"),
    ] {
        assert_eq!(with("www.example.com", &[(name, value)]), (Action::Require, 1), "{name}");
    }
    assert_eq!(with("www.example.com", &[("forwarded", "for=192.0.2.1")]), (Action::Skip, 0));
}

#[test]
fn only_a_rule_that_surely_applies_reports_instead_of_refusing() {
    let rules = rules(json!([
        {"prefix": "/new", "action": "require", "report_only": true},
        {"prefix": "/old", "action": "require"},
    ]));
    let reports = |path: &str| demand(&rules, &[(":path", path)]).report_only;
    assert!(reports("/new/x"));
    for path in ["/old", "/other", "/NEW/x", "/new/../old", "/n%65w", "/new;x"] {
        assert!(!reports(path), "{path}");
    }
}

#[test]
fn wrong_hosts_templates_and_claims_of_rules_are_named() {
    let document = json!({"rules": [
        {"template": "/a/{b", "action": "require"},
        {"template": "/a/*", "action": "require"},
        {"path": "/a", "hosts": ["A.example.com"], "action": "require"},
        {"path": "/a", "action": "skip", "claims": {"a": 1}},
    ]});
    let mut mistakes = Mistakes::default();
    Fields::read("", &document, &mut mistakes, Rules::read);
    let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "rules[0].template: each segment must be text without {, } and *, or a name in braces, such as {id}",
            "rules[1].template: each segment must be text without {, } and *, or a name in braces, such as {id}",
            "rules[2].hosts: must be host names in lower case without a port, such as a.example.com or *.example.com",
            "rules[3].action: skip looks at no token: claims, audiences and report_only belong to the other actions",
        ]
    );
}
