//! What a row of the route table says of an endpoint, as values.

use axum::routing::MethodFilter;

/// Bytes of a body that names a user or some keys.
pub(super) const SMALL_BODY: usize = 16 * 1024;

/// A method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// A listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// For clients, through Envoy.
    Public,
    /// For the filter, services and operators.
    Internal,
}

/// How a caller shows that it may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// By the internal secret, which the listener checks before anything else.
    InternalSecret,
    /// By a token in `Authorization`, which the handler checks.
    Token,
    /// By the application's credentials in the body, which the handler checks.
    Application,
    /// No credential is needed: a probe or a scraper has none, and a ticket is a credential by itself.
    Open,
}

/// What becomes of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// The endpoint neither waits for it nor reads it.
    Unread,
    /// It may be JSON, and is read then. A body of another type, or without one, is not waited for.
    OptionalJson {
        /// The most bytes that are read.
        most: usize,
    },
    /// It is JSON, and read before the handler starts.
    Json {
        /// The most bytes that are read.
        most: usize,
    },
}

/// What an endpoint that revokes nothing does. This decides how long it may take, and what a late answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It reads. A late answer has changed nothing.
    Read,
    /// It reads, and may hold the request back until there is news.
    LongPoll,
    /// It writes. If the answer is late, the write may have happened, or may still happen.
    Write,
    /// It reports the state of the process, however slow everything else is.
    Probe,
}

impl Listener {
    /// Its label in metrics, and its name in the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
        }
    }
}

impl Method {
    /// As it is written in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

impl From<Method> for MethodFilter {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Post => Self::POST,
        }
    }
}

impl Body {
    /// The most bytes of it that are read.
    pub const fn most(self) -> usize {
        match self {
            Self::Unread => SMALL_BODY,
            Self::Json { most } | Self::OptionalJson { most } => most,
        }
    }

    /// The media type that it has, if it is read.
    pub const fn media_type(self) -> Option<&'static str> {
        match self {
            Self::Unread => None,
            Self::Json { .. } | Self::OptionalJson { .. } => Some("application/json"),
        }
    }
}
