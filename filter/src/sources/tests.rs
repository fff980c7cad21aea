use curfew_core::Mistakes;
use serde_json::json;

use super::{Source, Sources, extract};
use crate::request::Request;
use curfew_core::Fields;

/// Any kind of [`super::Ambiguous`].
#[derive(Debug, PartialEq)]
struct Ambiguous;

fn sources() -> Sources {
    Sources::new(vec![
        Source::header("authorization"),
        Source::Cookie("access_token".into()),
        Source::Query("token".into()),
    ])
}

fn read(document: serde_json::Value) -> Sources {
    let mut mistakes = Mistakes::default();
    let sources = Fields::read("", &document, &mut mistakes, Sources::read).unwrap();
    assert_eq!(mistakes, Mistakes::default());
    sources
}

fn token_in(sources: &Sources, headers: &[(&str, &str)]) -> Result<Option<String>, String> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let found = extract(sources, &Request::new(&headers)).map_err(|problem| sources.explain(problem))?;
    Ok(found.map(|token| String::from_utf8(token.to_vec()).unwrap()))
}

fn token(headers: &[(&str, &str)]) -> Result<Option<String>, Ambiguous> {
    token_in(&sources(), headers).map_err(|_| Ambiguous)
}

#[test]
fn a_token_is_found_in_each_place() {
    let found = Ok(Some("a.b.c".to_owned()));
    assert_eq!(token(&[("authorization", "Bearer a.b.c")]), found);
    assert_eq!(token(&[("authorization", "a.b.c")]), found);
    assert_eq!(token(&[("cookie", "x=1; access_token=a.b.c; y=2")]), found);
    assert_eq!(token(&[("cookie", "x=1"), ("cookie", "access_token=a.b.c")]), found);
    assert_eq!(token(&[(":path", "/?x=1&token=a.b.c")]), found);
    assert_eq!(token(&[("cookie", "theme=access_token; access_token=a.b.c")]), found);
    assert_eq!(token(&[("authorization", "bearer a.b.c"), ("cookie", "access_token=a.b.c")]), found);
}

#[test]
fn other_names_and_empty_values_are_no_token() {
    assert_eq!(token(&[]), Ok(None));
    assert_eq!(token(&[("authorization", "")]), Ok(None));
    assert_eq!(token(&[("authorization", "Bearer ")]), Ok(None));
    assert_eq!(token(&[("cookie", "access_token=; my_access_token=a.b.c; access_tokens=a.b.c")]), Ok(None));
    assert_eq!(token(&[(":path", "/token=a.b.c?xtoken=a.b.c")]), Ok(None));
    assert_eq!(token(&[(":path", "/?page_token=1&token_type=2&next=/reset?token=3&x=token=4&token")]), Ok(None));
    assert_eq!(
        token(&[("cookie", "__Host-access_token=1; access-token=2; j={\"access_token\":\"x==\"}; a=b access_token")]),
        Ok(None)
    );
}

#[test]
fn what_only_a_lenient_reader_sees_is_refused() {
    let requests = [
        ("cookie", "access_token =a.b.c"),
        ("cookie", "a=1 access_token=a.b.c"),
        ("cookie", "a=1, access_token=a.b.c"),
        ("cookie", "a=1\raccess_token=a.b.c"),
        ("cookie", "a=1\x0caccess_token=a.b.c"),
        ("cookie", "access.token=a.b.c"),
        ("cookie", "access token=a.b.c"),
        ("cookie", "access[token=a.b.c"),
        ("cookie", "ACCESS_TOKEN=a.b.c"),
        ("cookie", "access%5ftoken=a.b.c"),
        ("cookie", "a=\"access_token=a.b.c\""),
        (":path", "/?to%6ben=a.b.c"),
        (":path", "/?a=1;token=a.b.c"),
        (":path", "/?a=1#token=a.b.c"),
        (":path", "/?+token=a.b.c"),
        (":path", "/?token[]=a.b.c"),
        (":path", "/?token%00x=a.b.c"),
        (":path", "/?Token=a.b.c"),
    ];
    for header in requests {
        assert_eq!(token(&[header]), Err(Ambiguous), "{header:?}");
        assert_eq!(token(&[("authorization", "Bearer d.e.f"), header]), Err(Ambiguous), "{header:?}");
    }
    let custom = Sources::new(vec![Source::header("x-token")]);
    let headers: [(&[u8], &[u8]); 2] = [(b"x-token", b"a.b.c"), (b"x_token", b"d.e.f")];
    assert_eq!(extract(&custom, &Request::new(&headers)), Err(super::Ambiguous::Several(0)));
}

#[test]
fn a_request_with_a_choice_of_tokens_is_refused() {
    let requests: [&[(&str, &str)]; 8] = [
        &[("authorization", "Bearer a.b.c"), ("authorization", "Bearer d.e.f")],
        &[("authorization", "Bearer a.b.c"), ("authorization", "Bearer a.b.c")],
        &[("authorization", "Bearer a.b.c, Bearer d.e.f")],
        &[("authorization", "Basic dXNlcjpwYXNz"), ("cookie", "access_token=a.b.c")],
        &[("cookie", "access_token=a.b.c; access_token=d.e.f")],
        &[("cookie", "access_token=a.b.c"), ("cookie", "access_token=a.b.c")],
        &[(":path", "/?token=a.b.c&token=d.e.f")],
        &[("authorization", "Bearer a.b.c"), (":path", "/?token=d.e.f")],
    ];
    for request in requests {
        assert_eq!(token(request), Err(Ambiguous), "{request:?}");
    }
}

#[test]
fn a_message_names_the_place() {
    let explained = |headers: &[(&str, &str)]| token_in(&sources(), headers).unwrap_err();
    assert_eq!(
        explained(&[("cookie", "access_token=stale.b.c; access_token=a.b.c")]),
        "The request has the cookie access_token more than once, or also in a spelling that some programs take for it."
    );
    assert_eq!(
        explained(&[("authorization", "Basic dTpw"), ("cookie", "access_token=a.b.c")]),
        "In the header authorization, there is something else than one token."
    );
    assert_eq!(
        explained(&[("authorization", "Basic dTpw")]),
        "In the header authorization, there is something else than one token."
    );
    assert_eq!(
        explained(&[("authorization", "Bearer a.b.c"), (":path", "/?token=d.e.f")]),
        "The request has one token in the header authorization and another in the query parameter token."
    );
    assert_eq!(
        sources().missing(),
        "No token was sent: looked in the header authorization, the cookie access_token, the query parameter token."
    );
}

#[test]
fn a_header_may_have_prefixes_of_its_own() {
    let sources = read(json!({"sources": [
        {"header": "Authorization", "prefix": "JWT"}, {"header": "authorization", "prefix": "Token"},
        {"header": "x-token", "prefix": "jwt="}, {"header": "x-bare"},
    ]}));
    let found = |name: &str, value: &str| token_in(&sources, &[(name, value)]);
    for (name, value) in [
        ("authorization", "JWT a.b.c"),
        ("authorization", "jwt   a.b.c"),
        ("authorization", "Token a.b.c"),
        ("x-token", "jwt=a.b.c"),
        ("x-token", "JWT= a.b.c"),
        ("x-bare", "a.b.c"),
        ("x-bare", "Bearer a.b.c"),
    ] {
        assert_eq!(found(name, value), Ok(Some("a.b.c".to_owned())), "{name}: {value}");
    }
    for (name, value) in [("authorization", "JWT"), ("authorization", "token "), ("x-token", "jwt=")] {
        assert_eq!(found(name, value), Ok(None), "{name}: {value}");
    }
    for (name, value) in [
        ("authorization", "Bearer a.b.c"),
        ("authorization", "a.b.c"),
        ("authorization", "JWTa.b.c"),
        ("authorization", "JWT a.b.c, JWT d.e.f"),
        ("authorization", "JWT Token a.b.c"),
        ("x-token", "a.b.c"),
    ] {
        assert!(found(name, value).is_err(), "{name}: {value}");
    }
    let both = read(json!({"sources": [{"header": "authorization"}, {"header": "authorization", "prefix": "JWT"}]}));
    for value in ["Bearer a.b.c", "a.b.c", "JWT a.b.c"] {
        assert_eq!(token_in(&both, &[("authorization", value)]), Ok(Some("a.b.c".to_owned())), "{value}");
    }
}

#[test]
fn another_scheme_is_ignored_only_where_that_is_configured_and_it_hides_no_token() {
    let sources = read(json!({
        "other_schemes": "ignore", "sources": [{"header": "authorization"}, {"cookie": "access_token"}],
    }));
    let cookie = ("cookie", "access_token=a.b.c");
    let found = Ok(Some("a.b.c".to_owned()));
    for value in ["Basic dTpw", "basic dTpwPT0=", "Negotiate", r#"Digest username="u", uri="/a", response="x""#] {
        assert_eq!(token_in(&sources, &[("authorization", value), cookie]), found, "{value}");
        assert_eq!(token_in(&sources, &[("authorization", value)]), Ok(None), "{value}");
    }
    for value in [
        "Basic dTpw, Bearer d.e.f",
        "Basic dTpw,bearer d.e.f",
        "Basic x bearer",
        "Basic d.e.f",
        r#"Custom token="d.e.f""#,
        "Bearer\ta.b.c",
        "Basic dTpw\u{e9}",
        "(x) y",
        "Bearer Basic dTpw",
    ] {
        assert!(token_in(&sources, &[("authorization", value), cookie]).is_err(), "{value}");
    }
    let twice = [("authorization", "Basic dTpw"), ("authorization", "Bearer a.b.c")];
    assert!(token_in(&sources, &twice).is_err());
}

#[test]
fn a_token_is_found_among_the_subprotocols() {
    let sources = read(json!({"sources": [{"subprotocol": "access_token"}]}));
    let found = |values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|value| ("sec-websocket-protocol", *value)).collect();
        token_in(&sources, &headers)
    };
    for values in [
        &["access_token, a.b.c"][..],
        &["chat.v1,access_token,a.b.c"],
        &["access_token.a.b.c, chat.v1"],
        &["chat.v1", "access_token.a.b.c"],
        &["access_token", "a.b.c"],
        &["access_token, , a.b.c"],
    ] {
        assert_eq!(found(values), Ok(Some("a.b.c".to_owned())), "{values:?}");
    }
    for values in [&["chat.v1"][..], &["chat.v1, access_tokens.a.b.c"], &[", ,"]] {
        assert_eq!(found(values), Ok(None), "{values:?}");
    }
    for values in [
        &["access_token, a.b.c, access_token, d.e.f"][..],
        &["access_token.a.b.c, access_token.d.e.f"],
        &["access_token, a.b.c, access_token.a.b.c"],
        &["access_token, access_token.a.b.c"],
        // Announced, and in no place that every program looks at.
        &["access_token"],
        &["a.b.c, access_token"],
        &["access_token., a.b.c"],
        &["Access_Token.a.b.c"],
        &["ACCESS_TOKEN, a.b.c"],
    ] {
        assert!(found(values).is_err(), "{values:?}");
    }
    let other = [("sec-websocket-protocol", "access_token.a.b.c"), ("sec_websocket_protocol", "x")];
    assert!(token_in(&sources, &other).is_err());
}
