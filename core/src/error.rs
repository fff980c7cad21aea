//! Why a token was not accepted.
//!
//! The public text says what a developer needs to correct the client, and no more. The reason is for metrics and logs.

use crate::problem::Denial;

/// The first rule that a token broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// Longer than `max_token_bytes`.
    #[error("The token is too long.")]
    TooLong,
    /// Not three non-empty parts of base64url characters with dots between them (RFC 7515 section 7.1).
    #[error("The credential is not a JWT in compact form.")]
    NotCompact,
    /// A part is not canonical base64url.
    #[error("The token is not canonical base64url.")]
    Encoding,
    /// The header is not one small strict JSON object.
    #[error("The token's header is malformed.")]
    Header,
    /// The header carries a member that changes what the token means, and that Curfew does not implement: `crit`, `b64`,
    /// `zip`, `enc`, or `cty: JWT` (RFC 7515 section 4.1.11, RFC 7797, RFC 7516, RFC 7519 section 5.2).
    #[error("The token's header carries a parameter that is not accepted here.")]
    HeaderParameter,
    /// `typ` is not in the allowed list (RFC 8725 section 3.11).
    #[error("The token is of a type that is not accepted here.")]
    Type,
    /// The payload is not one strict JSON object.
    #[error("The token's claims are malformed.")]
    Claims,
    /// A claim that Curfew reads has the wrong type or an impossible value, or is missing.
    #[error("The token has a claim with an unusable value: {0}.")]
    Claim(&'static str),
    /// No issuer with this `iss` is configured.
    #[error("The token's issuer is not accepted here.")]
    Issuer,
    /// `aud` names none of the issuer's audiences (RFC 7519 section 4.1.3).
    #[error("The token is meant for another audience.")]
    Audience,
    /// A claim of the issuer's `required_claims` is missing, or has another value.
    #[error("The token lacks a claim that is required here, or has another value in it.")]
    RequiredClaim,
    /// The token lacks the claim that names the user, and the issuer's `require_user` is on.
    #[error("The token names no user.")]
    NoUser,
    /// The token names a user and lacks the claim that cutoffs are compared with, which is named here.
    #[error(
        "The token does not say when it was issued ({0}), so no logout of all devices could tell it from later ones."
    )]
    NoIssueTime(&'static str),
    /// No key of the issuer has the header's `kid`, or the issuer has no keys yet.
    #[error("The token's key is not known here: no key of its issuer has its kid.")]
    UnknownKey,
    /// The issuer's tokens may not have the header's `alg`, or the key with its `kid` is of another.
    #[error("The token's algorithm (alg) is not accepted from its issuer, or is not that of its key.")]
    Algorithm,
    /// The header has no `kid`, and the issuer has several keys of its algorithm.
    #[error("The token does not name its key (kid), and its issuer has several.")]
    MissingKid,
    /// The signature does not verify.
    #[error("The token's signature does not verify.")]
    Signature,
    /// `exp` has come (RFC 7519 section 4.1.4).
    #[error("The token has expired.")]
    Expired,
    /// `nbf` has not come yet (RFC 7519 section 4.1.5).
    #[error("The token is not valid yet.")]
    NotYetValid,
    /// `iat` lies in the future.
    #[error("The token was issued in the future.")]
    IssuedInFuture,
    /// The token lives longer than `max_token_ttl`, so a logout of its user would be forgotten before it expires.
    #[error("The token lives longer than is accepted here.")]
    LivesTooLong,
}

impl TokenError {
    /// The denial that the client gets.
    pub const fn denial(self) -> Denial {
        match self {
            Self::Expired => Denial::Expired,
            _ => Denial::Invalid,
        }
    }

    /// A stable name for metrics and logs.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::NotCompact => "not_compact",
            Self::Encoding => "encoding",
            Self::Header => "header",
            Self::HeaderParameter => "header_parameter",
            Self::Type => "type",
            Self::Claims => "claims",
            Self::Claim(_) => "claim",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::RequiredClaim => "required_claim",
            Self::NoUser => "no_user",
            Self::NoIssueTime(_) => "no_issue_time",
            Self::UnknownKey => "unknown_key",
            Self::Algorithm => "algorithm",
            Self::MissingKid => "missing_kid",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::LivesTooLong => "lives_too_long",
        }
    }
}
