//! Places for polls that are held back. Their number is limited, so that held polls leave connections for checks.

use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::metrics::gauge::Gauge;

/// All places.
pub(super) struct Places {
    taken: AtomicUsize,
    most: usize,
    gauge: Gauge,
}

/// One place, taken until it is dropped: at the latest when the poll's client goes away.
pub(super) struct Place<'a>(&'a Places);

impl Places {
    /// `most` places; `gauge` shows how many of them are taken.
    pub(super) fn new(most: usize, gauge: Gauge) -> Self {
        Self { taken: AtomicUsize::new(0), most, gauge }
    }

    /// Takes a place, if one is free.
    pub(super) fn take(&self) -> Option<Place<'_>> {
        if self.taken.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.gauge.inc();
        Some(Place(self))
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
