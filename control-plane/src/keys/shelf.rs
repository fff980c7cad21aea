//! What an issuer's source lists, what operators hold back of it, and the set in force that follows. Pure.
//!
//! Two things take a key out of force. A key that was *removed* stays away for as long as the source goes on listing it, and
//! is forgotten with the listing. What was *distrusted* stays away until an operator trusts it again: a key by its
//! thumbprint, so that it cannot come back under another name, and a name with every key that ever carried it. A key that
//! is published later under a distrusted name is distrusted, too, for good.
//!
//! A set without keys is a set: operators may take the last key away, and then no token of the issuer is proven.

mod holds;
#[cfg(test)]
mod tests;

use curfew_core::{Algorithm, PublishedKey, PublishedKeys, read_document};

use crate::store::keys::{KeyRefusal, KeyTexts, StoredKeys};
pub use holds::{Distrusted, Holds, Removed};

/// The keys of one issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shelf {
    listed: PublishedKeys,
    holds: Holds,
}

/// What an operator does to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Takes it out of force, until the source has ceased to list it.
    Remove,
    /// Takes it out of force, and all that ever carried its name, until it is trusted again.
    Distrust,
    /// Ends both.
    Trust,
}

/// Whether a key proves tokens. Times are seconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    InForce,
    /// An operator has removed it, and the source still lists it.
    Removed(i64),
    /// An operator has distrusted it.
    Distrusted(i64),
}

impl Standing {
    /// Its stable word, and since when the key is not in force.
    pub const fn told(self) -> (&'static str, Option<i64>) {
        match self {
            Self::InForce => ("in_force", None),
            Self::Removed(since) => ("removed", Some(since)),
            Self::Distrusted(since) => ("distrusted", Some(since)),
        }
    }
}

impl Shelf {
    /// The shelf in a stored row. `algorithms` are those that tokens of the issuer may have now.
    ///
    /// # Errors
    ///
    /// The row was written by a version that this one does not understand. What is held back is not known then.
    pub fn stored(keys: &StoredKeys, algorithms: &[Algorithm]) -> Result<Self, KeyRefusal> {
        let unreadable = KeyRefusal::Unreadable;
        let holds = serde_json::from_str(&keys.texts.holds).map_err(|_| unreadable)?;
        Ok(Self { listed: published(&keys.texts.listed, algorithms).ok_or(unreadable)?, holds })
    }

    /// The same with what the source lists now.
    #[must_use]
    pub fn listing(mut self, listed: PublishedKeys) -> Self {
        self.holds.listed(&listed);
        Self { listed, holds: self.holds }
    }

    /// The same with a key held back, or let go, at `now`. The key has this name if it is its `kid` or its thumbprint.
    ///
    /// # Errors
    ///
    /// No key has this name. Only listed keys can be removed.
    pub fn holding(mut self, hold: Hold, name: &str, now: i64) -> Result<Self, KeyRefusal> {
        let named: Vec<_> = self.listed.iter().filter(|key| is_named(key, name)).collect();
        let done = match hold {
            Hold::Remove => self.holds.remove(&named, now),
            Hold::Distrust => {
                self.holds.distrust(&named, name, now);
                true
            }
            Hold::Trust => self.holds.trust(name, &named),
        };
        if done { Ok(self) } else { Err(KeyRefusal::UnknownKey) }
    }

    /// The keys that the source lists, in force or not.
    pub const fn listed(&self) -> &PublishedKeys {
        &self.listed
    }

    /// True if a key of this name, its `kid` or its thumbprint, is listed, or was listed while it was distrusted. Other keys are
    /// forgotten with the listing.
    pub fn knows(&self, name: &str) -> bool {
        self.listed.iter().any(|key| is_named(key, name)) || self.holds.has_met(name)
    }

    /// True if the source has listed this very key.
    pub fn lists(&self, key: &PublishedKey) -> bool {
        self.listed.iter().any(|listed| listed == key)
    }

    /// The keys that prove tokens.
    pub fn in_force(&self) -> PublishedKeys {
        self.listed.filtered(|key| self.holds.standing(key) == Standing::InForce)
    }

    /// The keys that the source lists, and how each stands.
    pub fn keys(&self) -> impl Iterator<Item = (&PublishedKey, Standing)> {
        self.listed.iter().map(|key| (key, self.holds.standing(key)))
    }

    /// What operators hold back.
    pub const fn holds(&self) -> &Holds {
        &self.holds
    }

    /// The row to store. `before` is the row that it takes the place of.
    pub fn texts(&self, source: &str, now: i64, before: Option<&StoredKeys>) -> KeyTexts {
        let listed = self.listed.to_jwks().to_string();
        let as_before = before.map(|before| &before.texts).filter(|before| before.listed == listed);
        KeyTexts {
            jwks: self.in_force().to_jwks().to_string(),
            holds: serde_json::to_string(&self.holds).unwrap_or_default(),
            source: source.to_owned(),
            listed_at: as_before.map_or(now, |before| before.listed_at),
            listed,
        }
    }
}

/// True if an operator means this key by the name.
fn is_named(key: &PublishedKey, name: &str) -> bool {
    key.kid.as_deref() == Some(name) || key.thumbprint == name
}

/// The keys in a stored text.
pub fn published(text: &str, algorithms: &[Algorithm]) -> Option<PublishedKeys> {
    let document = read_document(text.as_bytes()).ok()?;
    PublishedKeys::read(&document, algorithms).ok().map(|(keys, _)| keys)
}
