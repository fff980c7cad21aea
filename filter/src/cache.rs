//! The cache that proofs and answers are kept in: bounded in bytes, and hard to flood.
//!
//! New entries pass through a small part of the cache. An entry that is found a second time moves to the large part,
//! from which only other such entries evict it (CLOCK-Pro). So a flood of tokens that are seen once leaves the tokens
//! in use alone. The cache remembers some evicted entries by their hash: one that comes back goes to the large part at
//! once. So a cache that was filled by a flood still learns which tokens are in use.

use std::hash::Hash;

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// How many evicted entries are remembered by their hash, for each entry that the cache has room for; the most that the
/// library allows. With the library's default of a half, the cache never learnt tokens that were used once for every
/// ten new ones.
const REMEMBERED: f64 = 1.0;

/// An empty cache of `budget` bytes as `weighter` counts them, for about `entries` entries.
pub(crate) fn cache<K: Eq + Hash, V, W: Weighter<K, V>>(entries: usize, budget: u64, weighter: W) -> Cache<K, V, W> {
    let mut options = OptionsBuilder::new();
    options.estimated_items_capacity(entries).weight_capacity(budget).ghost_allocation(REMEMBERED);
    match options.build() {
        Ok(options) => {
            Cache::with_options(options, weighter, DefaultHashBuilder::default(), DefaultLifecycle::default())
        }
        // The builder fails only if an option is missing.
        Err(_) => Cache::with_weighter(entries, budget, weighter),
    }
}
