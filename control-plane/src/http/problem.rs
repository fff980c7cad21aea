//! All errors that a caller can be answered with.
//!
//! Each variant has one status and one stable code. The text is short and public; causes go to the log where they
//! occur.

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use curfew_core::wire::POLLS_FULL_CODE;
use curfew_core::{
    CredentialError, Denial, Differences, Problem, REVOKED_IN_SAME_SECOND, REVOKED_WITHOUT_TIME, TokenError,
};
use serde::Serialize;

use crate::store::command::Unavailable;

/// How long a caller should wait after a 503, in seconds.
const RETRY_AFTER_SECONDS: &str = "1";

/// Why a request was refused.
#[derive(Debug)]
pub enum ApiError {
    /// The token is missing or was logged out.
    Denied(Denial),
    /// The token is not registered, and was issued in the second of a logout of all its user's devices or does not say when:
    /// it counts as logged out.
    RevokedUnregistered {
        /// True if the token says when it was issued.
        is_dated: bool,
    },
    /// The token is not accepted.
    Token(TokenError),
    /// The Authorization header holds something that is not one token.
    NotOneToken(&'static str),
    /// The token, or the call of an application, names no user.
    UserIdMissing,
    /// The token names no session, and the caller wants its session logged out.
    SessionMissing,
    /// The application's credentials are wrong or missing.
    AppCredentials,
    /// The internal secret is wrong or missing.
    InternalSecret,
    /// Too many attempts have failed. The value is the number of seconds until one more failure is within the limit.
    TooManyFailures(u64),
    /// The request is not what the endpoint takes.
    Malformed(String),
    /// A filter would refuse the configuration, for these reasons.
    FilterConfiguration(String),
    /// A token in a registration is not accepted.
    RegisteredToken(usize, TokenError),
    /// The body is too large.
    PayloadTooLarge(usize),
    /// The body is not of the type that the endpoint takes, by its Content-Type.
    UnsupportedMediaType(&'static str),
    /// The body did not arrive in time.
    RequestTimeout,
    /// No such path.
    NotFound,
    /// No such method on this path.
    MethodNotAllowed,
    /// The check's keys were computed by a rule that is not configured here. These settings differ, as far as the filter
    /// has told.
    KeyspaceUnknown(Differences),
    /// A command was not carried out, or its outcome is not known.
    Write(Unavailable),
    /// The database could not be read, or not in time.
    Read,
    /// This many polls are held back, and no more may be.
    PollsFull(usize),
    /// No issuer of this name is configured, or none is named and there are several.
    IssuerUnknown,
    /// The issuer has no such key.
    KeyUnknown,
    /// The issuer's keys could not be had.
    KeysNotFetched(String),
    /// The issuer signs with a secret.
    KeysAreSecret,
    /// The issuer's keys of so many bytes have no room.
    KeysHaveNoRoom(usize),
    /// A handler panicked.
    Internal,
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl From<CredentialError> for ApiError {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Empty => Self::Denied(Denial::Missing),
            CredentialError::NotBearer => Self::NotOneToken("The Authorization header is not one bearer token."),
        }
    }
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        Self::Write(error)
    }
}

impl ApiError {
    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Denied(Denial::Unavailable)
            | Self::Write(_)
            | Self::Read
            | Self::PollsFull(_)
            | Self::KeysNotFetched(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Denied(_)
            | Self::RevokedUnregistered { .. }
            | Self::Token(_)
            | Self::NotOneToken(_)
            | Self::UserIdMissing
            | Self::AppCredentials
            | Self::InternalSecret => StatusCode::UNAUTHORIZED,
            Self::Malformed(_) | Self::FilterConfiguration(_) | Self::RegisteredToken(..) | Self::SessionMissing => {
                StatusCode::BAD_REQUEST
            }
            Self::TooManyFailures(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::PayloadTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NotFound | Self::IssuerUnknown | Self::KeyUnknown => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::KeyspaceUnknown(_) | Self::KeysAreSecret | Self::KeysHaveNoRoom(_) => StatusCode::CONFLICT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Denied(denial) => denial.code(),
            Self::RevokedUnregistered { .. } => Denial::Revoked.code(),
            Self::Token(error) | Self::RegisteredToken(_, error) => error.denial().code(),
            Self::NotOneToken(_) => Denial::Invalid.code(),
            Self::UserIdMissing => "user_id_missing",
            Self::SessionMissing => "session_missing",
            Self::AppCredentials | Self::InternalSecret => "credentials_invalid",
            Self::TooManyFailures(_) => "too_many_requests",
            Self::Malformed(_) => "request_malformed",
            Self::FilterConfiguration(_) => "filter_configuration_invalid",
            Self::PayloadTooLarge(_) => "payload_too_large",
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::RequestTimeout => "request_timeout",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::KeyspaceUnknown(_) => "keyspace_unknown",
            Self::Write(_) | Self::Read => "unavailable",
            Self::PollsFull(_) => POLLS_FULL_CODE,
            Self::IssuerUnknown => "issuer_unknown",
            Self::KeyUnknown => "key_unknown",
            Self::KeysNotFetched(_) => "keys_not_fetched",
            Self::KeysAreSecret => "keys_are_secret",
            Self::KeysHaveNoRoom(_) => "keys_have_no_room",
            Self::Internal => "internal_error",
        }
    }

    /// The rule that an invalid token broke; the other codes need no further reason.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Token(error) if error.denial() == Denial::Invalid => Some(error.reason()),
            Self::NotOneToken(_) => Some("not_one_token"),
            _ => None,
        }
    }

    /// True if it says that the token was logged out before.
    pub(super) fn says_revoked(&self) -> bool {
        self.code() == Denial::Revoked.code()
    }

    /// The filter's fields that differ.
    fn differs(&self) -> Vec<&'static str> {
        match self {
            Self::KeyspaceUnknown(differences) => differences.fields(),
            _ => Vec::new(),
        }
    }

    /// Seconds after which to try again.
    fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            Self::TooManyFailures(seconds) => Some(HeaderValue::from(*seconds)),
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => {
                Some(HeaderValue::from_static(RETRY_AFTER_SECONDS))
            }
            _ => None,
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Denied(denial) => denial.detail().into(),
            Self::RevokedUnregistered { is_dated: true } => REVOKED_IN_SAME_SECOND.into(),
            Self::RevokedUnregistered { is_dated: false } => REVOKED_WITHOUT_TIME.into(),
            Self::Token(error) => error.to_string().into(),
            Self::RegisteredToken(index, error) => format!("tokens[{index}]: {error}").into(),
            Self::NotOneToken(detail) => (*detail).into(),
            Self::TooManyFailures(_) => {
                "The attempt failed, and so did too many before it from the same source or with the same token.".into()
            }
            Self::Malformed(detail) => detail.clone().into(),
            Self::FilterConfiguration(mistakes) => {
                format!("The filter would refuse its configuration: {mistakes}").into()
            }
            Self::PayloadTooLarge(limit) => format!("The body is larger than {limit} bytes.").into(),
            Self::UserIdMissing => "Missing User ID".into(),
            Self::SessionMissing => "The token names no session. Nothing was logged out; scope=token logs this token out.".into(),
            Self::AppCredentials => "The application's credentials are wrong or missing.".into(),
            Self::InternalSecret => "The internal secret is wrong or missing.".into(),
            Self::UnsupportedMediaType(takes) => format!("Send the body as {takes}.").into(),
            Self::RequestTimeout => "The request's body did not arrive in time.".into(),
            Self::NotFound => "There is nothing at this path.".into(),
            Self::MethodNotAllowed => "This path does not take this method.".into(),
            Self::KeyspaceUnknown(differences) if differences.is_empty() => {
                "The keys were computed by a rule that is not configured here: compare the issuers, user_claim, \
                 issued_at_claim, allow_missing_exp, clock_skew and max_token_ttl of the filter and the control plane."
                    .into()
            }
            Self::KeyspaceUnknown(differences) => {
                format!("The filter's settings are not the control plane's: {differences}.").into()
            }
            Self::Write(Unavailable::NotWritten) => {
                "The request was not carried out and nothing was changed: a token to be logged out is still valid. \
                 Try again."
                    .into()
            }
            Self::Write(Unavailable::Unconfirmed) => {
                "The request was not confirmed: a token to be logged out may still be valid. Try again.".into()
            }
            Self::Read => "The database did not answer. Try again.".into(),
            Self::PollsFull(most) => {
                format!(
                    "This control plane holds {most} polls, and no more at a time. Start another control plane, or raise its \
                     limit on open files."
                )
                .into()
            }
            Self::IssuerUnknown => {
                "Name one of the configured issuers; it may be left out where there is only one.".into()
            }
            Self::KeyUnknown => "The issuer has no key with this kid or thumbprint.".into(),
            Self::KeysNotFetched(detail) => detail.clone().into(),
            Self::KeysAreSecret => "The issuer signs with a secret, which is changed in the settings.".into(),
            Self::KeysHaveNoRoom(bytes) => {
                format!("There is no room for keys of {bytes} bytes. The last ones stay in force.").into()
            }
            Self::Internal => "The request failed for a reason of the server's.".into(),
        }
    }

    /// RFC 9110 section 11.6.1: each 401 names a way to authenticate. It has no `error` where no token was judged.
    const fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Denied(denial) => denial.challenge(),
            Self::RevokedUnregistered { .. } => Denial::Revoked.challenge(),
            Self::Token(error) => error.denial().challenge(),
            Self::NotOneToken(_) => Denial::Invalid.challenge(),
            Self::UserIdMissing => {
                Some(r#"Bearer realm="curfew", error="invalid_token", error_description="The token names no user.""#)
            }
            Self::AppCredentials => Some(r#"AppKey realm="curfew""#),
            Self::InternalSecret => Some(r#"Bearer realm="curfew-internal""#),
            _ => None,
        }
    }
}

/// The problem of a filter whose settings are not the control plane's.
#[derive(Serialize)]
struct Disagreement<'a> {
    #[serde(flatten)]
    problem: Problem<'a>,
    /// The filter's fields that differ.
    differs: &'a [&'a str],
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let (detail, differs) = (self.detail(), self.differs());
        let problem = Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: &detail,
            code: self.code(),
        };
        let body = match differs.as_slice() {
            [] => problem.to_json(),
            differs => serde_json::to_string(&Disagreement { problem, differs }).unwrap_or_default(),
        };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(Problem::CONTENT_TYPE));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds);
        }
        response
    }
}
