//! What operators hold back of an issuer's keys.

use std::collections::{BTreeMap, BTreeSet};

use curfew_core::{PublishedKey, PublishedKeys};
use serde::{Deserialize, Serialize};

use super::Standing;

/// The most keys that are remembered for one distrusted name. A source that publishes a new key under it each day takes ten
/// years for so many. Those after them are kept out by the name alone.
const MOST_THUMBPRINTS: usize = 4096;

/// What is held back, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holds {
    /// The removed keys by their thumbprints, as long as they are listed.
    #[serde(default)]
    removed: BTreeMap<String, Removed>,
    /// What is distrusted, by the name that the operator gave.
    #[serde(default)]
    distrusted: BTreeMap<String, Distrusted>,
}

/// A removed key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removed {
    /// Since when, seconds of Unix time.
    pub since: i64,
}

/// What is distrusted under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distrusted {
    /// Since when, seconds of Unix time.
    pub since: i64,
    /// True if the name is a `kid`, and not only a thumbprint. Then every key with this `kid` is distrusted.
    pub by_kid: bool,
    /// The thumbprints of the keys that are distrusted under any `kid`.
    pub thumbprints: BTreeSet<String>,
}

impl Holds {
    /// How a listed key stands. A distrust outlasts a removal, and is told before it.
    pub(super) fn standing(&self, key: &PublishedKey) -> Standing {
        let of_kid = key.kid.as_ref().and_then(|kid| self.distrusted.get(kid)).filter(|distrusted| distrusted.by_kid);
        let of_key = || self.distrusted.values().find(|distrusted| distrusted.thumbprints.contains(&key.thumbprint));
        match (of_kid.or_else(of_key), self.removed.get(&key.thumbprint)) {
            (Some(distrusted), _) => Standing::Distrusted(distrusted.since),
            (None, Some(removed)) => Standing::Removed(removed.since),
            (None, None) => Standing::InForce,
        }
    }

    /// What is distrusted, by the name that the operator gave.
    pub fn distrusted(&self) -> impl Iterator<Item = (&str, &Distrusted)> {
        self.distrusted.iter().map(|(name, distrusted)| (name.as_str(), distrusted))
    }

    /// True if a key of this name was listed while it was distrusted.
    pub(super) fn has_met(&self, name: &str) -> bool {
        // A name that no key had is noted as a `kid` and as a thumbprint: it may be either.
        let met = |(own, distrusted): (&String, &Distrusted)| {
            let mut others = distrusted.thumbprints.iter().filter(|thumbprint| *thumbprint != own);
            match own == name {
                true => !distrusted.by_kid || others.next().is_some(),
                false => others.any(|thumbprint| thumbprint == name),
            }
        };
        self.distrusted.iter().any(met)
    }

    /// The source lists these keys now: removals of others are over, and keys under a distrusted name are distrusted for
    /// good.
    pub(super) fn listed(&mut self, listed: &PublishedKeys) {
        self.removed.retain(|thumbprint, _| listed.iter().any(|key| key.thumbprint == *thumbprint));
        for key in listed.iter() {
            let distrusted = key.kid.as_ref().and_then(|kid| self.distrusted.get_mut(kid));
            if let Some(distrusted) = distrusted.filter(|distrusted| distrusted.by_kid) {
                distrusted.note(key);
            }
        }
    }

    /// Removes keys; false if there are none.
    pub(super) fn remove(&mut self, keys: &[&PublishedKey], now: i64) -> bool {
        for key in keys {
            self.removed.entry(key.thumbprint.clone()).or_insert(Removed { since: now });
        }
        !keys.is_empty()
    }

    /// Distrusts keys under the name that they were given by, and all that will be listed under it. A name that no listed key
    /// has may be the `kid` or the thumbprint of one that is listed no more, or not yet.
    pub(super) fn distrust(&mut self, keys: &[&PublishedKey], name: &str, now: i64) {
        let fresh = || Distrusted { since: now, ..Distrusted::default() };
        let distrusted = self.distrusted.entry(name.to_owned()).or_insert_with(fresh);
        let is_unlisted = keys.is_empty() && distrusted.thumbprints.is_empty();
        distrusted.by_kid |= is_unlisted || keys.iter().any(|key| key.kid.as_deref() == Some(name));
        if is_unlisted {
            distrusted.thumbprints.insert(name.to_owned());
        }
        keys.iter().for_each(|key| distrusted.note(key));
    }

    /// Lets go what is held back under a name; false if there is nothing of that name. A distrusted `kid` is let go by that name alone: with one
    /// of its keys let go, the others would stay away for a reason that nobody sees.
    pub(super) fn trust(&mut self, name: &str, listed: &[&PublishedKey]) -> bool {
        let distrusted = self.distrusted.remove(name).is_some();
        let removed = listed.iter().filter(|key| self.removed.remove(&key.thumbprint).is_some()).count();
        distrusted || removed > 0 || !listed.is_empty()
    }
}

impl Distrusted {
    fn note(&mut self, key: &PublishedKey) {
        if self.thumbprints.len() < MOST_THUMBPRINTS {
            self.thumbprints.insert(key.thumbprint.clone());
        }
    }
}
