//! The form of a token: three parts of canonical base64url, two dots, nothing else.

use anyhow::{Context as _, Result};
use curfew_core::{DEFAULT_MAX_TOKEN_BYTES, TokenError};
use serde_json::json;

use super::{BARE_CR, Expected, Forge, NO_FIELD_VALUE, Row, bad, good};
use crate::tokens::{base64, respelled_base64, with};

const SECTION: &str = "framing";

/// The three parts of a good token.
fn parts(forge: &Forge<'_>) -> Result<[String; 3]> {
    let good = forge.good();
    let (input, signature) = good.rsplit_once('.').context("a dot")?;
    let (header, payload) = input.split_once('.').context("a dot")?;
    Ok([header, payload, signature].map(str::to_owned))
}

/// A row whose text is made from the three parts of a good token.
fn text(id: &str, asks: &str, rule: TokenError, make: fn(&str, &str, &str) -> String) -> Row {
    bad(SECTION, id, asks, rule, move |forge| {
        let [header, payload, signature] = parts(forge)?;
        Ok(make(&header, &payload, &signature).into_bytes())
    })
}

/// A token over exactly these two parts, well signed, so that only their spelling can be wrong.
fn spelled(id: &str, asks: &str, rule: TokenError, make: fn(String, String) -> (String, String)) -> Row {
    bad(SECTION, id, asks, rule, move |forge| {
        // One more space makes the base64 of both parts end in unused bits, and leaves room for padding.
        let header = base64(br#"{ "alg":"HS256"}"#);
        let payload = with(forge.claims(), json!({"x": "???>>>~~~"})).to_string();
        let slack = " ".repeat((4 - payload.len() % 3) % 3);
        let payload = base64(payload.replacen('{', &format!("{{{slack}"), 1).as_bytes());
        let (header, payload) = make(header, payload);
        Ok(forge.hs256_input(&format!("{header}.{payload}")).into_bytes())
    })
}

fn padded(mut part: String) -> String {
    while !part.len().is_multiple_of(4) {
        part.push('=');
    }
    part
}

fn standard(text: &str) -> String {
    text.replace('-', "+").replace('_', "/")
}

pub(super) fn rows() -> Vec<Row> {
    [dots(), alphabets(), sizes()].into_iter().flatten().collect()
}

fn dots() -> Vec<Row> {
    use TokenError::NotCompact;
    vec![
        text("words", "words that are no token", NotCompact, |_, _, _| "not-a-token".into()),
        text("one-part", "the header alone", NotCompact, |h, _, _| h.into()),
        text("two-parts", "no signature part", NotCompact, |h, p, _| format!("{h}.{p}")),
        text("no-signature", "an empty signature", NotCompact, |h, p, _| format!("{h}.{p}.")),
        text("no-payload", "an empty payload", NotCompact, |h, _, s| format!("{h}..{s}")),
        text("no-header", "an empty header", NotCompact, |_, p, s| format!(".{p}.{s}")),
        text("only-dots", "two dots and nothing else", NotCompact, |_, _, _| "..".into()),
        text("leading-dot", "a dot before it", NotCompact, |h, p, s| format!(".{h}.{p}.{s}")),
        text("trailing-dot", "a dot behind it", NotCompact, |h, p, s| format!("{h}.{p}.{s}.")),
        text("doubled-dot", "two dots before the signature", NotCompact, |h, p, s| format!("{h}.{p}..{s}")),
        text("doubled-first-dot", "two dots before the payload", NotCompact, |h, p, s| format!("{h}..{p}.{s}")),
        text("four-parts", "a fourth part", NotCompact, |h, p, s| format!("{h}.{p}.{s}.x")),
        text("five-parts", "five parts, as a JWE has", NotCompact, |h, p, s| format!("{h}.{p}.{s}.{p}.{s}")),
        text("dots-alone-apart", "dots around each part", NotCompact, |h, p, s| format!(".{h}..{p}..{s}.")),
        text("twice", "the token twice", NotCompact, |h, p, s| format!("{h}.{p}.{s}.{h}.{p}.{s}")),
        text("glued", "the token twice without a dot between", NotCompact, |h, p, s| format!("{h}.{p}.{s}{h}.{p}.{s}")),
        text("json", "the flattened JSON serialisation", NotCompact, |h, p, s| {
            json!({"protected": h, "payload": p, "signature": s}).to_string()
        }),
        text("general-json", "the general JSON serialisation", NotCompact, |h, p, s| {
            json!({"payload": p, "signatures": [{"protected": h, "signature": s}]}).to_string()
        }),
    ]
}

fn alphabets() -> Vec<Row> {
    use TokenError::{Encoding, NotCompact};
    vec![
        text("padding", "= behind the signature", NotCompact, |h, p, s| format!("{h}.{p}.{s}=")),
        text("padding-twice", "== behind the signature", NotCompact, |h, p, s| format!("{h}.{p}.{s}==")),
        text("padding-escaped", "%3D behind the signature", NotCompact, |h, p, s| format!("{h}.{p}.{s}%3D")),
        spelled("padded-header", "a header with = padding, signed so", NotCompact, |h, p| (padded(h), p)),
        spelled("padded-payload", "a payload with = padding, signed so", NotCompact, |h, p| (h, padded(p))),
        spelled("standard-payload", "a payload in the standard alphabet, signed so", NotCompact, |h, p| {
            (h, standard(&p))
        }),
        bad(SECTION, "standard-signature", "the signature in the standard alphabet", NotCompact, |forge| {
            let special = |token: &String| token.rsplit('.').next().is_some_and(|part| part.contains(['-', '_']));
            let token = (0..1000).map(|_| forge.good()).find(special).context("a signature with - or _")?;
            let (input, signature) = token.rsplit_once('.').context("a dot")?;
            Ok(format!("{input}.{}", standard(signature)).into_bytes())
        }),
        text("unused-bits", "unused bits set in the signature", Encoding, |h, p, s| {
            respelled_base64(&format!("{h}.{p}.{s}"))
        }),
        spelled("unused-bits-header", "unused bits set in the header, signed so", Encoding, |h, p| {
            (respelled_base64(&h), p)
        }),
        spelled("unused-bits-payload", "unused bits set in the payload, signed so", Encoding, |h, p| {
            (h, respelled_base64(&p))
        }),
        text("impossible-length", "a signature of 45 characters", Encoding, |h, p, s| format!("{h}.{p}.{s}AA")),
        text("one-character", "a signature of one character", Encoding, |h, p, _| format!("{h}.{p}.A")),
        text("space", "a space inside", NotCompact, |h, p, s| format!("{h}. {p}.{s}")),
        text("tab", "a tab inside", NotCompact, |h, p, s| format!("{h}.\t{p}.{s}")),
        text("nul", "a NUL inside", NotCompact, |h, p, s| format!("{h}.{p}\0.{s}"))
            .behind_envoy(Expected::NotHttp, NO_FIELD_VALUE),
        text("line-feed", "a line feed inside", NotCompact, |h, p, s| format!("{h}.{p}\n.{s}"))
            .behind_envoy(Expected::NotHttp, NO_FIELD_VALUE),
        text("carriage-return", "a carriage return inside", NotCompact, |h, p, s| format!("{h}.{p}\r.{s}"))
            .behind_envoy(Expected::Admitted, BARE_CR),
        text("quoted", "the token in quotes", NotCompact, |h, p, s| format!("\"{h}.{p}.{s}\"")),
        text("semicolon", "a parameter behind it", NotCompact, |h, p, s| format!("{h}.{p}.{s};x=1")),
        text("wide-dot", "full-width dots (U+FF0E)", NotCompact, |h, p, s| format!("{h}\u{ff0e}{p}\u{ff0e}{s}")),
        text("zero-width", "a zero-width space inside", NotCompact, |h, p, s| format!("{h}.{p}\u{200b}.{s}")),
        bad(SECTION, "high-byte", "a byte that is not UTF-8 behind it", NotCompact, |forge| {
            Ok([forge.good().as_bytes(), b"\xff"].concat())
        }),
        text("escaped-dots", "%2E for the dots", NotCompact, |h, p, s| format!("{h}%2E{p}%2E{s}")),
    ]
}

fn sizes() -> Vec<Row> {
    use TokenError::TooLong;
    let sized = |forge: &Forge<'_>, length: usize| {
        forge.hs256(r#"{"alg":"HS256"}"#, with(forge.claims(), json!({"x": "x".repeat(length)})).to_string())
    };
    vec![
        bad(SECTION, "17-kib", "a good token of over 16 KiB", TooLong, move |forge| {
            Ok(sized(forge, 13_000).into_bytes())
        }),
        good(SECTION, "16-kib", "a good token of just under 16 KiB", move |forge| {
            let longest = (11_500..13_000).rev().map(|length| sized(forge, length));
            let mut fitting = longest.filter(|token| token.len() <= DEFAULT_MAX_TOKEN_BYTES);
            Ok(fitting.next().context("a token that fits")?.into_bytes())
        }),
        bad(SECTION, "55-kb", "55,000 characters", TooLong, |_| Ok(vec![b'A'; 55_000])),
        bad(SECTION, "10000-dots", "10,000 dots", TokenError::NotCompact, |_| Ok(vec![b'.'; 10_000])),
    ]
}
