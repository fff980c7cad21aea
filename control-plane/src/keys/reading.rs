//! Readings of the sets in force, shared: however many ask at once, the database is asked for the head, and for the sets only
//! if they have changed.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;
use tracing::warn;

use crate::log::LogPosition;
use crate::log_throttle::LogThrottle;
use crate::store::keys::{HandedOut, Shown};
use crate::store::{ReadFailure, Store};

/// The sets in force at one moment. A clone shares them.
#[derive(Debug, Clone)]
pub(super) struct Sets {
    /// When the reading began that showed them.
    pub(super) began: Instant,
    /// The log's head.
    pub(super) head: LogPosition,
    /// The newest change of keys. Within one history it names the sets: where it is the same, they are the same.
    pub(super) keys_seq: u64,
    /// One for each issuer with public keys.
    pub(super) sets: Arc<[HandedOut]>,
}

impl Sets {
    /// The text of the set of this issuer.
    pub(super) fn text(&self, issuer: &str) -> Option<&str> {
        self.sets.iter().find(|set| set.issuer == issuer).map(|set| set.jwks.as_str())
    }

    fn is_of(&self, shown: &Shown<()>) -> bool {
        self.head.epoch == shown.head.epoch && self.keys_seq == shown.keys_seq
    }
}

/// The last reading. A caller that waited for the lock takes the reading before it, if that began late enough.
pub(super) struct Readings {
    store: Store,
    last: Mutex<Last>,
    failures: LogThrottle,
}

#[derive(Default)]
struct Last {
    /// When the last reading began, and whether it failed.
    began: Option<Instant>,
    failed: bool,
    sets: Option<Sets>,
}

impl Readings {
    pub(super) fn of(store: Store) -> Self {
        Self { store, last: Mutex::default(), failures: LogThrottle::default() }
    }

    /// What a reading showed that began at `since` or later; `None` if it failed.
    pub(super) async fn since(&self, since: Instant) -> Option<Sets> {
        let mut last = self.last.lock().await;
        if last.began.is_none_or(|began| began < since) {
            let began = Instant::now();
            let read = self.read(began, last.sets.as_ref()).await;
            (last.began, last.failed) = (Some(began), read.is_err());
            match read {
                Ok(sets) => last.sets = Some(sets),
                Err(error) => self.tell(&error),
            }
        }
        last.sets.clone().filter(|_| !last.failed)
    }

    async fn read(&self, began: Instant, known: Option<&Sets>) -> Result<Sets, ReadFailure> {
        let newest = self.store.newest_keys().await?;
        if let Some(known) = known.filter(|known| known.is_of(&newest)) {
            return Ok(Sets { began, head: newest.head, ..known.clone() });
        }
        let Shown { head, keys_seq, what } = self.store.key_sets().await?;
        Ok(Sets { began, head, keys_seq, sets: what.into() })
    }

    fn tell(&self, error: &ReadFailure) {
        if !self.store.explains(error)
            && let Some(failures) = self.failures.line(tokio::time::Instant::now())
        {
            warn!(
                error = error.cause(),
                failures, "the keys in force could not be read; those that are known stay in use"
            );
        }
    }
}
