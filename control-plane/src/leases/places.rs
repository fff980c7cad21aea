//! Places for polls that are held back. Their number is limited, so that held polls leave connections for checks.

use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;
use tracing::warn;

use crate::log_throttle::LogThrottle;

/// All places.
pub(super) struct Places {
    taken: AtomicUsize,
    most: usize,
    gauge: Gauge,
    refusals: LogThrottle,
}

/// One place, taken until it is dropped: at the latest when the poll's client goes away.
pub(super) struct Place<'a>(&'a Places);

impl Places {
    /// `most` places; `gauge` shows how many of them are taken.
    pub(super) fn new(most: usize, gauge: Gauge) -> Self {
        Self { taken: AtomicUsize::new(0), most, gauge, refusals: LogThrottle::default() }
    }

    /// Takes a place, if one is free.
    pub(super) fn take(&self) -> Option<Place<'_>> {
        if self.taken.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            self.refuses();
            return None;
        }
        self.gauge.inc();
        Some(Place(self))
    }

    fn refuses(&self) {
        if let Some(refused) = self.refusals.line(Instant::now()) {
            let most = self.most;
            warn!(most, refused, "polls are refused, because as many are held as may be: start another control plane");
        }
    }

    /// How many places there are.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// How many places are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.dec();
    }
}
