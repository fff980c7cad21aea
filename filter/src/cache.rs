//! The cache that proofs and answers are kept in: bounded in bytes, and hard to flood.
//!
//! New entries pass through a small part of it; what is found a second time moves to the large part, which only other
//! entries of that kind push out (CLOCK-Pro). A flood of tokens that are seen once thus leaves those in use alone. Some
//! of the entries that were pushed out are remembered by their hash: one that comes back goes to the large part at
//! once. That is how a cache that a flood filled first still learns which tokens are in use.

use std::hash::Hash;

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// Entries remembered by their hash, for each that the cache has room for; the most that the library takes. With its own
/// default of a half, tokens used once for ten new ones were never learnt.
const REMEMBERED: f64 = 1.0;

/// An empty cache of `budget` bytes as `weighter` counts them, for about `entries` entries.
pub(crate) fn cache<K: Eq + Hash, V, W: Weighter<K, V>>(entries: usize, budget: u64, weighter: W) -> Cache<K, V, W> {
    let mut options = OptionsBuilder::new();
    options.estimated_items_capacity(entries).weight_capacity(budget).ghost_allocation(REMEMBERED);
    match options.build() {
        Ok(options) => {
            Cache::with_options(options, weighter, DefaultHashBuilder::default(), DefaultLifecycle::default())
        }
        // Only for options that were left out.
        Err(_) => Cache::with_weighter(entries, budget, weighter),
    }
}
