//! Rules about the header: it may ask for nothing but the key that is configured.

use curfew_core::{MAX_HEADER_BYTES, TokenError};
use serde_json::json;

use super::{Row, bad, brought, good, raw};

pub(super) const SECTION: &str = "header";

/// A token with exactly this header, signed with the HMAC key.
fn refused(id: &str, asks: &str, rule: TokenError, header: impl Into<Vec<u8>>) -> Row {
    let header = header.into();
    bad(SECTION, id, asks, rule, move |forge| Ok(forge.hs256(&header, forge.claims().to_string()).into_bytes()))
}

fn admitted(id: &str, asks: &str, header: impl Into<Vec<u8>>) -> Row {
    let header = header.into();
    good(SECTION, id, asks, move |forge| Ok(forge.hs256(&header, forge.claims().to_string()).into_bytes()))
}

pub(super) fn rows() -> Vec<Row> {
    let sections = [algorithms(), confusions(), duplicates(), kids(), parameters(), brought::rows(), types(), shapes()];
    sections.into_iter().flatten().collect()
}

fn algorithms() -> Vec<Row> {
    use TokenError::{Algorithm, Header, Signature};
    vec![
        refused("alg-none", "alg: none", Algorithm, r#"{"alg":"none"}"#),
        refused("alg-none-title", "alg: None", Algorithm, r#"{"alg":"None"}"#),
        refused("alg-none-upper", "alg: NONE", Algorithm, r#"{"alg":"NONE"}"#),
        refused("alg-none-mixed", "alg: nOnE", Algorithm, r#"{"alg":"nOnE"}"#),
        refused("alg-missing", "no alg", Header, r#"{"typ":"JWT"}"#),
        refused("alg-null", "alg: null", Header, r#"{"alg":null}"#),
        refused("alg-list", "alg in a list", Header, r#"{"alg":["HS256"]}"#),
        refused("alg-object", "alg in an object", Header, r#"{"alg":{"HS256":1}}"#),
        refused("alg-number", "alg as a number", Header, r#"{"alg":256}"#),
        refused("alg-empty", "an empty alg", Algorithm, r#"{"alg":""}"#),
        refused("alg-lower", "alg: hs256", Algorithm, r#"{"alg":"hs256"}"#),
        refused("alg-space", "a space behind alg", Algorithm, r#"{"alg":"HS256 "}"#),
        refused("alg-nul", "a NUL behind alg", Algorithm, r#"{"alg":"HS256\u0000"}"#),
        refused("alg-hash", "alg of another hash", Algorithm, r#"{"alg":"HS512"}"#),
        refused("alg-family", "RS256 with an HMAC", Signature, r#"{"alg":"RS256"}"#),
        refused("alg-family-kid", "RS256 with the kid of the HMAC key", Algorithm, r#"{"alg":"RS256","kid":"hs"}"#),
        refused("alg-es256k", "ES256K", Algorithm, r#"{"alg":"ES256K"}"#),
        refused("alg-ed448", "Ed448", Algorithm, r#"{"alg":"Ed448"}"#),
        refused("alg-member", "ALG for alg", Header, r#"{"ALG":"HS256"}"#),
        admitted("alg-escaped", "alg in JSON escapes, which mean the same", r#"{"\u0061lg":"HS\u0032\u0035\u0036"}"#),
    ]
}

/// HMACs keyed with public values: the classic confusion of a verifier that lets the token choose the algorithm.
fn confusions() -> Vec<Row> {
    let forms = [
        ("rsa-pem", "the RSA key's PEM", "k1"),
        ("rsa-der", "the RSA key's DER", "k1"),
        ("rsa-jwk", "the RSA key's JWK", "k1"),
        ("rsa-modulus", "the RSA modulus", "k1"),
        ("ec-der", "the EC key's DER", "es"),
        ("ec-point", "the EC point", "es"),
        ("ed25519", "the Ed25519 key", "ed"),
    ];
    let mut rows = Vec::new();
    for (id, form, kid) in forms {
        let asks = format!("an HMAC with {form}");
        rows.push(bad(SECTION, &format!("hmac-{id}"), &asks, TokenError::Algorithm, move |forge| {
            let input = forge.input(&json!({"alg": "HS256", "kid": kid}).to_string());
            let mac = raw::hmac(&forge.public_form(form)?, &input);
            Ok(format!("{input}.{}", crate::tokens::base64(&mac)).into_bytes())
        }));
        let asks = format!("an HMAC with {form}, without kid");
        rows.push(bad(SECTION, &format!("hmac-{id}-no-kid"), &asks, TokenError::Signature, move |forge| {
            let input = forge.input(r#"{"alg":"HS256"}"#);
            let mac = raw::hmac(&forge.public_form(form)?, &input);
            Ok(format!("{input}.{}", crate::tokens::base64(&mac)).into_bytes())
        }));
    }
    rows
}

fn duplicates() -> Vec<Row> {
    use TokenError::Header;
    vec![
        refused("alg-twice", "alg twice, the same", Header, r#"{"alg":"HS256","alg":"HS256"}"#),
        refused("alg-none-first", "alg twice, none first", Header, r#"{"alg":"none","alg":"HS256"}"#),
        refused("alg-none-last", "alg twice, none last", Header, r#"{"alg":"HS256","alg":"none"}"#),
        refused("alg-twice-escaped", "alg twice, once in escapes", Header, r#"{"alg":"HS256","\u0061lg":"none"}"#),
        refused("kid-twice", "kid twice", Header, r#"{"alg":"HS256","kid":"hs","kid":"k1"}"#),
        refused("member-twice", "an unknown member twice", Header, r#"{"alg":"HS256","x":1,"x":2}"#),
        refused(
            "member-twice-inside",
            "a member twice, further inside",
            Header,
            r#"{"alg":"HS256","x":{"a":1,"a":2}}"#,
        ),
    ]
}

fn kids() -> Vec<Row> {
    use TokenError::{Header, UnknownKey};
    let kid = |kid: &str| json!({"alg": "HS256", "kid": kid}).to_string();
    vec![
        refused("kid-unknown", "an unknown kid", UnknownKey, kid("nobody")),
        refused("kid-case", "a kid in another case", UnknownKey, kid("HS")),
        refused("kid-url", "a kid that is a URL", UnknownKey, kid("https://evil.example/key")),
        refused("kid-path", "a kid that is a path", UnknownKey, kid("/dev/null")),
        refused("kid-long-ok", "an unknown kid of 128 characters", UnknownKey, kid(&"k".repeat(128))),
        refused("kid-empty", "an empty kid", Header, kid("")),
        refused("kid-number", "a number for a kid", Header, r#"{"alg":"HS256","kid":7}"#),
        admitted("kid-null", "null for a kid, which is absent", r#"{"alg":"HS256","kid":null}"#),
        refused("kid-list", "a list for a kid", Header, r#"{"alg":"HS256","kid":["hs"]}"#),
        refused("kid-object", "an object for a kid", Header, r#"{"alg":"HS256","kid":{"hs":1}}"#),
        refused("kid-traversal", "a kid that climbs directories", Header, kid("../../../../dev/null")),
        refused("kid-sql", "a kid with SQL", Header, kid("x' UNION SELECT 'secret")),
        refused("kid-shell", "a kid with a shell command", Header, kid("hs|id")),
        refused("kid-markup", "a kid with markup", Header, kid("<script>")),
        refused("kid-nul", "a kid with a NUL", Header, kid("hs\0")),
        refused("kid-space", "a kid with a space", Header, kid("hs ")),
        refused("kid-line-feed", "a kid with a line feed", Header, kid("hs\nx: y")),
        refused("kid-unicode", "a kid that is not ASCII", Header, kid("h\u{15b}")),
        refused("kid-long", "a kid of 129 characters", Header, kid(&"k".repeat(129))),
        refused("kid-8-kb", "a kid of 5,000 characters", Header, kid(&"k".repeat(5000))),
        admitted("kid-right", "the right kid", kid("hs")),
    ]
}

fn parameters() -> Vec<Row> {
    let parameters = [
        ("crit", "crit: an unknown extension", r#""crit":["x"],"x":1"#),
        ("crit-empty", "crit: an empty list", r#""crit":[]"#),
        ("crit-known", "crit: exp", r#""crit":["exp"],"exp":1"#),
        ("crit-text", "crit as text", r#""crit":"exp""#),
        ("crit-null", "crit: null", r#""crit":null"#),
        ("crit-b64", "crit: b64, and b64: false", r#""crit":["b64"],"b64":false"#),
        ("b64-false", "b64: false", r#""b64":false"#),
        ("b64-true", "b64: true", r#""b64":true"#),
        ("zip", "zip: DEF", r#""zip":"DEF""#),
        ("enc", "enc: A128GCM", r#""enc":"A128GCM""#),
        ("cty", "cty: JWT", r#""cty":"JWT""#),
        ("cty-lower", "cty: jwt", r#""cty":"jwt""#),
        ("cty-whole", "cty: application/jwt", r#""cty":"application/jwt""#),
        ("cty-number", "cty as a number", r#""cty":7"#),
    ];
    let rule = TokenError::HeaderParameter;
    let mut rows: Vec<Row> = parameters
        .into_iter()
        .map(|(id, asks, parameter)| refused(id, asks, rule, format!(r#"{{"alg":"HS256",{parameter}}}"#)))
        .collect();
    let harmless = [
        ("jku", "jku: a URL of keys, which nobody follows", r#""jku":"https://evil.example/jwks""#),
        ("jku-null", "jku: null", r#""jku":null"#),
        ("x5u", "x5u: a URL of certificates, which nobody follows", r#""x5u":"https://evil.example/cert""#),
        ("x5c", "x5c: a certificate chain, which nobody reads", r#""x5c":["MIIB"]"#),
        ("x5c-empty", "x5c: an empty chain", r#""x5c":[]"#),
        ("jwk-empty", "jwk: an empty key", r#""jwk":{}"#),
    ];
    rows.extend(harmless.map(|(id, asks, parameter)| admitted(id, asks, format!(r#"{{"alg":"HS256",{parameter}}}"#))));
    rows.push(bad(
        SECTION,
        "jwk",
        "jwk: the attacker's key, which fits the signature",
        TokenError::Signature,
        |forge| {
            let secret = b"a key that came with the token, long enough for HS256";
            let jwk = json!({"kty": "oct", "k": crate::tokens::base64(secret)});
            let input = forge.input(&json!({"alg": "HS256", "jwk": jwk}).to_string());
            Ok(format!("{input}.{}", crate::tokens::base64(&raw::hmac(secret, &input))).into_bytes())
        },
    ));
    rows.push(admitted("unknown-parameter", "a parameter that nobody knows", r#"{"alg":"HS256","x":{"y":[1]}}"#));
    rows.push(admitted("x5t", "x5t, which only names a certificate", r#"{"alg":"HS256","x5t":"AAAA"}"#));
    rows
}

fn types() -> Vec<Row> {
    use TokenError::{Header, Type};
    let typ = |typ: &str| json!({"alg": "HS256", "typ": typ}).to_string();
    vec![
        refused("typ-logout", "typ: logout+jwt", Type, typ("logout+jwt")),
        refused("typ-dpop", "typ: dpop+jwt", Type, typ("dpop+jwt")),
        refused("typ-secevent", "typ: secevent+jwt", Type, typ("secevent+jwt")),
        refused("typ-jose", "typ: JOSE", Type, typ("JOSE")),
        refused("typ-empty", "an empty typ", Type, typ("")),
        refused("typ-space", "a space behind typ", Type, typ("JWT ")),
        refused("typ-twice-application", "typ: application/application/jwt", Type, typ("application/application/jwt")),
        refused("typ-number", "typ as a number", Header, r#"{"alg":"HS256","typ":7}"#),
        admitted("typ-null", "typ: null, which is absent", r#"{"alg":"HS256","typ":null}"#),
        refused("typ-list", "typ in a list", Header, r#"{"alg":"HS256","typ":["JWT"]}"#),
        admitted("typ-access", "typ: at+jwt", typ("at+jwt")),
        admitted("typ-whole", "typ: application/at+JWT", typ("application/at+JWT")),
        admitted("typ-lower", "typ: jwt", typ("jwt")),
        admitted("typ-missing", "no typ", r#"{"alg":"HS256"}"#),
    ]
}

fn shapes() -> Vec<Row> {
    use TokenError::Header;
    let nested = format!(r#"{{"alg":"HS256","x":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    let filled = |size: usize| format!(r#"{{"alg":"HS256","x":"{}"}}"#, "x".repeat(size - 22));
    let utf16: Vec<u8> = r#"{"alg":"HS256"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        refused("list", "a list for a header", Header, r#"["HS256"]"#),
        refused("list-of-pairs", "a list of one object", Header, r#"[{"alg":"HS256"}]"#),
        refused("text", "a text for a header", Header, r#""HS256""#),
        refused("null", "null for a header", Header, "null"),
        refused("empty", "an empty object", Header, "{}"),
        refused("leading-space", "a space before the object", Header, r#" {"alg":"HS256"}"#),
        refused("byte-order-mark", "a byte order mark", Header, "\u{feff}{\"alg\":\"HS256\"}"),
        refused("trailing", "something behind the object", Header, r#"{"alg":"HS256"}x"#),
        refused("two-objects", "two objects", Header, r#"{"alg":"HS256"}{"alg":"none"}"#),
        refused("nul-behind", "a NUL behind the object", Header, "{\"alg\":\"HS256\"}\0"),
        refused("comment", "a comment", Header, r#"{"alg":"HS256"/**/}"#),
        refused("trailing-comma", "a comma at the end", Header, r#"{"alg":"HS256",}"#),
        refused("single-quotes", "single quotes", Header, "{'alg':'HS256'}"),
        refused("nested", "40 levels deep", Header, nested),
        refused("surrogate", "half a surrogate pair", Header, r#"{"alg":"HS256","x":"\ud800"}"#),
        refused("not-utf8", "an unknown member that is not UTF-8", Header, *b"{\"alg\":\"HS256\",\"x\":\"\xff\"}"),
        refused("utf16", "UTF-16", Header, utf16),
        refused("huge-number", "1e400 in an unknown member", Header, r#"{"alg":"HS256","x":1e400}"#),
        refused("nan", "NaN in an unknown member", Header, r#"{"alg":"HS256","x":NaN}"#),
        refused("over-8-kib", "a header of 8 KiB and one byte", Header, filled(MAX_HEADER_BYTES + 1)),
        admitted("8-kib", "a header of 8 KiB", filled(MAX_HEADER_BYTES)),
    ]
}
