//! Any bytes as the claims of a well-signed token, so that the checks after the signature are reached.
//!
//! Signed claims may still contain a user's text. Accepted claims must mean one thing: to a reader that takes the first
//! of two members and to one that takes the last, in the revocation keys, and in the headers that the upstream gets.

use anyhow::{Context as _, Result, ensure};
use curfew_core::{Keyspace, ProvenToken, RevocationKey, TokenError};
use curfew_filter::claim_path::ClaimPath;
use curfew_filter::identity::{self, Carried, IdentityHeader};

use super::fixed::{Fixed, NOW, Rules, fixed};
use super::json::Tree;
use super::token::no_second_spelling;
use super::{Outcome, respelling};
use crate::attacks::{ISSUER, OTHER_ISSUER, OTHER_SECRET};
use crate::tokens::hs256_bytes;

/// "accepted" by each of the policies, and the rules about claims.
pub(super) const REACHES: [Outcome; 13] = [
    "accepted",
    "accepted leniently",
    "claims",
    "claim",
    "issuer",
    "audience",
    "required_claim",
    "no_user",
    "no_issue_time",
    "expired",
    "not_yet_valid",
    "issued_in_future",
    "lives_too_long",
];

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Judges a payload under both policies.
///
/// # Errors
/// The property that it breaks.
pub fn check(payload: &[u8]) -> Result<Outcome> {
    let fixed = fixed()?;
    let token = sign(fixed, payload);
    let strict = Reading { rules: &fixed.strict, user: "sub", cutoff: "iat", skew: 5, longest: 30 * 86_400 };
    let lenient = Reading { rules: &fixed.lenient, user: "uid", cutoff: "auth_time", skew: 0, longest: 3600 };
    let by_strict = strict.judge(&token, payload)?;
    let by_lenient = lenient.judge(&fixed.forge().hs256(HEADER, payload), payload)?;
    Ok(match (by_strict, by_lenient) {
        (None, _) => "accepted",
        (Some(TokenError::Issuer), None) => "accepted leniently",
        (Some(error), _) => error.reason(),
    })
}

/// Signed by the issuer that the payload names, or by the first one.
fn sign(fixed: &Fixed, payload: &[u8]) -> String {
    let other = payload.windows(OTHER_ISSUER.len()).any(|window| window == OTHER_ISSUER.as_bytes());
    if other { hs256_bytes(OTHER_SECRET, HEADER, payload) } else { fixed.forge().hs256(HEADER, payload) }
}

/// A policy, and the facts about it that the second reader needs.
struct Reading<'a> {
    rules: &'a Rules,
    user: &'static str,
    cutoff: &'static str,
    skew: i64,
    longest: i64,
}

impl Reading<'_> {
    /// The rule that the token breaks, if it breaks one.
    fn judge(&self, text: &str, payload: &[u8]) -> Result<Option<TokenError>> {
        let token = match self.rules.prove(text.as_bytes()) {
            Ok(token) => token,
            Err(error) => return Ok(Some(error)),
        };
        let tree = Tree::read(payload).context("accepted, and no JSON")?;
        ensure!(!tree.names_twice(), "accepted with a member twice");
        self.identifiers(&tree, &token)?;
        self.kind(&tree, &token)?;
        self.times(&tree, &token)?;
        self.headers(&tree, &token)?;
        self.stays_the_same(payload, &token)?;
        no_second_spelling(self.rules, text.as_bytes(), &token)?;
        Ok(None)
    }

    /// The keys are made from the signed values, by the documented rule.
    fn identifiers(&self, tree: &Tree, token: &ProvenToken) -> Result<()> {
        let named = |name: &str| -> Result<Option<String>> {
            let (first, last) = tree.first_and_last(name);
            ensure!(first == last, "{name} has two readings");
            let text = first
                .filter(|claim| !matches!(claim, Tree::Null))
                .map(|claim| claim.identifier().with_context(|| format!("{name} identifies nothing")));
            text.transpose()
        };
        for name in [self.user, "sid", "jti"] {
            if let Some(text) = named(name)? {
                ensure!((1..=256).contains(&text.len()), "{name} has {} bytes", text.len());
                ensure!(!text.chars().any(char::is_control), "{name} has a control character");
            }
        }
        let (user, session, jti) = (named(self.user)?, named("sid")?, named("jti")?);
        ensure!(token.user == user && token.session_id == session, "other identifiers than the second reader's");
        let key = |kind: &str, text: Option<String>| text.map(|text| key(kind, &[&token.issuer, &text]));
        let keys = [key("jti", jti), key("session", session), key("subject", user)];
        ensure!(keys == [token.keys.jti, token.keys.session, token.keys.subject], "other keys than the documented");
        ensure!(self.rules.policy.knows(token.keyspace), "a keyspace that the policy does not know");
        ensure!(token.keyspace != Keyspace::from_bytes([0; 16]), "a keyspace of zeros");
        Ok(())
    }

    /// It is no refresh token of the first issuer, and no token without a user of the other one.
    fn kind(&self, tree: &Tree, token: &ProvenToken) -> Result<()> {
        ensure!(token.issuer != OTHER_ISSUER || token.user.is_some(), "accepted without a user");
        let texts: Vec<&Tree> = match tree.first_and_last("token_type").0 {
            None | Some(Tree::Null) => return Ok(()),
            Some(Tree::List(members)) => members.iter().collect(),
            Some(claim) => vec![claim],
        };
        let access = texts.into_iter().filter_map(Tree::identifier).any(|text| text == "access");
        ensure!(access || token.issuer != ISSUER, "accepted as an access token: {tree:?}");
        Ok(())
    }

    /// The dates are those of the claims; the token is in time now, and not after its expiry.
    fn times(&self, tree: &Tree, token: &ProvenToken) -> Result<()> {
        let date = |name| tree.first_and_last(name).0.and_then(Tree::whole);
        #[expect(clippy::cast_precision_loss, reason = "dates that are accepted have twelve digits at most")]
        let same = |read: Option<i64>, name| read.map(|read| read as f64) == date(name);
        let times = token.times;
        ensure!(same(times.issued_at, "iat") && same(times.not_before, "nbf"), "other dates: {times:?}");
        ensure!(same(times.cutoff_time, self.cutoff), "another cutoff time: {times:?}");
        ensure!(same(Some(times.expires_at), "exp") || date("exp").is_none(), "another exp: {times:?}");
        ensure!(times.expires_at + self.skew > NOW, "accepted, and expired: {times:?}");
        let begins = [times.issued_at, times.cutoff_time, times.not_before];
        ensure!(begins.iter().flatten().all(|begin| *begin <= NOW + self.skew), "accepted too early: {times:?}");
        let lives = |from: i64| times.expires_at - from <= self.longest + self.skew;
        ensure!(lives(NOW) && times.issued_at.is_none_or(lives), "lives too long: {times:?}");
        let later = self.rules.policy.check_times(&times, times.expires_at + self.skew);
        ensure!(later == Err(TokenError::Expired), "it does not expire: {later:?}");
        for moment in [i64::MIN, -1, 0, i64::MAX] {
            ensure!(self.rules.policy.check_times(&times, moment).is_err(), "good at {moment}: {times:?}");
        }
        Ok(())
    }

    /// The identity headers would carry the claim's text, as the value of exactly one header.
    fn headers(&self, tree: &Tree, token: &ProvenToken) -> Result<()> {
        let headers = ["sub", "uid", "name", "email", "admin"];
        for claim in headers {
            let carried = Carried::Text(ClaimPath::Named(claim.to_owned()));
            let header = IdentityHeader { name: format!("x-{claim}").into(), carried };
            let Ok(values) = identity::values(&[header], "sub", token, b"") else { continue };
            let Some(Some(value)) = values.first() else { continue };
            let claim = tree.first_and_last(claim).1;
            let same = match claim {
                Some(Tree::Bool(own)) => own.to_string() == **value,
                own => own.and_then(Tree::identifier).as_deref() == Some(&**value),
            };
            ensure!(same, "a header says {value:?} for {claim:?}");
            ensure!(value.trim() == &**value && !value.is_empty(), "a header with spaces around {value:?}");
            ensure!(value.bytes().all(|byte| byte >= 0x20 && byte != 0x7f), "a header is split by {value:?}");
        }
        Ok(())
    }

    /// The same claims, written again or under another header, are revoked by the same keys.
    fn stays_the_same(&self, payload: &[u8], token: &ProvenToken) -> Result<()> {
        let fixed = fixed()?;
        if token.issuer == OTHER_ISSUER {
            return Ok(());
        }
        let claims: serde_json::Value = serde_json::from_slice(payload)?;
        let rewritten = claims.to_string();
        for payload in [payload, rewritten.as_bytes()] {
            for text in respelling::signed_anew(&fixed.forge(), payload) {
                let again = self.rules.prove(text.as_bytes());
                // The numbers may have had a longer spelling.
                if again.as_ref().err() == Some(&TokenError::TooLong) {
                    continue;
                }
                let again = again.with_context(|| format!("refused when written anew: {}", payload.escape_ascii()))?;
                let keys = |token: &ProvenToken| (token.keys.jti, token.keys.session, token.keys.subject);
                ensure!(keys(&again) == keys(token), "other keys when written anew: {}", payload.escape_ascii());
            }
        }
        Ok(())
    }
}

/// The documented key: a label, then each part behind its length, hashed.
fn key(kind: &str, parts: &[&str]) -> RevocationKey {
    let mut bytes = format!("curfew:v1:{kind}").into_bytes();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    let mut key = [0; 16];
    key.iter_mut().zip(hmac_sha256::Hash::hash(&bytes)).for_each(|(to, from)| *to = from);
    RevocationKey::from_bytes(key)
}
