//! How a request carries its token: one credential, in one place, that every program reads alike.

use anyhow::Result;
use curfew_core::Denial;

use super::{Attack, BARE_CR, Expected, Forge, Row};
use crate::http::Request;

const SECTION: &str = "transport";

type Lines = Vec<(String, Vec<u8>)>;

fn lines<F>(id: &str, asks: &str, expected: Expected, make: F) -> Row
where
    F: Fn(&Forge<'_>) -> Lines + Send + Sync + 'static,
{
    Row::new(SECTION, id, asks, expected, Attack::Lines(Box::new(move |forge| Ok(make(forge)))))
}

/// A row with one Authorization header, made from a good token.
fn value(id: &str, asks: &str, expected: Expected, make: fn(&str) -> Vec<u8>) -> Row {
    lines(id, asks, expected, move |forge| vec![line("authorization", make(&forge.good()))])
}

fn line(name: &str, value: impl AsRef<[u8]>) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_ref().to_vec())
}

/// Why the control plane gets no rows about cookies and queries.
const HEADER_ONLY: &str = "the control plane reads the Authorization header and nothing else";

/// Why Envoy joins an empty header and a good one.
const JOINED: &str = "Envoy joins the two into the good one, and the filter and the upstream see that one alone";

fn request<F>(id: &str, asks: &str, expected: Expected, make: F) -> Row
where
    F: Fn(&Forge<'_>) -> Result<Request> + Send + Sync + 'static,
{
    let mut row = Row::new(SECTION, id, asks, expected, Attack::Request(Box::new(make)));
    row.filter_only = Some(HEADER_ONLY);
    row
}

/// A row about one cookie header.
fn cookie(id: &str, asks: &str, expected: Expected, make: fn(&str) -> String) -> Row {
    request(id, asks, expected, move |forge| Ok(Request::get("/orders").header("cookie", make(&forge.good()))))
}

/// A row about a query.
fn query(id: &str, asks: &str, expected: Expected, make: fn(&str) -> String) -> Row {
    request(id, asks, expected, move |forge| Ok(Request::get(&format!("/orders?{}", make(&forge.good())))))
}

pub(super) fn rows() -> Vec<Row> {
    [spellings(), several(), bystanders(), cookies(), queries(), disagreements()].into_iter().flatten().collect()
}

const MISSING: Expected = Expected::Refused(Denial::Missing);
const INVALID: Expected = Expected::Refused(Denial::Invalid);

fn spellings() -> Vec<Row> {
    use Expected::{Admitted, NotHttp};
    vec![
        value("bearer", "Bearer and the token", Admitted, |t| format!("Bearer {t}").into()),
        value("bearer-lower", "bearer", Admitted, |t| format!("bearer {t}").into()),
        value("bearer-upper", "BEARER", Admitted, |t| format!("BEARER {t}").into()),
        value("spaces", "several spaces", Admitted, |t| format!("Bearer    {t}").into()),
        value("trailing-space", "a space behind the token", Admitted, |t| format!("Bearer {t} ").into()),
        value("bare", "the bare token", Admitted, |t| t.into()),
        lines("name-upper", "AUTHORIZATION", Admitted, |forge| {
            vec![line("AUTHORIZATION", format!("Bearer {}", forge.good()))]
        }),
        value("no-space", "no space behind Bearer", INVALID, |t| format!("Bearer{t}").into()),
        value("tab", "a tab behind Bearer", INVALID, |t| format!("Bearer\t{t}").into()),
        value("nbsp", "a no-break space behind Bearer", INVALID, |t| format!("Bearer\u{a0}{t}").into()),
        value("nbsp-before", "a no-break space before the token", INVALID, |t| format!("Bearer \u{a0}{t}").into()),
        value("colon", "a colon behind Bearer", INVALID, |t| format!("Bearer: {t}").into()),
        value("equals", "an equals sign behind Bearer", INVALID, |t| format!("Bearer={t}").into()),
        value("twice-bearer", "Bearer twice", INVALID, |t| format!("Bearer Bearer {t}").into()),
        value("token68", "a parameter for a token", INVALID, |t| format!("Bearer token=\"{t}\"").into()),
        value("quoted", "the token in quotes", INVALID, |t| format!("Bearer \"{t}\"").into()),
        value("angled", "the token in angle brackets", INVALID, |t| format!("Bearer <{t}>").into()),
        value("basic", "Basic", INVALID, |_| b"Basic dXNlcjpwYXNz".to_vec()),
        value("basic-token", "Basic and a good token", INVALID, |t| format!("Basic {t}").into()),
        value("dpop", "DPoP", INVALID, |t| format!("DPoP {t}").into()),
        value("jwt-scheme", "JWT for a scheme", INVALID, |t| format!("JWT {t}").into()),
        value("bearer-xbearer", "a scheme that ends in bearer", INVALID, |t| format!("XBearer {t}").into()),
        value("high-bytes", "bytes that are not UTF-8", INVALID, |_| b"Bearer \xff\xfe\x80".to_vec()),
        value("high-scheme", "a scheme that is not UTF-8", INVALID, |t| [b"Bearer\xff ", t.as_bytes()].concat()),
        value("empty", "an empty header", MISSING, |_| Vec::new()),
        value("scheme-only", "Bearer and nothing", MISSING, |_| b"Bearer".to_vec()),
        value("scheme-space", "Bearer and spaces", MISSING, |_| b"Bearer   ".to_vec()),
        value("nul", "a NUL in the value", NotHttp, |t| format!("Bearer {t}\0").into()),
        value("carriage-return", "a carriage return in the value", NotHttp, |t| format!("Bearer\r{t}").into())
            .behind_envoy(INVALID, BARE_CR),
    ]
}

fn several() -> Vec<Row> {
    vec![
        lines("two-good-first", "two Authorization headers, the first good", INVALID, |forge| {
            vec![line("authorization", format!("Bearer {}", forge.good())), line("authorization", "Bearer nonsense")]
        }),
        lines("two-good-last", "two Authorization headers, the second good", INVALID, |forge| {
            vec![line("authorization", "Bearer nonsense"), line("authorization", format!("Bearer {}", forge.good()))]
        }),
        lines("two-good", "two Authorization headers, both good", INVALID, |forge| {
            [forge.good(), forge.good()].map(|token| line("authorization", format!("Bearer {token}"))).to_vec()
        }),
        lines("two-same", "the same Authorization header twice", INVALID, |forge| {
            let bearer = format!("Bearer {}", forge.good());
            vec![line("authorization", &bearer), line("Authorization", &bearer)]
        }),
        lines("two-empty-first", "an empty Authorization header before a good one", INVALID, |forge| {
            vec![line("authorization", ""), line("authorization", format!("Bearer {}", forge.good()))]
        })
        .behind_envoy(Expected::Admitted, JOINED),
        lines("two-basic-first", "a Basic header before a good one", INVALID, |forge| {
            vec![line("authorization", "Basic eDp5"), line("authorization", format!("Bearer {}", forge.good()))]
        }),
        value("comma", "Bearer a, Bearer b", INVALID, |t| format!("Bearer {t}, Bearer {t}").into()),
        value("comma-no-space", "two tokens with a comma between", INVALID, |t| format!("Bearer {t},{t}").into()),
        value("comma-basic-first", "Basic x, Bearer a", INVALID, |t| format!("Basic x, Bearer {t}").into()),
        value("comma-basic-last", "Bearer a, Basic x", INVALID, |t| format!("Bearer {t}, Basic x").into()),
        value("comma-behind", "a comma behind the token", INVALID, |t| format!("Bearer {t},").into()),
        value("two-tokens", "two tokens with a space between", INVALID, |t| format!("Bearer {t} {t}").into()),
    ]
}

/// Credentials in other headers than Authorization.
fn bystanders() -> Vec<Row> {
    let elsewhere = |name: &'static str| {
        let id = format!("elsewhere-{}", name.to_ascii_lowercase());
        lines(&id, &format!("a good token in {name}"), MISSING, move |forge| {
            vec![line(name, format!("Bearer {}", forge.good()))]
        })
    };
    let beside = |name: &'static str| {
        let id = format!("identity-{}", name.to_ascii_lowercase().replace('_', "-u-"));
        let asks = format!("{name}: root beside a good token");
        lines(&id, &asks, Expected::Admitted, move |forge| {
            vec![line("authorization", format!("Bearer {}", forge.good())), line(name, "root"), line(name, "root")]
        })
    };
    let mut rows = vec![
        elsewhere("Proxy-Authorization"),
        elsewhere("X-Authorization"),
        elsewhere("X-Forwarded-Authorization"),
        elsewhere("X-Access-Token"),
        elsewhere("Authorization2"),
        beside("x-user-id"),
        beside("X-USER_ID"),
        beside("x_user_id"),
        lines("other-high-bytes", "bytes that are not UTF-8 in other headers", Expected::Admitted, |forge| {
            let bearer = line("authorization", format!("Bearer {}", forge.good()));
            vec![bearer, line("x-name", b"caf\xe9\xff"), line("user-agent", b"\x80")]
        }),
        lines("large-bystander", "40 KB in another header", Expected::Admitted, |forge| {
            vec![line("authorization", format!("Bearer {}", forge.good())), line("x-large", "x".repeat(40_000))]
        }),
    ];
    rows.push(request("trailer", "a good token in the trailers", MISSING, |forge| {
        let chunks = format!("0\r\nauthorization: Bearer {}\r\n\r\n", forge.good());
        let request = Request::post("/orders").header("transfer-encoding", "chunked");
        Ok(request.header("trailer", "authorization").body(chunks))
    }));
    rows.push(request("body", "a good token in a form", MISSING, |forge| {
        let request = Request::post("/orders").header("content-type", "application/x-www-form-urlencoded");
        Ok(request.body(format!("access_token={}", forge.good())))
    }));
    rows
}

fn cookies() -> Vec<Row> {
    use Expected::Admitted;
    vec![
        cookie("cookie", "the token in its cookie", Admitted, |t| format!("a=1; access_token={t}; b=2")),
        cookie("cookie-twice", "the cookie twice", INVALID, |t| format!("access_token={t}; access_token={t}")),
        cookie("cookie-good-first", "two cookies, the first good", INVALID, |t| {
            format!("access_token={t}; access_token=nonsense")
        }),
        cookie("cookie-good-last", "two cookies, the second good", INVALID, |t| {
            format!("access_token=nonsense; access_token={t}")
        }),
        cookie("cookie-case", "the cookie in another case beside it", INVALID, |t| {
            format!("access_token={t}; Access_Token=x")
        }),
        cookie("cookie-comma", "a second cookie behind a comma", INVALID, |t| {
            format!("access_token={t}, access_token=x")
        }),
        cookie("cookie-hyphen", "a cookie that PHP would take for it", INVALID, |t| {
            format!("access_token={t}; access.token=x")
        }),
        cookie("cookie-quoted", "the cookie in quotes", INVALID, |t| format!("access_token=\"{t}\"")),
        cookie("cookie-bearer", "Bearer in the cookie", INVALID, |t| format!("access_token=Bearer {t}")),
        cookie("cookie-empty", "an empty cookie", MISSING, |_| "access_token=".into()),
        cookie("cookie-prefix", "a cookie whose name ends alike", MISSING, |t| format!("my_access_token={t}")),
        request("cookie-two-headers", "the cookie in each of two headers", INVALID, |forge| {
            let [one, other] = [forge.good(), forge.good()].map(|token| format!("access_token={token}"));
            Ok(Request::get("/orders").header("cookie", one).header("cookie", other))
        }),
    ]
}

fn queries() -> Vec<Row> {
    use Expected::Admitted;
    vec![
        query("query", "the token in its parameter", Admitted, |t| format!("page=2&access_token={t}")),
        query("query-twice", "the parameter twice", INVALID, |t| format!("access_token={t}&access_token={t}")),
        query("query-good-first", "two parameters, the first good", INVALID, |t| {
            format!("access_token={t}&access_token=nonsense")
        }),
        query("query-good-last", "two parameters, the second good", INVALID, |t| {
            format!("access_token=nonsense&access_token={t}")
        }),
        query("query-escaped-name", "a second parameter with an escaped name", INVALID, |t| {
            format!("access_token={t}&access%5Ftoken=x")
        }),
        query("query-array", "a second parameter as PHP's array", INVALID, |t| {
            format!("access_token={t}&access_token[]=x")
        }),
        query("query-semicolon", "a second parameter behind a semicolon", INVALID, |t| {
            format!("access_token={t};access_token=x")
        }),
        query("query-case", "a second parameter in another case", INVALID, |t| {
            format!("access_token={t}&ACCESS_TOKEN=x")
        }),
        query("query-escaped-value", "an escaped dot in the parameter", INVALID, |t| {
            format!("access_token={}", t.replace('.', "%2E"))
        }),
        query("query-empty", "an empty parameter", MISSING, |_| "access_token=".into()),
        query("query-prefix", "a parameter whose name ends alike", MISSING, |t| format!("my_access_token={t}")),
    ]
}

fn disagreements() -> Vec<Row> {
    vec![
        request("header-cookie", "header and cookie disagree", INVALID, |forge| {
            Ok(Request::get("/orders").bearer(&forge.good()).header("cookie", format!("access_token={}", forge.good())))
        }),
        request("header-query", "header and parameter disagree", INVALID, |forge| {
            Ok(Request::get(&format!("/orders?access_token={}", forge.good())).bearer(&forge.good()))
        }),
        request("cookie-query", "cookie and parameter disagree", INVALID, |forge| {
            let target = format!("/orders?access_token={}", forge.good());
            Ok(Request::get(&target).header("cookie", format!("access_token={}", forge.good())))
        }),
        request("header-junk-cookie", "a good header and junk in the cookie", INVALID, |forge| {
            Ok(Request::get("/orders").bearer(&forge.good()).header("cookie", "access_token=junk"))
        }),
        request("basic-header-cookie", "Basic in the header, a good cookie", INVALID, |forge| {
            let request = Request::get("/orders").header("authorization", "Basic eDp5");
            Ok(request.header("cookie", format!("access_token={}", forge.good())))
        }),
        request("all-agree", "header, cookie and parameter agree", Expected::Admitted, |forge| {
            let token = forge.good();
            let request = Request::get(&format!("/orders?access_token={token}")).bearer(&token);
            Ok(request.header("cookie", format!("access_token={token}")))
        }),
    ]
}
