//! The sets that this process proves tokens with. They follow what is in force.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use curfew_core::{Epoch, KeySet, KeySets, read_document};
use tokio::sync::watch;
use tracing::{debug, error};

use super::counters::{Counters, IssuerLabel};
use super::issuers::{KeyIssuer, Origin};
use super::reading::Sets;

/// The sets, and the reading that they are from.
pub(super) struct Current {
    /// The keys that stand in the settings.
    settings: KeySets,
    sets: watch::Sender<KeySets>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    from: Option<From>,
    /// The text that each issuer's set was read from; `None` for a set that stands in the settings.
    texts: Vec<Option<String>>,
}

#[derive(Clone, Copy)]
struct From {
    began: Instant,
    epoch: Epoch,
    keys_seq: u64,
}

impl From {
    /// True if a reading may take the place of this one. Within a history a change is never taken back. Of two histories, the
    /// one that a later reading showed is the later one.
    fn gives_way_to(self, sets: &Sets) -> bool {
        if self.epoch == sets.head.epoch { sets.keys_seq > self.keys_seq } else { sets.began > self.began }
    }
}

impl Current {
    pub(super) fn new(settings: KeySets) -> Self {
        Self { sets: watch::Sender::new(settings.clone()), settings, held: Mutex::default() }
    }

    pub(super) fn sets(&self) -> KeySets {
        self.sets.borrow().clone()
    }

    /// Takes a reading over, unless a newer one has been taken.
    pub(super) fn take(&self, sets: &Sets, issuers: &[KeyIssuer], counters: &Counters) {
        let mut held = self.held();
        if held.from.is_some_and(|from| !from.gives_way_to(sets)) {
            return;
        }
        debug!(keys_seq = sets.keys_seq, epoch = %sets.head.epoch, "the keys in force are taken over");
        held.from = Some(From { began: sets.began, epoch: sets.head.epoch, keys_seq: sets.keys_seq });
        held.texts.resize(issuers.len(), None);
        let mut new = self.sets();
        for (place, (issuer, known)) in issuers.iter().zip(&mut held.texts).enumerate() {
            if let Some(replaced) = self.replaced(&new, place, issuer, sets.text(&issuer.name), known) {
                new = replaced;
            }
            let label = IssuerLabel { issuer: place };
            counters.in_force.get_or_create(&label).set(count(new.get(place)));
        }
        self.sets.send_replace(new);
    }

    /// The sets with that of one issuer replaced; `None` if it stays.
    fn replaced(
        &self,
        sets: &KeySets,
        place: usize,
        issuer: &KeyIssuer,
        text: Option<&str>,
        known: &mut Option<String>,
    ) -> Option<KeySets> {
        if issuer.origin == Origin::Secret || known.as_deref() == text {
            return None;
        }
        *known = text.map(str::to_owned);
        let set = match text {
            Some(text) => read(issuer, text),
            // Nothing is held back of keys that are not stored.
            None => self.settings.get(place).map(|set| set.filtered(|_| true)).unwrap_or_default(),
        };
        sets.with(place, set)
    }

    /// True if a set of the issuer at this place is stored.
    pub(super) fn has_text(&self, place: usize) -> bool {
        self.held().texts.get(place).is_some_and(Option::is_some)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The set in a stored text. One that cannot be read has no key: it may be that of a newer version, which has removed others.
fn read(issuer: &KeyIssuer, text: &str) -> KeySet {
    let document = read_document(text.as_bytes()).ok();
    let set = document.and_then(|jwks| KeySet::read_handed_out(&jwks, &issuer.algorithms).ok());
    set.unwrap_or_else(|| {
        error!(issuer = issuer.shown(), "the stored keys of an issuer cannot be read: none of its tokens is accepted");
        KeySet::default()
    })
}

fn count(set: Option<&KeySet>) -> i64 {
    i64::try_from(set.map_or(0, |set| set.keys().count())).unwrap_or(i64::MAX)
}
