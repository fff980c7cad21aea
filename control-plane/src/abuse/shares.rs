//! How much of a lane each source holds at the moment, so that none of them holds all of it.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::abuse::cells::{Cells, one_for_each};
use crate::abuse::source::Source;

/// How many times a source's share the wider network of it may hold, of which one customer can have many sources.
const NETWORK: u32 = 4;

/// The places that each source may hold at once.
pub(super) struct Shares {
    sources: Held,
    networks: Held,
}

/// Somebody's hold on one place, given back when it is dropped.
pub(super) struct Share {
    shares: Arc<Shares>,
    source: usize,
    network: Option<usize>,
}

impl Shares {
    /// At most `most` for each source.
    pub(super) fn new(most: u32) -> Arc<Self> {
        Arc::new(Self { sources: Held::new(most), networks: Held::new(most.saturating_mul(NETWORK)) })
    }

    /// One more place for the source, unless it holds its share already.
    pub(super) fn take(self: &Arc<Self>, source: &Source) -> Option<Share> {
        let mut share = Share { shares: Arc::clone(self), source: self.sources.take(source)?, network: None };
        if let Some(network) = source.network() {
            // Without this one, dropping the share gives the other back.
            share.network = Some(self.networks.take(&network)?);
        }
        Some(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.sources.give_back(self.source);
        if let Some(network) = self.network {
            self.shares.networks.give_back(network);
        }
    }
}

/// Counts by cell, none over `most`.
struct Held {
    most: u32,
    counts: Box<[AtomicU32]>,
    cells: Cells,
}

impl Held {
    fn new(most: u32) -> Self {
        Self { most, counts: one_for_each(), cells: Cells::default() }
    }

    /// The cell in which one more is counted now.
    fn take(&self, who: &impl Hash) -> Option<usize> {
        let cell = self.cells.of(who);
        let more = |held: u32| held.checked_add(1).filter(|held| *held <= self.most);
        self.counts.get(cell)?.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| cell)
    }

    fn give_back(&self, cell: usize) {
        if let Some(count) = self.counts.get(cell) {
            // Each was taken once, so it is above zero.
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap(), &HeaderMap::new(), 0)
    }

    #[test]
    fn a_source_gets_its_share_and_what_it_gives_back() {
        let shares = Shares::new(2);
        let crowd = source("192.0.2.1");
        let (first, second) = (shares.take(&crowd), shares.take(&crowd));
        assert!(first.is_some() && second.is_some());
        assert!(shares.take(&crowd).is_none());
        // With another hash key for each run, two may share a cell, though not all of them.
        assert!((2..10).any(|last| shares.take(&source(&format!("192.0.2.{last}"))).is_some()));
        drop(first);
        let third = shares.take(&crowd);
        assert!(third.is_some() && shares.take(&crowd).is_none());
    }

    #[test]
    fn a_network_with_many_sources_gets_no_more_than_four_of_them() {
        let shares = Shares::new(1);
        let taken: Vec<_> =
            (0..100).filter_map(|number| shares.take(&source(&format!("2001:db8:1:{number}::1")))).collect();
        assert_eq!(taken.len(), 4);
        drop(taken);
        // Those that were refused hold nothing either.
        assert!(
            shares.networks.counts.iter().chain(&shares.sources.counts).all(|count| count.load(Ordering::Relaxed) == 0)
        );
    }
}
