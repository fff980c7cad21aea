//! What the text in one row of the application's table is. Pure.

use std::borrow::Cow;

use curfew_core::{Policy, RevocationKey, from_authorization};

use crate::store::command::TokenRecord;

/// What a row's text is.
pub(super) enum Judged {
    /// Not a token that these settings accept, with the stable name of the reason.
    Unreadable(&'static str),
    /// A token that has expired by every clock, blocked or not.
    Expired(RevocationKey),
    /// A token that some clock may still show as unexpired.
    Living(TokenRecord),
}

/// Reads the token of a row. `now` is in seconds of Unix time; `rest` is the number of seconds after its end until a
/// token has expired by every clock. The signature is not checked: the table is the operator's own, and any writer of
/// the table can block any row of it.
///
/// A token that lives too long is accepted nowhere, and its revocation would be kept for as long as it lives. Without
/// this bound, rows that expire in the year 9999 would fill Curfew's database and the copy of every worker for ever.
pub(super) fn judge(policy: &Policy, rest: i64, text: Option<&str>, now: i64) -> Judged {
    let text = match text.map(str::trim) {
        None => return Judged::Unreadable("not_text"),
        Some("") => return Judged::Unreadable("empty"),
        Some(text) => text,
    };
    let text = with_any_signature(text);
    // Some applications store the whole value of the header.
    let Ok(token) = from_authorization(text.as_bytes()) else { return Judged::Unreadable("not_compact") };
    match policy.read_unproven(token) {
        Err(error) => Judged::Unreadable(error.reason()),
        Ok(token) if token.times.expires_at.saturating_add(rest) < now => Judged::Expired(token.keys.token),
        // The clock that is furthest behind must not make a token look as if it lived longer than it does.
        Ok(token) => match policy.check_life(&token.times, now.saturating_add(rest)) {
            Err(error) => Judged::Unreadable(error.reason()),
            Ok(()) => Judged::Living(token.into()),
        },
    }
}

/// The same token with a placeholder for its signature. A column that was too short may have cut the signature off. The
/// user holds the whole token, and the parts before the signature identify it.
fn with_any_signature(text: &str) -> Cow<'_, str> {
    match text.rsplit_once('.') {
        Some((signed, _)) if signed.contains('.') => Cow::Owned(format!("{signed}.AAAA")),
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const REST: i64 = 5 + 2 + 60;

    fn said(text: Option<&str>) -> String {
        let issuer = json!({"issuer": "https://issuer.example.com", "secret": "0".repeat(32)});
        let (policy, _) = Policy::from_document(&json!({"issuers": [issuer]})).unwrap();
        match judge(&policy, REST, text, NOW) {
            Judged::Unreadable(reason) => reason.to_owned(),
            Judged::Expired(token) => format!("expired {token}"),
            Judged::Living(token) => format!("{} of {:?}", token.keys.token, token.user),
        }
    }

    fn token(claims: &Value) -> String {
        let encode = |value: &Value| Base64UrlSafeNoPadding::encode_to_string(value.to_string()).unwrap();
        format!("{}.{}.AAAA", encode(&json!({"alg": "HS256"})), encode(claims))
    }

    fn claims(expires_at: i64) -> Value {
        json!({"iss": "https://issuer.example.com", "sub": 7, "iat": NOW - 10, "exp": expires_at})
    }

    #[test]
    fn a_token_is_known_by_what_was_signed_and_its_signature_is_not_checked() {
        let text = token(&claims(NOW));
        let id = RevocationKey::token(text.strip_suffix(".AAAA").unwrap().as_bytes());
        let expected = format!("{id} of Some(\"7\")");
        assert_eq!(said(Some(&text)), expected);
        assert_eq!(said(Some(&format!("Bearer {text}\n"))), expected);
        assert_eq!(said(Some(&text.replace(".AAAA", ".AQAB"))), expected);
        for cut in [".AAA", ".A", "."] {
            assert_eq!(said(Some(&text.replace(".AAAA", cut))), expected, "{cut}");
        }
        assert_eq!(said(Some(text.strip_suffix(".AAAA").unwrap())), "not_compact");
    }

    #[test]
    fn a_token_is_expired_when_its_revocation_could_be_forgotten() {
        assert!(!said(Some(&token(&claims(NOW - REST)))).starts_with("expired"));
        assert!(said(Some(&token(&claims(NOW - REST - 1)))).starts_with("expired"));
    }

    #[test]
    fn a_token_that_lives_too_long_is_not_taken_over() {
        const LONGEST: i64 = 30 * 24 * 3600 + 5;
        let timeless =
            |expires_at: i64| token(&json!({"iss": "https://issuer.example.com", "sub": 7, "exp": expires_at}));
        for accepted in [token(&claims(NOW - 10 + LONGEST)), timeless(NOW + REST + LONGEST)] {
            assert!(said(Some(&accepted)).ends_with("of Some(\"7\")"), "{accepted}");
        }
        let year_9999 = 253_402_300_799;
        for refused in [
            token(&claims(NOW - 10 + LONGEST + 1)),
            token(&claims(year_9999)),
            timeless(NOW + REST + LONGEST + 1),
            timeless(year_9999),
        ] {
            assert_eq!(said(Some(&refused)), "lives_too_long");
        }
    }

    #[test]
    fn a_text_that_is_not_an_accepted_token_has_a_reason() {
        let other = token(&json!({"iss": "https://other.example.com", "sub": 7, "exp": NOW}));
        let endless = token(&json!({"iss": "https://issuer.example.com", "sub": 7}));
        for (text, reason) in [
            (None, "not_text"),
            (Some(" "), "empty"),
            (Some("not a token"), "not_compact"),
            (Some("a.b.c"), "encoding"),
            (Some(other.as_str()), "issuer"),
            (Some(endless.as_str()), "claim"),
        ] {
            assert_eq!(said(text), reason, "{text:?}");
        }
    }
}
