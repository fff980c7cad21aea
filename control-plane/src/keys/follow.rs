//! Follows the changes that other control planes make.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::counters::IssuerLabel;
use super::reports::shelf_of;
use super::{Keys, Origin};

/// How often this process looks for changes that others have made.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// How many of these looks pass until it looks for what others know of the questions to issuers, for the metrics.
const LOOKS_FOR_METRICS: u32 = 15;

impl Keys {
    /// Follows the changes that other control planes make, until it is told to stop.
    pub async fn follow(&self, stop: CancellationToken) {
        if self.issuers.iter().all(|issuer| issuer.origin == Origin::Secret) {
            // There is nothing to follow.
            return stop.cancelled().await;
        }
        let mut looks: u32 = 0;
        loop {
            tokio::select! {
                () = sleep(LOOK_PAUSE) => {}
                () = stop.cancelled() => return,
            }
            if looks.is_multiple_of(LOOKS_FOR_METRICS) {
                self.measure().await;
            }
            looks = looks.wrapping_add(1);
            self.refresh().await;
        }
    }

    /// Shows in the metrics when each issuer last gave its keys, whichever control plane asked.
    async fn measure(&self) {
        if !self.issuers.iter().any(|issuer| matches!(issuer.origin, Origin::Source(_))) {
            return;
        }
        let Ok(shelves) = self.store.shelves().await else { return };
        for (place, issuer) in self.issuers.iter().enumerate() {
            let row = shelf_of(&shelves.what, issuer);
            if let Some(good_at) = row.and_then(|row| row.fetch.as_ref()).and_then(|fetch| fetch.good_at_ms) {
                self.counters.listed.get_or_create(&IssuerLabel { issuer: place }).set(good_at / 1000);
            }
        }
    }
}
