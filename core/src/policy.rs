//! Which tokens are accepted: the one path from a token's text to a [`ProvenToken`], and the rules of time.
//!
//! A policy holds rules alone. The keys are in the [`KeySets`], one set for each issuer of the policy, in its order.

use std::time::Duration;

use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::claims::{self, ProvenToken, Times, UnprovenToken};
use crate::document::{Fields, Mistake, Mistakes};
use crate::issuer::{Issuer, read_clock_skew, seconds};
use crate::key_set::{IssuerKey, KeySet, KeySets};
use crate::signature::SignatureCheck;
use crate::signer_key::{Unproven, check_signature};
use crate::token::{DEFAULT_MAX_TOKEN_BYTES, MAX_TOKEN_BYTES, MIN_MAX_TOKEN_BYTES, UnverifiedToken};
use crate::{Agreement, KeyRule, Keyspace, Kind, TokenError};

const DEFAULT_MAX_TOKEN_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// Ten years of 365.25 days, as the text form of durations counts them.
const MAX_MAX_TOKEN_TTL: Duration = Duration::from_secs(10 * 31_557_600);

/// The rules for accepting tokens, the same on both sides.
#[derive(Debug)]
pub struct Policy {
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) user_claim: String,
    pub(crate) cutoff_claim: CutoffClaim,
    pub(crate) token_types: Vec<String>,
    pub(crate) allow_missing_exp: bool,
    clock_skew: i64,
    pub(crate) max_token_ttl: i64,
    pub(crate) max_token_bytes: usize,
}

/// The claim that is compared with the cutoff of a subject revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutoffClaim {
    Iat,
    AuthTime,
}

impl CutoffClaim {
    const ALL: [(&'static str, Self); 2] = [("iat", Self::Iat), ("auth_time", Self::AuthTime)];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Iat => "iat",
            Self::AuthTime => "auth_time",
        }
    }
}

impl Policy {
    /// Reads a policy from a document of its own, and the keys that the document holds.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_document(document: &Value) -> Result<(Self, KeySets), Mistakes> {
        let mut mistakes = Mistakes::default();
        let read = Fields::read("", document, &mut mistakes, Self::read);
        read.filter(|_| mistakes.is_empty()).ok_or(mistakes)
    }

    /// Reads a policy and its keys from fields that stand among others. The result may be used only if no mistake was
    /// noted.
    pub fn read(fields: &mut Fields<'_, '_>) -> (Self, KeySets) {
        let (issuers, keys): (Vec<_>, Vec<_>) = read_issuers(fields).into_iter().unzip();
        let clock_skew = read_clock_skew(fields);
        let shortest = Duration::from_secs(1);
        let max_token_ttl = seconds(fields, "max_token_ttl", DEFAULT_MAX_TOKEN_TTL, shortest, MAX_MAX_TOKEN_TTL);
        let mut policy = Self {
            issuers,
            user_claim: fields.text("user_claim").unwrap_or("sub").to_owned(),
            cutoff_claim: fields.choice("issued_at_claim", &CutoffClaim::ALL).unwrap_or(CutoffClaim::Iat),
            token_types: fields.texts("token_types").unwrap_or_else(|| vec!["JWT".into(), "at+jwt".into()]),
            allow_missing_exp: fields.boolean("allow_missing_exp").unwrap_or(false),
            clock_skew,
            max_token_ttl,
            max_token_bytes: max_token_bytes(fields),
        };
        for issuer in &mut policy.issuers {
            issuer.clock_skew = issuer.own_clock_skew.unwrap_or(clock_skew);
        }
        policy.check_lifetimes(fields);
        let keyspaces: Vec<_> = policy.issuers.iter().map(|issuer| policy.keyspace(issuer.namespace())).collect();
        for (issuer, keyspace) in policy.issuers.iter_mut().zip(keyspaces) {
            issuer.keyspace = keyspace;
        }
        (policy, KeySets::new(keys))
    }

    /// Takes a token's text to a proven token: form, issuer, audience, claims and signature. `keys` holds one set for
    /// each issuer of this policy; an issuer whose set is empty proves nothing. `verify` checks one signature; it is
    /// called once for each key that fits, until one verifies. `now` is in seconds of Unix time.
    ///
    /// The signature comes last, because it is the expensive part: a token that breaks any other rule, such as an
    /// expired token that is replayed a million times, is refused cheaply. A proof may be cached: it stays true as long
    /// as the issuer has the key, and [`Self::check_times`] is asked again for each use.
    ///
    /// # Errors
    /// The first rule that the token breaks.
    pub fn prove(
        &self,
        text: &[u8],
        now: i64,
        keys: &KeySets,
        verify: impl FnMut(&SignatureCheck<'_>) -> bool,
    ) -> Result<ProvenToken, TokenError> {
        self.prove_with(text, now, keys, verify).map_err(|unproven| unproven.error)
    }

    /// The same, and where it fails, whether other keys of the issuer could make a difference.
    ///
    /// # Errors
    /// The first rule that the token breaks.
    pub fn prove_with(
        &self,
        text: &[u8],
        now: i64,
        keys: &KeySets,
        mut verify: impl FnMut(&SignatureCheck<'_>) -> bool,
    ) -> Result<ProvenToken, Unproven> {
        let token = UnverifiedToken::parse(text, self.max_token_bytes)?;
        self.check_type(token.header.typ.as_deref())?;
        let (place, issuer) = self.issuer_of(&token)?;
        claims::check_audience(&token.claims, &issuer.audiences)?;
        issuer.required_claims.check(&token.claims)?;
        let times = self.times(issuer, &token)?;
        let user = claims::user(&token.claims, &self.user_claim)?;
        if issuer.require_user && user.is_none() {
            return Err(TokenError::NoUser.into());
        }
        self.check_issue_time(issuer, &times, user.is_some(), now)?;
        let session_id = claims::session(&token.claims, &issuer.session_claim)?;
        let jti = claims::identifier(&token.claims, "jti")?;
        self.check_times(&times, now)?;
        let key = check_signature(issuer, keys.get(place), &token, &mut verify).map_err(|failure| Unproven {
            error: failure.error,
            newer_keys: (failure.newer_keys && issuer.keys_elsewhere).then_some(place),
            other_keys: (failure.other_keys && issuer.keys_elsewhere).then_some(place),
        })?;
        let namespace = issuer.namespace();
        let keys = claims::keys(token.signing_input, namespace, jti.as_deref(), session_id.as_deref(), user.as_deref());
        Ok(ProvenToken {
            keys,
            keyspace: issuer.keyspace,
            issuer: namespace.to_owned(),
            user,
            session_id,
            times,
            key: IssuerKey::new(place, key),
            claims: token.claims,
        })
    }

    /// Reads the claims of a token and proves nothing: neither the signature nor the audience is checked, and no time
    /// is compared with any clock. Only for tokens from the operator's own records, to revoke them; never to admit a
    /// request.
    ///
    /// # Errors
    /// The first rule of form that the token breaks, or [`TokenError::Issuer`].
    pub fn read_unproven(&self, text: &[u8]) -> Result<UnprovenToken, TokenError> {
        let token = UnverifiedToken::parse(text, self.max_token_bytes)?;
        let (_, issuer) = self.issuer_of(&token)?;
        let namespace = issuer.namespace();
        let times = self.times(issuer, &token)?;
        let user = claims::user(&token.claims, &self.user_claim)?;
        let session_id = claims::session(&token.claims, &issuer.session_claim)?;
        let jti = claims::identifier(&token.claims, "jti")?;
        let keys = claims::keys(token.signing_input, namespace, jti.as_deref(), session_id.as_deref(), user.as_deref());
        Ok(UnprovenToken { keys, issuer: namespace.to_owned(), user, session_id, times })
    }

    /// Checks that a token with these times is accepted at `now`, in seconds of Unix time.
    ///
    /// # Errors
    /// The first rule that the times break.
    pub fn check_times(&self, times: &Times, now: i64) -> Result<(), TokenError> {
        self.check_life(times, now)?;
        if times.expires_at.saturating_add(times.clock_skew) <= now {
            return Err(TokenError::Expired);
        }
        let latest = now.saturating_add(times.clock_skew);
        if times.not_before.is_some_and(|not_before| not_before > latest) {
            return Err(TokenError::NotYetValid);
        }
        // A token with a cutoff time in the future would escape every cutoff until then.
        if [times.issued_at, times.cutoff_time].iter().flatten().any(|start| *start > latest) {
            return Err(TokenError::IssuedInFuture);
        }
        Ok(())
    }

    /// Checks that a token with these times does not live too long, whether it is valid at `now` or not.
    ///
    /// A token that lives longer than `max_token_ttl` is refused: a logout of its user is kept only that long, and the
    /// token would be accepted again once the logout is forgotten. Its life ends at `exp`. It is counted from `now`,
    /// from `iat`, and from `auth_time` where cutoffs are compared with that. So the user of a session that is
    /// refreshed for longer than `max_token_ttl` must log in again.
    ///
    /// # Errors
    /// [`TokenError::LivesTooLong`].
    pub fn check_life(&self, times: &Times, now: i64) -> Result<(), TokenError> {
        let longest = self.max_token_ttl.saturating_add(times.clock_skew);
        let starts = [times.issued_at, times.cutoff_time, Some(now)];
        let too_long = starts.iter().flatten().any(|start| times.expires_at.saturating_sub(*start) > longest);
        if too_long { Err(TokenError::LivesTooLong) } else { Ok(()) }
    }

    /// The issuer namespaces, in the order of the configuration; "" stands for an issuer without a name.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(Issuer::namespace)
    }

    /// The keys in the document that are not used, each with its place and the reason. The document is accepted all the
    /// same; its operator should know.
    pub fn warnings(&self) -> impl Iterator<Item = &Mistake> {
        self.issuers.iter().flat_map(|issuer| &issuer.unused_keys)
    }

    /// True if the keys of the issuer at this place do not stand in the document. A filter gets them from the control
    /// plane.
    pub fn keys_elsewhere(&self, issuer: usize) -> bool {
        self.issuers.get(issuer).is_some_and(|issuer| issuer.keys_elsewhere)
    }

    /// The algorithms that tokens of the issuer at this place may have, as [`KeySet::read`] takes them.
    pub fn algorithms(&self, issuer: usize) -> &[Algorithm] {
        self.issuers.get(issuer).map_or(&[], |issuer| &issuer.algorithms)
    }

    /// Names the rule by which tokens of an issuer namespace become keys.
    pub fn keyspace(&self, issuer: &str) -> Keyspace {
        let named = self.issuers.iter().find(|known| known.namespace() == issuer);
        let skew = named.map_or(self.clock_skew, |issuer| issuer.clock_skew);
        let [ttl, skew] = [self.max_token_ttl, skew].map(|seconds| seconds.to_string());
        let missing_exp = self.allow_missing_exp.to_string();
        // A time that one side computes and the other does not would make cutoffs cover other tokens.
        let lifetime =
            named.and_then(|issuer| issuer.token_lifetime).map(|seconds| format!("token_lifetime={seconds}"));
        let session_claim = named.and_then(Issuer::own_session_claim).map(|claim| format!("session_claim={claim}"));
        let mut parts = vec![issuer, &self.user_claim, self.cutoff_claim.as_str(), &ttl, &skew, &missing_exp];
        parts.extend(lifetime.as_deref());
        parts.extend(session_claim.as_deref());
        Keyspace::new(&parts)
    }

    /// The parts of all keyspaces, in hashes; see [`Self::keyspace`].
    pub fn agreement(&self) -> Agreement {
        let values = [
            &*self.user_claim,
            self.cutoff_claim.as_str(),
            &self.max_token_ttl.to_string(),
            &self.clock_skew.to_string(),
            &self.allow_missing_exp.to_string(),
        ];
        Agreement::new(values, self.issuers.iter().map(Issuer::agreed))
    }

    /// The keyspaces of all issuers, in the order of the configuration.
    pub fn keyspaces(&self) -> impl Iterator<Item = Keyspace> {
        self.issuers.iter().map(|issuer| issuer.keyspace)
    }

    /// The rules for the keys of users and of sessions, for each issuer.
    pub fn key_rules(&self) -> impl Iterator<Item = KeyRule> {
        self.issuers.iter().flat_map(|issuer| {
            let subject = (Kind::Subject, &self.user_claim, self.cutoff_claim.as_str());
            let session = (Kind::Session, &issuer.session_claim, "");
            [subject, session].map(|(kind, claim, issued_at_claim)| KeyRule {
                issuer: issuer.namespace().to_owned(),
                kind,
                claim: claim.clone(),
                issued_at_claim: issued_at_claim.to_owned(),
            })
        })
    }

    /// The claim that names the sessions of an issuer namespace.
    pub fn session_claim(&self, issuer: &str) -> Option<&str> {
        let named = self.issuers.iter().find(|known| known.namespace() == issuer);
        named.map(|issuer| &*issuer.session_claim)
    }

    /// True if one of the issuers has this keyspace.
    pub fn knows(&self, keyspace: Keyspace) -> bool {
        self.keyspaces().any(|known| known == keyspace)
    }

    /// The claim that names the user.
    pub fn user_claim(&self) -> &str {
        &self.user_claim
    }

    /// How far clocks may differ, in seconds: the largest of all issuers. Revocations are kept for that much longer.
    pub fn clock_skew(&self) -> i64 {
        self.issuers.iter().map(|issuer| issuer.clock_skew).max().unwrap_or(self.clock_skew)
    }

    /// How long a token's text may be, in bytes.
    pub fn max_token_bytes(&self) -> usize {
        self.max_token_bytes
    }

    /// How long a token may live, in seconds.
    pub fn max_token_ttl(&self) -> i64 {
        self.max_token_ttl
    }

    /// RFC 8725 section 3.11, RFC 7515 section 4.1.9: media types compare without case, and `application/` may be left
    /// out. A token without a type counts as a plain JWT.
    fn check_type(&self, typ: Option<&str>) -> Result<(), TokenError> {
        let Some(typ) = typ else { return Ok(()) };
        let typ = typ.to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        let accepted = self.token_types.iter().any(|accepted| accepted.eq_ignore_ascii_case(typ));
        if accepted { Ok(()) } else { Err(TokenError::Type) }
    }

    /// The issuer that the token names, and its place among the issuers.
    fn issuer_of(&self, token: &UnverifiedToken<'_>) -> Result<(usize, &Issuer), TokenError> {
        let iss = match token.claims.get("iss") {
            None | Some(Value::Null) => None,
            Some(Value::String(iss)) => Some(iss.as_str()),
            Some(_) => return Err(TokenError::Claim("iss")),
        };
        let accepts = |issuer: &Issuer| issuer.name.is_none() || issuer.name.as_deref() == iss;
        let found = self.issuers.iter().enumerate().find(|(_, issuer)| accepts(issuer));
        found.ok_or(TokenError::Issuer)
    }

    /// Notes a lifetime that no token could have.
    fn check_lifetimes(&self, fields: &mut Fields<'_, '_>) {
        for (index, issuer) in self.issuers.iter().enumerate() {
            if issuer.token_lifetime.is_some_and(|lifetime| lifetime > self.max_token_ttl) {
                fields.wrong(&format!("issuers[{index}].token_lifetime"), "must not be longer than max_token_ttl");
            }
        }
    }

    /// Checks that the token says when it was issued, if a logout of all devices is to reach it.
    ///
    /// Without that time, every logout of all devices of the last `max_token_ttl` covers a token, also one of a later
    /// login, unless the token was registered after it. So such a token is refused from the start, where the issuer
    /// does not say otherwise, and not for weeks after the first logout. And a token that expires later than the
    /// issuer's `token_lifetime` allows would escape cutoffs: the time that is computed for it lies in the future.
    fn check_issue_time(&self, issuer: &Issuer, times: &Times, has_user: bool, now: i64) -> Result<(), TokenError> {
        if has_user && issuer.require_issued_at && times.cutoff_time.is_none() {
            return Err(TokenError::NoIssueTime(self.cutoff_claim.as_str()));
        }
        let computed = issuer.token_lifetime.map(|lifetime| times.expires_at.saturating_sub(lifetime));
        let in_future = computed.is_some_and(|computed| computed > now.saturating_add(times.clock_skew));
        if in_future && times.issued_at == computed { Err(TokenError::LivesTooLong) } else { Ok(()) }
    }

    fn times(&self, issuer: &Issuer, token: &UnverifiedToken<'_>) -> Result<Times, TokenError> {
        let date = |name: &'static str| claims::numeric_date(&token.claims, name, name);
        let computed =
            date("exp")?.zip(issuer.token_lifetime).map(|(exp, lifetime)| exp.saturating_sub(lifetime).max(0));
        let issued_at = date("iat")?.or(computed);
        let expires_at = match (date("exp")?, issued_at) {
            (Some(0), _) => return Err(TokenError::Claim("exp")),
            (Some(expires_at), _) => expires_at,
            (None, Some(issued_at)) if self.allow_missing_exp => issued_at.saturating_add(self.max_token_ttl),
            (None, _) => return Err(TokenError::Claim("exp")),
        };
        Ok(Times {
            issued_at,
            cutoff_time: match self.cutoff_claim {
                CutoffClaim::Iat => issued_at,
                CutoffClaim::AuthTime => date("auth_time")?,
            },
            not_before: date("nbf")?,
            expires_at,
            clock_skew: issuer.clock_skew,
        })
    }
}

/// The issuers and the keys of each.
fn read_issuers(fields: &mut Fields<'_, '_>) -> Vec<(Issuer, KeySet)> {
    let list = fields.list("issuers");
    let values = list.unwrap_or_default();
    if values.is_empty() && (list.is_some() || !fields.has("issuers")) {
        fields.wrong("issuers", "at least one issuer must be given");
    }
    let mut issuers: Vec<(Issuer, KeySet)> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let path = fields.at(&format!("issuers[{index}]"));
        let Some((issuer, keys)) = Issuer::read(path, value, fields.mistakes()) else {
            continue;
        };
        if issuer.name.is_none() && values.len() > 1 {
            let problem = "must be given where there is more than one issuer";
            fields.wrong(&format!("issuers[{index}].issuer"), problem);
        } else if issuers.iter().any(|(other, _)| other.name == issuer.name) {
            fields.wrong(&format!("issuers[{index}].issuer"), "is given twice");
        }
        issuers.push((issuer, keys));
    }
    issuers
}

fn max_token_bytes(fields: &mut Fields<'_, '_>) -> usize {
    let bytes = fields.whole_number("max_token_bytes").map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let bytes = bytes.unwrap_or(DEFAULT_MAX_TOKEN_BYTES);
    if !(MIN_MAX_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&bytes) {
        fields.wrong("max_token_bytes", format!("must be from {MIN_MAX_TOKEN_BYTES} to {MAX_TOKEN_BYTES}"));
    }
    bytes
}
