//! A hash table of revocations, 24 bytes a slot, in shards that grow one by one.
//!
//! The standard map doubles: for a moment it needs three times its size, and afterwards it is half empty. The memory of
//! a VM never shrinks, and a callback that moves a million entries stops an Envoy worker. So here a shard grows alone,
//! by a quarter.

use curfew_core::wire::FeedRevocation;
use curfew_core::{Kind, RevocationKey};

/// The bytes of a slot.
pub const SLOT_BYTES: u64 = size_of::<Slot>() as u64;

/// What a shard should take at most. Moving that much in one callback takes no noticeable time.
const SHARD_BYTES: u64 = 64 << 10;

/// Expiry is kept in units of this many seconds, rounded up, which leaves three bits of the word for the kind.
const EXPIRY_UNIT: i64 = 8;
const EXPIRY_BITS: u32 = 29;
const EXPIRY_MAX: u32 = (1 << EXPIRY_BITS) - 1;

/// A revocation in its compact form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    key: RevocationKey,
    /// Kind and expiry; never 0.
    tag: u32,
    /// Seconds of Unix time, saturated, which is right for every token issued between 1970 and 2106.
    cutoff: u32,
}

impl From<&FeedRevocation> for Entry {
    fn from(revocation: &FeedRevocation) -> Self {
        let units = revocation.expires_at.saturating_add(EXPIRY_UNIT - 1) / EXPIRY_UNIT;
        let expiry = u32::try_from(units.clamp(1, i64::from(EXPIRY_MAX))).unwrap_or(EXPIRY_MAX);
        let cutoff = u32::try_from(revocation.cutoff.max(0)).unwrap_or(u32::MAX);
        Self { key: revocation.key, tag: (number(revocation.kind) << EXPIRY_BITS) | expiry, cutoff }
    }
}

impl Entry {
    fn is(&self, kind: Kind, key: &RevocationKey) -> bool {
        self.tag >> EXPIRY_BITS == number(kind) && self.key == *key
    }

    fn expiry(self) -> u32 {
        self.tag & EXPIRY_MAX
    }

    fn has_expired(self, now: i64) -> bool {
        self.expiry() < EXPIRY_MAX && i64::from(self.expiry()).saturating_mul(EXPIRY_UNIT) <= now
    }

    /// Two entries under one key as one, with the later cutoff and the later expiry.
    fn with(self, other: Self) -> Self {
        let expiry = self.expiry().max(other.expiry());
        Self { tag: (self.tag & !EXPIRY_MAX) | expiry, cutoff: self.cutoff.max(other.cutoff), ..self }
    }
}

const fn number(kind: Kind) -> u32 {
    match kind {
        Kind::Token => 0,
        Kind::Jti => 1,
        Kind::Session => 2,
        Kind::Subject => 3,
        Kind::Others => 4,
        Kind::Spared => 5,
    }
}

/// An entry, or room for one: its tag is 0. An `Option` would take four bytes more.
type Slot = Entry;

const VACANT: Slot = Entry { key: RevocationKey::from_bytes([0; 16]), tag: 0, cutoff: 0 };

/// Entries by kind and key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Table {
    shards: Vec<Shard>,
    seed: [u64; 2],
    /// The slots of all shards, vacant ones included.
    slots: u64,
    budget: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Shard {
    slots: Vec<Slot>,
    used: usize,
}

/// The place of a key, or the place where it would be put.
enum Place {
    Found(usize),
    Vacant(usize),
    Nowhere,
}

impl Table {
    pub(super) fn new(budget: u64, seed: [u64; 2]) -> Self {
        let count = usize::try_from((budget / SHARD_BYTES).max(1)).unwrap_or(1);
        Self { shards: vec![Shard::default(); count], seed, slots: 0, budget }
    }

    /// Adds an entry; `false` if there is no room.
    pub(super) fn insert(&mut self, entry: Entry, now: i64) -> bool {
        let hash = hash(self.seed, &entry.key);
        let spare = (self.budget.saturating_sub(self.bytes())) / SLOT_BYTES;
        let seed = self.seed;
        let Some(shard) = shard_of(hash, self.shards.len()).and_then(|index| self.shards.get_mut(index)) else {
            return false;
        };
        let before = shard.slots.len() as u64;
        let inserted = shard.insert(entry, seed, now, spare);
        self.slots = self.slots.saturating_sub(before).saturating_add(shard.slots.len() as u64);
        inserted
    }

    /// The cutoff of the entry under this key.
    pub(super) fn cutoff(&self, kind: Kind, key: &RevocationKey) -> Option<i64> {
        let hash = hash(self.seed, key);
        let shard = self.shards.get(shard_of(hash, self.shards.len())?)?;
        match shard.place(kind_and(kind, key), hash) {
            Place::Found(index) => shard.slots.get(index).map(|entry| i64::from(entry.cutoff)),
            Place::Vacant(_) | Place::Nowhere => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.used).sum()
    }

    pub(super) fn bytes(&self) -> u64 {
        let shards = size_of::<Shard>() as u64;
        self.slots.saturating_mul(SLOT_BYTES).saturating_add(shards.saturating_mul(self.shards.len() as u64))
    }
}

/// Finds the entry of this kind and key.
fn kind_and<'k>(kind: Kind, key: &'k RevocationKey) -> impl Fn(&Entry) -> bool + use<'k> {
    move |entry| entry.is(kind, key)
}

impl Shard {
    /// Probes from the key's home to the first vacant slot. Every shard that has slots has a vacant one.
    fn place(&self, wanted: impl Fn(&Entry) -> bool, hash: u64) -> Place {
        let Some(home) = scaled(hash << 32, self.slots.len()) else { return Place::Nowhere };
        let after = self.slots.iter().enumerate().skip(home);
        for (index, slot) in after.chain(self.slots.iter().enumerate().take(home)) {
            if slot.tag == 0 {
                return Place::Vacant(index);
            }
            if wanted(slot) {
                return Place::Found(index);
            }
        }
        Place::Nowhere
    }

    fn insert(&mut self, entry: Entry, seed: [u64; 2], now: i64, spare: u64) -> bool {
        let found = self.place(
            |slot| slot.tag >> EXPIRY_BITS == entry.tag >> EXPIRY_BITS && slot.key == entry.key,
            hash(seed, &entry.key),
        );
        if let Place::Found(index) = found
            && let Some(slot) = self.slots.get_mut(index)
        {
            *slot = slot.with(entry);
            return true;
        }
        if self.is_crowded() && !self.make_room(seed, now, spare) {
            return false;
        }
        self.put(entry, hash(seed, &entry.key))
    }

    /// True if more than seven eighths of the slots would be taken: probing gets slow then.
    fn is_crowded(&self) -> bool {
        self.used.saturating_add(1).saturating_mul(8) > self.slots.len().saturating_mul(7)
    }

    /// Drops expired entries, and grows by a quarter if few have expired.
    fn make_room(&mut self, seed: [u64; 2], now: i64, spare: u64) -> bool {
        let capacity = self.slots.len();
        let live = self.slots.iter().filter(|slot| slot.tag != 0 && !slot.has_expired(now)).count();
        let enough = live.saturating_mul(4) < capacity.saturating_mul(3);
        let wanted = if enough { capacity } else { capacity.saturating_add(capacity / 4).saturating_add(4) };
        // The old slots are freed only when all entries have moved.
        if wanted as u64 > spare {
            return false;
        }
        let old = std::mem::replace(&mut self.slots, vec![VACANT; wanted]);
        self.used = 0;
        old.into_iter()
            .filter(|slot| slot.tag != 0 && !slot.has_expired(now))
            .all(|entry| self.put(entry, hash(seed, &entry.key)))
    }

    fn put(&mut self, entry: Entry, hash: u64) -> bool {
        let Place::Vacant(index) = self.place(|_| false, hash) else { return false };
        let Some(slot) = self.slots.get_mut(index) else { return false };
        *slot = entry;
        self.used = self.used.saturating_add(1);
        true
    }
}

/// Folds a key with the seed, as wyhash does: without the seed, an attacker cannot choose keys for one place.
fn hash(seed: [u64; 2], key: &RevocationKey) -> u64 {
    let whole = u128::from_le_bytes(*key.as_bytes());
    let (low, high) = halves(whole);
    let (low, high) = halves(u128::from(low ^ seed[0]).wrapping_mul(u128::from(high ^ seed[1])));
    low ^ high
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
const fn halves(whole: u128) -> (u64, u64) {
    (whole as u64, (whole >> 64) as u64)
}

/// The high bits choose the shard, the low ones the place in it.
fn shard_of(hash: u64, shards: usize) -> Option<usize> {
    scaled(hash, shards)
}

/// Scales a hash to a number below `count`, which need not be a power of two; `None` if `count` is 0.
fn scaled(hash: u64, count: usize) -> Option<usize> {
    let (_, share) = halves(u128::from(hash).wrapping_mul(count as u128));
    usize::try_from(share).ok().filter(|share| *share < count)
}
