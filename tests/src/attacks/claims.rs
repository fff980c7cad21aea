//! Rules about claims: dates are dates, identifiers identify, and each member is there once.

use curfew_core::TokenError;
use serde_json::{Value, json};

use super::{Expected, Forge, Row, bad, good};
use crate::tokens::with;

const SECTION: &str = "claims";

/// Why no identity is told.
const NAMELESS: &str = "the token names none";

/// The header of every row here.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// A token whose claims differ in these members; null removes one.
fn refused(id: &str, asks: &str, rule: TokenError, changes: fn(i64) -> Value) -> Row {
    bad(SECTION, id, asks, rule, move |forge| Ok(changed(forge, changes)))
}

fn admitted(id: &str, asks: &str, changes: fn(i64) -> Value) -> Row {
    good(SECTION, id, asks, move |forge| Ok(changed(forge, changes)))
}

fn changed(forge: &Forge<'_>, changes: fn(i64) -> Value) -> Vec<u8> {
    forge.hs256(HEADER, with(forge.claims(), changes(forge.now())).to_string()).into_bytes()
}

/// A token whose claim is this text, which need not be JSON.
fn raw(id: &str, asks: &str, rule: TokenError, claim: &'static str, text: &'static str) -> Row {
    bad(SECTION, id, asks, rule, move |forge| {
        let claims = with(forge.claims(), json!({ claim: null }));
        Ok(appended(forge, &claims, &format!(r#""{claim}":{text}"#)))
    })
}

/// A token in which this claim is null, which is as good as absent.
fn raw_admitted(id: &'static str, asks: &str, claim: &'static str) -> Row {
    good(SECTION, id, asks, move |forge| {
        // Another member keeps the token apart from others where the claim is what does.
        let member = format!(r#""{claim}":null,"x":"{}-{id}""#, forge.now());
        Ok(appended(forge, &with(forge.claims(), json!({ claim: null })), &member))
    })
}

/// A token with one more member, as text.
fn member(id: &str, asks: &str, rule: TokenError, text: &'static str) -> Row {
    bad(SECTION, id, asks, rule, move |forge| Ok(appended(forge, &forge.claims(), text)))
}

fn appended(forge: &Forge<'_>, claims: &Value, text: &str) -> Vec<u8> {
    let claims = claims.to_string();
    let open = claims.strip_suffix('}').unwrap_or(&claims);
    forge.hs256(HEADER, format!("{open},{text}}}")).into_bytes()
}

/// A token whose payload is made from the text of good claims.
fn payload(id: &str, asks: &str, rule: TokenError, make: fn(String) -> Vec<u8>) -> Row {
    bad(SECTION, id, asks, rule, move |forge| Ok(forge.hs256(HEADER, make(forge.claims().to_string())).into_bytes()))
}

pub(super) fn rows() -> Vec<Row> {
    [
        expiry(),
        expiry_texts(),
        starts(),
        duplicates(),
        shapes(),
        issuers(),
        audiences(),
        kinds(),
        identifiers(),
        users(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn expiry() -> Vec<Row> {
    use TokenError::{Claim, Expired, LivesTooLong};
    vec![
        refused("exp-missing", "no exp", Claim("exp"), |_| json!({"exp": null})),
        refused("exp-past", "expired an hour ago", Expired, |now| json!({"exp": now - 3600, "iat": now - 7200})),
        refused("exp-skew", "expired for as long as the skew", Expired, |now| json!({"exp": now - 5})),
        refused("exp-fraction-past", "a fraction that only rounding up would save", Expired, |now| {
            let fraction = f64::from(u32::try_from(now).unwrap_or_default()) - 5.0 + 0.9;
            json!({ "exp": fraction })
        }),
        refused("exp-one", "exp: 1", Expired, |_| json!({"exp": 1, "iat": 0})),
        refused("exp-zero", "exp: 0, which some take for never", Claim("exp"), |_| json!({"exp": 0, "iat": 0})),
        refused("exp-text", "exp as text", Claim("exp"), |now| json!({"exp": (now + 600).to_string()})),
        refused("exp-bool", "exp: true", Claim("exp"), |_| json!({"exp": true})),
        refused("exp-list", "exp in a list", Claim("exp"), |now| json!({"exp": [now + 600]})),
        refused("exp-object", "exp in an object", Claim("exp"), |now| json!({"exp": {"at": now + 600}})),
        refused("exp-negative", "a negative exp", Claim("exp"), |_| json!({"exp": -1})),
        refused("exp-huge", "exp: 1e300", Claim("exp"), |_| json!({"exp": 1e300})),
        refused("exp-milliseconds", "exp in milliseconds", Claim("exp"), |now| json!({"exp": (now + 600) * 1000})),
        refused("exp-far", "exp in 31 days", LivesTooLong, |now| json!({"exp": now + 31 * 86_400})),
        refused("exp-long-life", "31 days from iat to exp", LivesTooLong, |now| json!({"iat": now - 31 * 86_400})),
        admitted("exp-just-past", "expired two seconds ago, within the skew", |now| json!({"exp": now - 2})),
        admitted("exp-fraction", "exp with a fraction", |now| {
            let fraction = f64::from(u32::try_from(now).unwrap_or_default()) + 600.5;
            json!({ "exp": fraction })
        }),
    ]
}

fn expiry_texts() -> Vec<Row> {
    use TokenError::{Claim, Claims, LivesTooLong};
    vec![
        raw("exp-null", "exp: null", Claim("exp"), "exp", "null"),
        raw("exp-nan", "exp: NaN", Claims, "exp", "NaN"),
        raw("exp-infinity", "exp: Infinity", Claims, "exp", "Infinity"),
        raw("exp-overflow", "exp: 1e400", Claims, "exp", "1e400"),
        raw("exp-2-63", "exp: 2^63", Claim("exp"), "exp", "9223372036854775808"),
        raw("exp-2-64", "exp: 2^64", Claim("exp"), "exp", "18446744073709551616"),
        raw("exp-30-digits", "exp of 30 digits", Claim("exp"), "exp", "999999999999999999999999999999"),
        raw("exp-minus-zero", "exp: -0", Claim("exp"), "exp", "-0"),
        raw("exp-plus", "exp with a plus sign", Claims, "exp", "+1900000000"),
        raw("exp-leading-zero", "exp with a leading zero", Claims, "exp", "01900000000"),
        raw("exp-hexadecimal", "exp in hexadecimal", Claims, "exp", "0x713FB300"),
        raw("exp-exponent", "exp years ahead, with an exponent", LivesTooLong, "exp", "4.0e9"),
        raw("exp-year-10000", "exp in the year 10000", Claim("exp"), "exp", "253402300800"),
        good(SECTION, "exp-exponent-ok", "exp with an exponent", |forge| {
            let claims = with(forge.claims(), json!({"exp": null}));
            Ok(appended(forge, &claims, &format!(r#""exp":{}e0"#, forge.now() + 600)))
        }),
    ]
}

fn starts() -> Vec<Row> {
    use TokenError::{Claim, IssuedInFuture, NotYetValid};
    vec![
        refused("nbf-future", "not valid for another minute", NotYetValid, |now| json!({"nbf": now + 60})),
        refused("nbf-text", "nbf as text", Claim("nbf"), |now| json!({"nbf": now.to_string()})),
        refused("nbf-bool", "nbf: false", Claim("nbf"), |_| json!({"nbf": false})),
        refused("nbf-negative", "a negative nbf", Claim("nbf"), |_| json!({"nbf": -1})),
        refused("nbf-list", "nbf in a list", Claim("nbf"), |_| json!({"nbf": []})),
        raw_admitted("nbf-null", "nbf: null, which is no nbf", "nbf"),
        refused("iat-future", "issued in a minute", IssuedInFuture, |now| json!({"iat": now + 60})),
        refused("iat-text", "iat as text", Claim("iat"), |now| json!({"iat": now.to_string()})),
        refused("iat-bool", "iat: true", Claim("iat"), |_| json!({"iat": true})),
        refused("iat-negative", "a negative iat", Claim("iat"), |_| json!({"iat": -1})),
        refused("iat-huge", "iat: 1e300", Claim("iat"), |_| json!({"iat": 1e300})),
        raw("iat-null", "iat: null", TokenError::NoIssueTime("iat"), "iat", "null"),
        admitted("nbf-skew", "not valid for another two seconds, within the skew", |now| json!({"nbf": now + 2})),
        admitted("nbf-zero", "nbf: 0", |_| json!({"nbf": 0})),
        refused("iat-missing", "no iat", TokenError::NoIssueTime("iat"), |_| json!({"iat": null})),
        admitted("iat-skew", "issued in two seconds, within the skew", |now| json!({"iat": now + 2})),
    ]
}

fn duplicates() -> Vec<Row> {
    use TokenError::Claims;
    vec![
        member("jti-twice", "jti twice", Claims, r#""jti":"another""#),
        member("jti-twice-escaped", "jti twice, once in escapes", Claims, r#""\u006ati":"another""#),
        member("exp-twice", "exp twice, the later one far ahead", Claims, r#""exp":9999999999"#),
        member("sub-twice", "sub twice", Claims, r#""sub":"root""#),
        member("sub-twice-escaped", "sub twice, once in escapes", Claims, r#""s\u0075b":"root""#),
        member("iss-twice", "iss twice", Claims, r#""iss":"https://evil.example""#),
        member("member-twice-inside", "a member twice, further inside", Claims, r#""x":[{"a":1,"a":1}]"#),
        member("empty-name-twice", "an empty name twice", Claims, r#""":1,"":2"#),
    ]
}

fn shapes() -> Vec<Row> {
    use TokenError::{Claims, Issuer};
    let mut rows = vec![
        payload("list", "claims in a list", Claims, |claims| format!("[{claims}]").into_bytes()),
        payload("text", "a text for claims", Claims, |_| b"\"sub\"".to_vec()),
        payload("number", "a number for claims", Claims, |_| b"1".to_vec()),
        payload("null", "null for claims", Claims, |_| b"null".to_vec()),
        payload("no-claims", "no claims at all", Issuer, |_| b"{}".to_vec()),
        payload("trailing", "something behind the claims", Claims, |claims| format!("{claims}x").into_bytes()),
        payload("two-objects", "two objects of claims", Claims, |claims| format!("{claims}{claims}").into_bytes()),
        payload("nul-behind", "a NUL behind the claims", Claims, |claims| format!("{claims}\0").into_bytes()),
        payload("leading-space", "a space before the claims", Claims, |claims| format!(" {claims}").into_bytes()),
        payload("byte-order-mark", "a byte order mark before the claims", Claims, |claims| {
            format!("\u{feff}{claims}").into_bytes()
        }),
        payload("truncated", "claims that break off", Claims, |mut claims| {
            claims.pop();
            claims.into_bytes()
        }),
        payload("utf16", "claims in UTF-16", Claims, |claims| {
            claims.encode_utf16().flat_map(u16::to_be_bytes).collect()
        }),
        payload("not-utf8", "claims that are not UTF-8", Claims, |claims| {
            claims.replace("\"aud\"", "\"x\u{0}\",\"aud\"").bytes().map(|b| if b == 0 { 0xff } else { b }).collect()
        }),
        payload("invalid-utf8", "a member that is not UTF-8", Claims, |claims| {
            [&b"{\"x\":\"\xc0\xae\","[..], claims.as_bytes().get(1..).unwrap_or_default()].concat()
        }),
        member("surrogate", "half a surrogate pair in the claims", Claims, r#""x":"\udfff""#),
        member("unknown-nan", "NaN in an unknown claim", Claims, r#""x":NaN"#),
        member("unknown-overflow", "1e400 in an unknown claim", Claims, r#""x":-1e400"#),
        member("raw-line-feed", "a raw line feed in a text", Claims, "\"x\":\"a\nb\""),
        member("comment", "a comment in the claims", Claims, r#""x":1/**/"#),
        member("nested", "claims nested 33 levels deep", Claims, NESTED_33),
    ];
    rows.push(good(SECTION, "nested-ok", "claims nested 32 levels deep", |forge| {
        let text = format!(r#""x":{}{}"#, "[".repeat(31), "]".repeat(31));
        Ok(appended(forge, &forge.claims(), &text))
    }));
    rows.push(good(SECTION, "surrogates", "a whole surrogate pair", |forge| {
        Ok(appended(forge, &forge.claims(), r#""x":"\ud83d\ude00""#))
    }));
    rows
}

const NESTED_33: &str = r#""x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"#;

fn issuers() -> Vec<Row> {
    use TokenError::{Claim, Issuer, Signature};
    vec![
        refused("iss-other", "an issuer that nobody trusts", Issuer, |_| json!({"iss": "https://evil.example"})),
        refused("iss-missing", "no issuer", Issuer, |_| json!({"iss": null})),
        refused("iss-empty", "an empty issuer", Issuer, |_| json!({"iss": ""})),
        refused(
            "iss-slash",
            "the issuer with a slash behind it",
            Issuer,
            |_| json!({"iss": "https://issuer.example/"}),
        ),
        refused("iss-case", "the issuer in capitals", Issuer, |_| json!({"iss": "HTTPS://ISSUER.EXAMPLE"})),
        refused("iss-longer", "an issuer that begins alike", Issuer, |_| json!({"iss": "https://issuer.example.evil"})),
        refused("iss-nul", "the issuer with a NUL", Issuer, |_| json!({"iss": "https://issuer.example\0"})),
        refused("iss-list", "the issuer in a list", Claim("iss"), |_| json!({"iss": ["https://issuer.example"]})),
        refused("iss-number", "a number for an issuer", Claim("iss"), |_| json!({"iss": 7})),
        raw("iss-null", "null for an issuer", Issuer, "iss", "null"),
        refused(
            "iss-crossed",
            "another trusted issuer's name, this one's key",
            Signature,
            |_| json!({"iss": "https://other.example"}),
        ),
        bad(SECTION, "iss-crossed-back", "this issuer's name, another trusted one's key", Signature, |forge| {
            Ok(forge.by_other_issuer(&forge.claims()).into_bytes())
        }),
    ]
}

fn audiences() -> Vec<Row> {
    use TokenError::{Audience, Claim};
    vec![
        refused("aud-missing", "no audience", Audience, |_| json!({"aud": null})),
        refused("aud-other", "another audience", Audience, |_| json!({"aud": "bank"})),
        refused("aud-case", "the audience in capitals", Audience, |_| json!({"aud": "SHOP"})),
        refused("aud-longer", "an audience that begins alike", Audience, |_| json!({"aud": "shopping"})),
        refused("aud-shorter", "the audience's beginning", Audience, |_| json!({"aud": "sho"})),
        refused("aud-space", "a space behind the audience", Audience, |_| json!({"aud": "shop "})),
        refused("aud-slash", "a slash behind the audience", Audience, |_| json!({"aud": "shop/"})),
        refused("aud-url", "the audience as a URL", Audience, |_| json!({"aud": "https://shop/"})),
        refused("aud-empty", "an empty audience", Audience, |_| json!({"aud": ""})),
        refused("aud-empty-list", "an empty list of audiences", Audience, |_| json!({"aud": []})),
        refused("aud-others", "a list of other audiences", Audience, |_| json!({"aud": ["bank", "shopping"]})),
        refused("aud-mixed", "a list with a number in it", Claim("aud"), |_| json!({"aud": ["shop", 7]})),
        refused("aud-number", "a number for an audience", Claim("aud"), |_| json!({"aud": 7})),
        refused("aud-object", "an object for an audience", Claim("aud"), |_| json!({"aud": {"shop": true}})),
        raw("aud-null", "null for an audience", Audience, "aud", "null"),
        admitted("aud-list", "the audience among others", |_| json!({"aud": ["bank", "shop"]})),
    ]
}

/// The first issuer signs refresh tokens with the key of its access tokens; `token_type` is all that differs. The other
/// issuer's tokens must name a user.
fn kinds() -> Vec<Row> {
    use TokenError::{NoUser, RequiredClaim};
    vec![
        refused("kind-refresh", "a refresh token", RequiredClaim, |_| json!({"token_type": "refresh"})),
        refused("kind-case", "an access token in capitals", RequiredClaim, |_| json!({"token_type": "ACCESS"})),
        refused("kind-list", "a refresh token in a list", RequiredClaim, |_| json!({"token_type": ["refresh"]})),
        refused("kind-object", "an object for the kind", RequiredClaim, |_| json!({"token_type": {"access": 1}})),
        member("kind-twice", "a kind twice", TokenError::Claims, r#""token_type":"access","token_type":"refresh""#),
        admitted("kind-access", "an access token", |_| json!({"token_type": "access"})),
        admitted("kind-both", "a token of both kinds, by its issuer", |_| json!({"token_type": ["refresh", "access"]})),
        bad(SECTION, "no-user", "a token that names no user, of an issuer whose tokens must", NoUser, |forge| {
            Ok(forge.by_other_issuer(&with(forge.other_claims(), json!({"sub": null}))).into_bytes())
        }),
    ]
}

fn identifiers() -> Vec<Row> {
    use TokenError::Claim;
    vec![
        refused("jti-empty", "an empty jti", Claim("jti"), |_| json!({"jti": ""})),
        refused("jti-long", "a jti of 257 bytes", Claim("jti"), |_| json!({"jti": "j".repeat(257)})),
        refused("jti-nul", "a jti with a NUL", Claim("jti"), |_| json!({"jti": "a\0b"})),
        refused("jti-crlf", "a jti with a line break", Claim("jti"), |_| json!({"jti": "a\r\nx-role: admin"})),
        refused("jti-bool", "jti: true", Claim("jti"), |_| json!({"jti": true})),
        refused("jti-float", "jti: 1.5", Claim("jti"), |_| json!({"jti": 1.5})),
        refused("jti-list", "jti in a list", Claim("jti"), |_| json!({"jti": ["a"]})),
        refused("jti-object", "jti in an object", Claim("jti"), |_| json!({"jti": {}})),
        raw_admitted("jti-null", "jti: null, which is no jti", "jti"),
        refused("sid-empty", "an empty sid", Claim("sid"), |_| json!({"sid": ""})),
        refused("sid-long", "a sid of 257 bytes", Claim("sid"), |_| json!({"sid": "s".repeat(257)})),
        refused("sid-nul", "a sid with a NUL", Claim("sid"), |_| json!({"sid": "\0"})),
        refused("sid-object", "sid in an object", Claim("sid"), |_| json!({"sid": {"a": 1}})),
        raw_admitted("sid-null", "sid: null, which is no sid", "sid"),
        admitted("jti-missing", "no jti", |now| json!({"jti": null, "x": format!("{now}-no-jti")})),
        admitted("sid-256", "a sid of 256 bytes", |_| json!({"sid": "s".repeat(256)})),
        admitted("sid-number", "an integer for a sid", |_| json!({"sid": 7})),
    ]
}

fn users() -> Vec<Row> {
    use TokenError::Claim;
    vec![
        refused("sub-empty", "an empty sub", Claim("user"), |_| json!({"sub": ""})),
        refused("sub-long", "a sub of 257 bytes", Claim("user"), |_| json!({"sub": "u".repeat(257)})),
        refused("sub-nul", "a sub with a NUL", Claim("user"), |_| json!({"sub": "root\0"})),
        refused("sub-crlf", "a sub with a line break", Claim("user"), |_| json!({"sub": "a\r\nx-role: admin"})),
        refused("sub-c1", "a sub with a C1 control", Claim("user"), |_| json!({"sub": "a\u{85}b"})),
        refused("sub-delete", "a sub with DEL", Claim("user"), |_| json!({"sub": "a\u{7f}"})),
        refused("sub-bool", "sub: true", Claim("user"), |_| json!({"sub": true})),
        refused("sub-float", "sub: 1.5", Claim("user"), |_| json!({"sub": 1.5})),
        refused("sub-list", "sub in a list", Claim("user"), |_| json!({"sub": ["alice"]})),
        refused("sub-object", "sub in an object", Claim("user"), |_| json!({"sub": {"id": "alice"}})),
        raw_admitted("sub-null", "sub: null, which names no user", "sub").behind_envoy(Expected::Nameless, NAMELESS),
        raw("sub-2-64", "sub: 2^64, which no integer type holds", Claim("user"), "sub", "18446744073709551616"),
        raw("sub-exponent", "sub: 4e2", Claim("user"), "sub", "4e2"),
        raw("sub-minus-zero", "sub: -0", Claim("user"), "sub", "-0"),
        admitted("sub-number", "an integer for a sub", |_| json!({"sub": 9_007_199_254_740_993_i64})),
        admitted("sub-256", "a sub of 256 bytes", |_| json!({"sub": "u".repeat(256)})),
    ]
}
