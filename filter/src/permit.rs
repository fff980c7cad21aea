//! The right of a request to go on, as a value that has to be earned.

use std::sync::Arc;

use curfew_core::Denial;

use crate::identity::{self, IdentityHeader};
use crate::metrics::Metric;
use crate::proofs::Facts;
use crate::request::Request;
use crate::sources::{Sources, Strip};

/// A request may go on. Only a permit lets a request go on.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    /// Why.
    pub reason: Reason,
    /// The changes to make before it goes on.
    pub edits: Edits,
    /// What the access log may say.
    pub mark: Option<Mark>,
}

/// What the access log may say of a decision. Only stable words: nothing in it comes from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// `admitted`, `refused`, or `reported`: would have been refused.
    pub decision: &'static str,
    /// Why, in one word; the code of the denial.
    pub reason: &'static str,
}

/// All the reasons for which a request may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its token is well signed, in time and not revoked.
    Active,
    /// A rule asks for no token.
    Skipped,
    /// It is a preflight of a browser, and `cors_preflight` is on.
    Preflight,
    /// It has no token, and a rule makes that optional.
    Anonymous,
    /// There is no verdict on its token, and `on_unavailable` is `allow`.
    UnavailableAllowed,
    /// It would have been refused, but `report_only` is on.
    ReportOnly(Denial),
}

impl Reason {
    /// The counter of this reason.
    pub const fn metric(self) -> Metric {
        match self {
            Self::Active => Metric::Admitted,
            Self::Skipped => Metric::Skipped,
            Self::Preflight => Metric::Preflight,
            Self::Anonymous => Metric::Anonymous,
            Self::UnavailableAllowed => Metric::UnavailableAllowed,
            Self::ReportOnly(_) => Metric::ReportOnly,
        }
    }
}

impl Mark {
    /// Of a request that goes on.
    pub const fn admitted(reason: Reason) -> Self {
        let (decision, reason) = match reason {
            Reason::Active => ("admitted", "active"),
            Reason::Skipped => ("admitted", "skipped"),
            Reason::Preflight => ("admitted", "preflight"),
            Reason::Anonymous => ("admitted", "anonymous"),
            Reason::UnavailableAllowed => ("admitted", "unavailable"),
            Reason::ReportOnly(denial) => ("reported", denial.code()),
        };
        Self { decision, reason }
    }

    /// Of a request that is refused.
    pub const fn refused(denial: Denial) -> Self {
        Self { decision: "refused", reason: denial.code() }
    }
}

impl Permit {
    pub(crate) const fn new(reason: Reason, edits: Edits, mark: Option<Mark>) -> Self {
        Self { reason, edits, mark }
    }
}

/// Changes to a request's headers: first remove, then set and replace.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Names of headers, as the client wrote them.
    pub remove: Vec<Vec<u8>>,
    /// Names and values of headers.
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// Names of headers, and the values that remain when the token was taken out.
    pub replace: Vec<(&'static str, Vec<u8>)>,
    /// A name of the token for the access log: the start of its id, from which nobody can make a token.
    pub token: Option<String>,
}

impl Edits {
    /// Removes headers that look like identity headers, and sets the identity headers from the token, if there is one.
    pub(crate) fn new(headers: &[IdentityHeader], request: &Request<'_>, facts: Option<&Facts>) -> Self {
        let remove = identity::forged(headers, request).into_iter().map(<[u8]>::to_vec).collect();
        let values = facts.and_then(|facts| facts.identity.as_deref().ok()).unwrap_or_default();
        let pairs = headers.iter().zip(values);
        let set = pairs.filter_map(|(header, value)| Some((Arc::clone(&header.name), value.clone()?))).collect();
        Self { remove, set, ..Self::default() }
    }

    /// Takes the token out of the request too, if the upstream must not see it.
    pub(crate) fn strip(mut self, sources: &Sources, request: &Request<'_>) -> Self {
        for change in sources.stripped(request) {
            match change {
                Strip::Remove(name) => self.remove.push(name.into_bytes()),
                Strip::Replace(name, value) => {
                    // Replacing changes the first of several headers alone.
                    if request.values(name).nth(1).is_some() {
                        self.remove.push(name.as_bytes().to_vec());
                    }
                    self.replace.push((name, value));
                }
            }
        }
        self
    }
}
