//! What the handlers share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use curfew_core::{Policy, ProvenToken, TokenError, Unproven, verify_natively};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::counters::{Counters, RefusalLabels};
use super::entrance::Entrances;
use super::notices::Notices;
use super::records::Records;
use crate::abuse::attempts::FailedAttempts;
use crate::abuse::lanes::Lanes;
use crate::abuse::summary::FailedLogouts;
use crate::abuse::{self, LaneLabels};
use crate::clock::{Clock, Moment};
use crate::config::{ClearSiteData, DefaultScope};
use crate::keys::Keys;
use crate::leases::Leases;
use crate::redis_copy::RedisCopy;
use crate::secret::{AppCredentials, Secret};
use crate::store;

/// The shared parts of the control plane, made once at start.
pub struct AppState {
    /// Which tokens are accepted.
    pub policy: Policy,
    /// The keys that tokens are verified with.
    pub keys: Arc<Keys>,
    /// The stored records, for endpoints that revoke nothing.
    pub records: Records,
    /// The commands that revoke, for entrances alone.
    pub entrances: Entrances,
    /// The leases of workers.
    pub leases: Arc<Leases>,
    /// The copy of the revocations in Redis.
    pub redis_copy: RedisCopy,
    /// The wall clock.
    pub clock: Clock,
    /// Counters of requests.
    pub counters: Counters,
    /// Counters of limits and lanes.
    pub abuse_counters: abuse::Counters,
    /// Counters of the store.
    pub store_counters: store::Counters,
    /// The registry of all counters.
    pub registry: Registry,
    /// The secret of callers of `/internal/v1/...`.
    pub internal_secret: Secret,
    /// The credentials of callers of `lgt-all`.
    pub app: AppCredentials,
    /// Refused logouts, for the log.
    pub failures: FailedLogouts,
    /// What looks like a mistake in the settings, for the log.
    pub notices: Notices,
    /// The limits on failed logouts, which are answered 429 over the limit.
    pub attempts: FailedAttempts,
    /// The number of trusted proxies in front of the public listener that write `X-Forwarded-For`.
    pub trusted_proxies: usize,
    /// How much a logout without a scope logs out, by issuer namespace.
    pub default_scopes: BTreeMap<String, DefaultScope>,
    /// What browsers are told to delete when they have logged out.
    pub clear_site_data: ClearSiteData,
    /// Where the signatures of logouts are checked.
    pub lanes: Lanes,
    /// How long a check may take, Redis and the database together.
    pub check_timeout: Duration,
    /// How long a request's body may take to arrive, and how long its answer may take after that.
    pub request_timeout: Duration,
}

/// Proves a token by the wall clock. If it is not in time by that clock, and the clock is doubted, proves it by the reckoned
/// time: a token that is alive at the proxies must be possible to log out, and a logout of a dead one does no harm.
pub(super) fn by_either_clock<T>(
    moment: Moment,
    mut prove: impl FnMut(i64) -> Result<T, Unproven>,
) -> Result<T, Unproven> {
    let proven = prove(moment.now);
    let is_out_of_time = |Unproven { error, .. }: Unproven| {
        use TokenError::{Expired, IssuedInFuture, LivesTooLong, NotYetValid};
        matches!(error, Expired | NotYetValid | IssuedInFuture | LivesTooLong) && moment.doubt().is_some()
    };
    match (proven, moment.reckoned) {
        // The keys may be the reason then, and the error of the wall clock is told all the same.
        (Err(first), Some(reckoned)) if is_out_of_time(first) => {
            prove(reckoned).map_err(|second| Unproven { error: first.error, ..second })
        }
        (proven, _) => proven,
    }
}

impl AppState {
    /// How much a logout with a token of this issuer logs out, if the caller does not say.
    pub(super) fn default_scope(&self, issuer: &str) -> DefaultScope {
        self.default_scopes.get(issuer).copied().unwrap_or_default()
    }

    /// Checks that a token's text is a token that is accepted now, by the keys that are known at this moment. It does not check
    /// whether the token was revoked.
    ///
    /// # Errors
    ///
    /// The first rule that the token breaks, and whether newer keys could make a difference.
    pub fn prove(&self, text: &[u8]) -> Result<ProvenToken, Unproven> {
        let keys = self.keys.current();
        by_either_clock(self.clock.moment(), |now| self.policy.prove_with(text, now, &keys, verify_natively))
    }

    /// The same outcome, counted if it is a refusal.
    pub(super) fn counted(&self, proven: Result<ProvenToken, TokenError>) -> Result<ProvenToken, TokenError> {
        if let Err(error) = &proven {
            self.count_refusal(*error);
        }
        proven
    }

    pub(super) fn count_refusal(&self, error: TokenError) {
        self.counters.tokens_refused.get_or_create(&RefusalLabels { reason: error.reason() }).inc();
    }

    /// The metrics' text, including the values that are measured at this moment.
    ///
    /// # Errors
    ///
    /// A metric cannot be written, which would be a mistake in this program.
    pub fn measured(&self) -> Result<String, std::fmt::Error> {
        for lane in self.lanes.all() {
            self.abuse_counters.waiting.get_or_create(&LaneLabels { lane: lane.name }).set(lane.waiting());
        }
        self.leases.measure();
        let mut written = String::new();
        text::encode(&mut written, &self.registry)?;
        Ok(written)
    }
}
