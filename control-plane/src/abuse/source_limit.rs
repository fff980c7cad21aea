//! A limit on the slots of a lane that one source holds at a time, so that no source holds all of them.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cells::{Cells, one_for_each};
use super::source::Source;

/// The slots that a wider network may hold, as a multiple of a source's slots. One customer can have many sources in a
/// network.
const NETWORK: u32 = 4;

/// The slots that each source and each network hold.
pub(super) struct SourceLimit {
    sources: Held,
    networks: Held,
}

/// The right of a source to hold one more slot, given back when it is dropped.
pub(super) struct SourcePermit {
    limit: Arc<SourceLimit>,
    source: usize,
    network: Option<usize>,
}

impl SourceLimit {
    /// A limit of `most` slots for each source.
    pub(super) fn new(most: u32) -> Arc<Self> {
        Arc::new(Self { sources: Held::new(most), networks: Held::new(most.saturating_mul(NETWORK)) })
    }

    /// Takes one more slot for the source, unless the source or its network holds as many as it may.
    pub(super) fn take(self: &Arc<Self>, source: &Source) -> Option<SourcePermit> {
        let mut permit = SourcePermit { limit: Arc::clone(self), source: self.sources.take(source)?, network: None };
        if let Some(network) = source.network() {
            // If the network has no slot left, dropping the permit gives the source's slot back.
            permit.network = Some(self.networks.take(&network)?);
        }
        Some(permit)
    }
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        self.limit.sources.give_back(self.source);
        if let Some(network) = self.network {
            self.limit.networks.give_back(network);
        }
    }
}

/// A count for each cell, none over `most`.
struct Held {
    most: u32,
    counts: Box<[AtomicU32]>,
    cells: Cells,
}

impl Held {
    fn new(most: u32) -> Self {
        Self { most, counts: one_for_each(), cells: Cells::default() }
    }

    /// Counts one more slot, and returns its cell.
    fn take(&self, key: &impl Hash) -> Option<usize> {
        let cell = self.cells.of(key);
        let more = |held: u32| held.checked_add(1).filter(|held| *held <= self.most);
        self.counts.get(cell)?.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| cell)
    }

    fn give_back(&self, cell: usize) {
        if let Some(count) = self.counts.get(cell) {
            // The slot was counted, so the count is above zero.
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
        let limit = SourceLimit::new(2);
        let crowd = source("192.0.2.1");
        let (first, second) = (limit.take(&crowd), limit.take(&crowd));
        assert!(first.is_some() && second.is_some());
        assert!(limit.take(&crowd).is_none());
        // The hash key is another one in each run. Two sources may share a cell, but not all of them.
        assert!((2..10).any(|last| limit.take(&source(&format!("192.0.2.{last}"))).is_some()));
        drop(first);
        let third = limit.take(&crowd);
        assert!(third.is_some() && limit.take(&crowd).is_none());
    }

    #[test]
    fn a_network_with_many_sources_gets_no_more_than_four_of_them() {
        let limit = SourceLimit::new(1);
        let taken: Vec<_> =
            (0..100).filter_map(|number| limit.take(&source(&format!("2001:db8:1:{number}::1")))).collect();
        assert_eq!(taken.len(), 4);
        drop(taken);
        // Sources that were refused hold nothing either.
        assert!(
            limit.networks.counts.iter().chain(&limit.sources.counts).all(|count| count.load(Ordering::Relaxed) == 0)
        );
    }
}
