//! The copy in Redis: a copy of the log of revocations that answers checks without the database.
//!
//! The database is the truth. An entry that is found in Redis is an answer, because revocations are never taken back. A
//! missing entry says nothing, because Redis can be flushed, evict entries or fail over. So checks without Redis are
//! slower and never wrong. Redis cannot delay a check or a logout by more than the limits in this room.
//!
//! After one failure, a time-out included, Redis is left alone: checks ask the database, and logouts skip the copy.
//! Only the keeper goes on trying, and copies from the database what was missed when Redis is back.
//!
//! The crate's own reconnecting manager is not used: it acts on errors of the connection. A server that is frozen or
//! cut off by a firewall causes no error, so every question would wait for its limit.

mod counters;
mod eviction;
mod keeper;
mod live;
mod marker;
mod progress;
mod publishing;
mod refills;

use std::sync::Arc;

use curfew_core::TokenKeys;
use curfew_core::wire::CheckVerdict;
use futures_util::future::BoxFuture;

use crate::clock::Clock;
use crate::log::{Commit, LogPosition, Logged};
use crate::redis::{Misconfigured, Settings, judge, misconfigured};
use crate::store::{Checked, CommitObserver};
use live::{ASK_LIMIT, Shared, Trouble};

pub use counters::Counters;
pub use keeper::run;

/// The most entries of one commit that are copied before its commands are answered; the rest is left to the keeper.
const MOST_PUBLISHED: u64 = 20_000;

/// The copy in Redis, or nothing if no Redis is configured. Clones share it.
#[derive(Clone, Default)]
pub struct RedisCopy(Option<Arc<Shared>>);

impl RedisCopy {
    /// No Redis: nothing is found and nothing is written.
    pub fn none() -> Self {
        Self(None)
    }

    /// A copy of the log that ends at `head`. It is used once [`Self::start`] or [`run`] has connected it.
    pub fn new(settings: Settings, head: LogPosition, clock: Clock, counters: Counters) -> Self {
        Self(Some(Arc::new(Shared::new(settings, head, clock, counters))))
    }

    /// Makes the first attempt to connect.
    ///
    /// # Errors
    ///
    /// Redis shows that a setting is wrong. An unreachable Redis is not an error: Curfew does not need Redis, and an
    /// outage of Redis must not keep a control plane from starting.
    pub async fn start(&self) -> Result<(), Misconfigured> {
        let Some(shared) = &self.0 else { return Ok(()) };
        match shared.connect(0).await {
            Ok(connection) => shared.begin(connection),
            Err(Trouble::Error(error)) if misconfigured(&error).is_some() => {
                return misconfigured(&error).map_or(Ok(()), Err);
            }
            Err(trouble) => shared.report(&trouble),
        }
        Ok(())
    }

    /// True if a Redis is configured.
    pub fn is_configured(&self) -> bool {
        self.0.is_some()
    }

    /// True if Redis is in use; `None` if none is configured.
    pub fn is_up(&self) -> Option<bool> {
        self.0.as_ref().map(|shared| shared.live().is_some())
    }

    /// The answer about a token, if Redis proves that it is revoked. In every other case the caller asks the database.
    ///
    /// The head of the answer is the newest one that this process knows, which may be older than the entry. That is
    /// safe: "revoked" stays true, and the worker looks up everything after that head itself.
    pub async fn ask(&self, keys: &TokenKeys, cutoff_time: Option<i64>) -> Option<Checked> {
        let shared = self.0.as_ref()?;
        let live = shared.live()?;
        let head = shared.progress().head();
        let names = shared.settings.rules.names(head.epoch, keys);
        let plain: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
        let values = shared.within(&live, ASK_LIMIT, live.connection.get(&plain)).await?;
        let found = judge(&names, &values, cutoff_time, shared.settings.rules.latest_cutoff(shared.clock.now()));
        shared.counters.unreadable.inc_by(found.unreadable);
        if !found.revoked {
            shared.counters.misses.inc();
            return None;
        }
        shared.counters.hits.inc();
        Some(Checked { head, keys_seq: 0, verdict: CheckVerdict::Revoked, same_second: false })
    }

    /// Records a head that was read from the database.
    pub fn observe(&self, head: LogPosition) {
        if let Some(shared) = &self.0 {
            shared.progress().observe(head);
            shared.show_pending();
        }
    }

    /// Copies each commit before its commands are answered. If that does not succeed in time, the rest is left to the
    /// keeper: the commit stands, and is answered.
    pub fn observer(&self) -> CommitObserver {
        let Some(shared) = self.0.clone() else { return CommitObserver::none() };
        let tell = move |commit: Commit, entries: Vec<Logged>| {
            let shared = Arc::clone(&shared);
            let publishing = async move { shared.publish(commit, &entries).await };
            Box::pin(publishing) as BoxFuture<'static, ()>
        };
        CommitObserver { most: MOST_PUBLISHED, tell: Box::new(tell) }
    }

    /// The settings, for other uses of the same Redis; `None` if no Redis is configured.
    pub fn settings(&self) -> Option<&Settings> {
        self.0.as_ref().map(|shared| &shared.settings)
    }
}
