//! The answer to a refused client: RFC 9457 problem details and RFC 6750 challenges, the same bytes from both sides.

use serde::Serialize;

/// Why a request was refused. Each has one status, one stable `code` and one challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// No token was sent.
    Missing,
    /// A credential was sent that is not an acceptable token.
    Invalid,
    /// The token was acceptable once.
    Expired,
    /// The token was logged out.
    Revoked,
    /// The token is good, but lacks a claim that is required here.
    InsufficientScope,
    /// There is no verdict on whether the token was logged out.
    Unavailable,
}

/// The detail of [`Denial::Revoked`] where a login came in the second of a logout of all devices and was not registered.
pub const REVOKED_IN_SAME_SECOND: &str = "All devices of the user were logged out in the second in which the token was issued, so it \
                                          counts as logged out. A token that is registered before its use, or issued a second \
                                          later, is accepted.";

/// The same for a token that does not say when it was issued: its registration alone tells it from those of earlier logins.
pub const REVOKED_WITHOUT_TIME: &str = "All devices of the user were logged out, and the token does not say when it was issued, so it \
                                        counts as logged out. A token that is registered before its use is accepted.";

/// How long a client should wait after [`Denial::Unavailable`], in seconds (RFC 9110 section 10.2.3).
pub const RETRY_AFTER_SECONDS: u32 = 1;

impl Denial {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::Missing | Self::Invalid | Self::Expired | Self::Revoked => 401,
            Self::InsufficientScope => 403,
            Self::Unavailable => 503,
        }
    }

    /// The stable code that clients may compare.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Invalid => "token_invalid",
            Self::Expired => "token_expired",
            Self::Revoked => "token_revoked",
            Self::InsufficientScope => "insufficient_scope",
            Self::Unavailable => "unavailable",
        }
    }

    /// The name of the status (RFC 9110 section 15), which clients of the documented API read as `title`.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Missing | Self::Invalid | Self::Expired | Self::Revoked => "Unauthorized",
            Self::InsufficientScope => "Forbidden",
            Self::Unavailable => "Service Unavailable",
        }
    }

    /// A sentence for developers, for when nothing more exact is known.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Missing => "No token was sent.",
            Self::Invalid => "The token is not valid.",
            Self::Expired => "The token has expired.",
            Self::Revoked => "The token was logged out.",
            Self::InsufficientScope => "The token lacks a claim that is required here.",
            Self::Unavailable => "It could not be checked whether the token was logged out. Try again.",
        }
    }

    /// The value of `WWW-Authenticate` on a 401 or 403: RFC 6750 section 3, without `error` if no token was sent.
    pub const fn challenge(self) -> Option<&'static str> {
        match self {
            Self::Missing => Some(r#"Bearer realm="curfew""#),
            Self::Invalid => Some(concat!(
                r#"Bearer realm="curfew", error="invalid_token", "#,
                r#"error_description="The token is not valid.""#
            )),
            Self::Expired => Some(concat!(
                r#"Bearer realm="curfew", error="invalid_token", "#,
                r#"error_description="The token has expired.""#
            )),
            Self::Revoked => Some(concat!(
                r#"Bearer realm="curfew", error="invalid_token", "#,
                r#"error_description="The token was logged out.""#
            )),
            Self::InsufficientScope => Some(concat!(
                r#"Bearer realm="curfew", error="insufficient_scope", "#,
                r#"error_description="The token lacks a claim that is required here.""#
            )),
            Self::Unavailable => None,
        }
    }

    /// The problem document with this denial's usual detail.
    pub const fn problem(self) -> Problem<'static> {
        self.problem_with(self.detail())
    }

    /// The problem document with a more exact detail.
    pub const fn problem_with(self, detail: &str) -> Problem<'_> {
        Problem { kind: "about:blank", title: self.title(), status: self.status(), detail, code: self.code() }
    }
}

/// A problem details object (RFC 9457 section 3.1) with Curfew's `code` as its extension member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Problem<'a> {
    /// Always `about:blank`: the status and the code say everything.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The name of the status.
    pub title: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// A sentence for developers; free to change.
    pub detail: &'a str,
    /// The stable code that clients may compare.
    pub code: &'a str,
}

impl Problem<'_> {
    /// The media type of [`Self::to_json`].
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// The body.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Denial;

    #[test]
    fn the_problem_of_a_revoked_token_is_pinned() {
        assert_eq!(
            Denial::Revoked.problem().to_json(),
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The token was logged out.","code":"token_revoked"}"#
        );
    }

    #[test]
    fn a_token_that_lacks_a_claim_is_forbidden() {
        let denial = Denial::InsufficientScope;
        assert_eq!((denial.status(), denial.code()), (403, "insufficient_scope"));
        let challenge = denial.challenge().unwrap();
        assert!(
            challenge.contains(r#"error="insufficient_scope""#) && challenge.contains(denial.detail()),
            "{challenge}"
        );
    }

    #[test]
    fn a_challenge_names_an_error_only_where_a_token_was_sent() {
        assert_eq!(Denial::Missing.challenge(), Some(r#"Bearer realm="curfew""#));
        for denial in [Denial::Invalid, Denial::Expired, Denial::Revoked] {
            let challenge = denial.challenge().unwrap();
            assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
            assert!(challenge.contains(denial.detail()), "{challenge}");
        }
        assert_eq!(Denial::Unavailable.challenge(), None);
    }
}
