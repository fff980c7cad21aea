//! Tells the operator once that the control plane gives no verdicts, no leases or no keys, and once that it does again.
//!
//! Clients decide how often a check fails; with a line for each failure they could fill the log.

use std::fmt;
use std::time::Duration;

use curfew_core::Differences;

/// The least time between two lines about failures, for a control plane that fails now and then.
const INTERVAL: Duration = Duration::from_secs(10);

/// What the control plane is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Answers to the question whether a token is revoked.
    Verdicts,
    /// The right to decide by the copy of the log.
    Leases,
    /// The keys of issuers whose keys do not stand in the configuration.
    Keys,
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Verdicts => "verdicts",
            Self::Leases => "leases",
            Self::Keys => "keys",
        })
    }
}

/// Why a question, a poll or a call for keys got no usable answer, for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The host did not take the call: there is no such cluster, or no healthy host in it.
    NotSent,
    /// Too many questions are under way.
    TooMany,
    /// The host has not reported the end of the call, long after its timeout.
    Lost,
    /// The connection was reset, or could not be made.
    NoResponse,
    /// Another status than 200.
    Status(u16),
    /// A 503 to a poll: the control plane holds as many as it may.
    PollsFull,
    /// A 409 that names the settings that are not the control plane's.
    Disagrees(Differences),
    /// A 200 without a verdict in it.
    NoVerdict,
    /// A 200 without a page of the feed in it.
    NoPage,
    /// A page that does not continue the copy.
    Discontinued,
    /// A page without a lease.
    NoLease,
    /// A 200 without key sets in it.
    NoKeys,
    /// An answer without a set for each issuer that was asked about.
    NoKeysYet,
    /// Too many requests wait for keys.
    TooManyForKeys,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent => formatter.write_str("the cluster is unknown or has no healthy host"),
            Self::TooMany => formatter.write_str("too many questions are under way"),
            Self::Lost => formatter.write_str("the proxy never reported the end of a question"),
            Self::NoResponse => formatter.write_str("the connection failed"),
            Self::Status(401) => formatter.write_str("401: control_plane.secret is not CURFEW_INTERNAL_SECRET"),
            Self::Status(409) => formatter.write_str(
                "409: the issuers' names, user_claim, issued_at_claim, allow_missing_exp, clock_skew and max_token_ttl \
                 are not the same as the control plane's",
            ),
            Self::Disagrees(differences) => write!(formatter, "409: not the same as the control plane's: {differences}"),
            Self::PollsFull => formatter.write_str(
                "503: the control plane holds as many polls as it may: start another one, or raise its limit on open files",
            ),
            Self::Status(503) => {
                formatter.write_str("503: the control plane is down or unreachable, or could not read its database")
            }
            Self::Status(504) => formatter.write_str("504: no answer within control_plane.timeout"),
            Self::Status(status) => write!(formatter, "{status}"),
            Self::NoVerdict => formatter.write_str("200, but not with a verdict: is this the control plane?"),
            Self::NoPage => formatter.write_str("200, but not with a page of the feed: is this the control plane?"),
            Self::Discontinued => {
                formatter.write_str("its log does not continue the copy in this worker, which is loaded anew")
            }
            Self::NoLease => formatter.write_str("it grants none at the moment"),
            Self::NoKeys => formatter.write_str("200, but not with key sets: is this the control plane?"),
            Self::NoKeysYet => formatter.write_str(
                "it has none yet for an issuer that this configuration gives no keys; an issuer that signs with a \
                 secret needs the secret here",
            ),
            Self::TooManyForKeys => formatter.write_str("too many requests wait for them"),
        }
    }
}

/// Failures in a row, and what the operator was told of them.
#[derive(Debug)]
pub struct Outage {
    wanted: Wanted,
    failed: u64,
    reported_at: Option<Duration>,
    /// The failure that was reported last. `None` once its end was reported too.
    reported: Option<Failure>,
}

/// A line for the operator's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The control plane has begun to fail, or fails for another reason than before: this one.
    Began(Wanted, Failure),
    /// The control plane answers again.
    Ended {
        /// What it gives again.
        wanted: Wanted,
        /// How many calls had failed.
        failed: u64,
    },
    /// The revocations do not fit into the copy: each token is asked about.
    Overflow,
    /// A token was proven that names no user. It stands for all such tokens of some time.
    WithoutUser,
}

/// The least time between two notices that tokens name no user. It is a mistake in the settings, or it is meant so.
const WITHOUT_USER_INTERVAL: Duration = Duration::from_secs(3600);

/// When the operator was last told that tokens name no user, on the monotonic clock.
#[derive(Debug, Default)]
pub struct WithoutUser(Option<Duration>);

impl WithoutUser {
    /// A token without a user was proven. Returns what to tell the operator.
    pub fn proven(&mut self, now: Duration) -> Option<Notice> {
        if self.0.is_some_and(|told_at| now.saturating_sub(told_at) < WITHOUT_USER_INTERVAL) {
            return None;
        }
        self.0 = Some(now);
        Some(Notice::WithoutUser)
    }
}

impl Outage {
    /// Nothing has failed yet.
    pub fn of(wanted: Wanted) -> Self {
        Self { wanted, failed: 0, reported_at: None, reported: None }
    }

    /// A call has ended at this monotonic time, with what was wanted or with a failure. Returns what to tell the
    /// operator.
    pub fn ended(&mut self, failure: Option<Failure>, now: Duration) -> Option<Notice> {
        let Some(failure) = failure else {
            let failed = std::mem::take(&mut self.failed);
            return self.reported.take().map(|_| Notice::Ended { wanted: self.wanted, failed });
        };
        self.failed = self.failed.saturating_add(1);
        let quiet = self.reported_at.is_none_or(|reported_at| now.saturating_sub(reported_at) >= INTERVAL);
        if self.reported == Some(failure) || !quiet {
            return None;
        }
        self.reported = Some(failure);
        self.reported_at = Some(now);
        Some(Notice::Began(self.wanted, failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: Option<Failure> = Some(Failure::NoResponse);
    const BEGAN: Option<Notice> = Some(Notice::Began(Wanted::Leases, Failure::NoResponse));

    fn outage() -> Outage {
        Outage::of(Wanted::Leases)
    }

    #[test]
    fn an_outage_is_reported_when_it_begins_and_when_it_ends() {
        let mut outage = outage();
        let second = Duration::from_secs;
        assert_eq!(outage.ended(None, second(0)), None);
        assert_eq!(outage.ended(DOWN, second(1)), BEGAN);
        assert_eq!(outage.ended(DOWN, second(60)), None);
        let ended = Notice::Ended { wanted: Wanted::Leases, failed: 2 };
        assert_eq!(outage.ended(None, second(61)), Some(ended));
        assert_eq!(outage.ended(None, second(62)), None);
    }

    #[test]
    fn another_cause_is_reported_too() {
        let mut outage = outage();
        let second = Duration::from_secs;
        assert_eq!(outage.ended(DOWN, second(1)), BEGAN);
        let secret = Failure::Status(401);
        assert_eq!(outage.ended(Some(secret), second(2)), None);
        assert_eq!(outage.ended(Some(secret), second(11)), Some(Notice::Began(Wanted::Leases, secret)));
    }

    #[test]
    fn an_outage_that_comes_and_goes_is_reported_once_per_interval() {
        let mut outage = outage();
        let reported = (0..1000).filter(|tenth| {
            let now = Duration::from_millis(tenth * 100);
            outage.ended(DOWN, now) == BEGAN || outage.ended(None, now) == BEGAN
        });
        assert_eq!(reported.count(), 10);
    }
}
