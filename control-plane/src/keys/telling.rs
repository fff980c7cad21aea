//! The lines of the log about changes of keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use curfew_core::{Algorithm, Mistake, PublishedKey, is_plain};
use tracing::{info, warn};

use super::Keys;
use super::counters::{Counters, IssuerLabel};
use super::issuers::KeyIssuer;
use super::shelf::published;
use crate::store::keys::{KeyRefusal, KeysChange};

/// The most keys that one line names.
const NAMED: usize = 20;

/// What has been told, so that a trouble that lasts is told once.
#[derive(Default)]
pub(super) struct Telling {
    /// The size of the list that has no room, for each issuer with such a list.
    no_room: Mutex<BTreeMap<String, usize>>,
    /// The keys of each issuer's last list that were not used.
    unused: Mutex<BTreeMap<String, Vec<Mistake>>>,
}

impl Telling {
    /// Counts a change, and tells of it if it is news.
    pub(super) fn tell(&self, place: usize, issuer: &KeyIssuer, change: &KeysChange, counters: &Counters) {
        let label = IssuerLabel { issuer: place };
        match change {
            KeysChange::Changed { before, after } => {
                counters.changes.get_or_create(&label).inc();
                tell_of_keys(issuer, before.as_deref(), after.as_deref());
            }
            KeysChange::NoRoom { bytes } => {
                counters.no_room.get_or_create(&label).inc();
                let mut no_room = self.no_room.lock().unwrap_or_else(PoisonError::into_inner);
                if no_room.insert(issuer.name.clone(), *bytes) != Some(*bytes) {
                    warn!(
                        issuer = issuer.shown(),
                        bytes, "an issuer's keys have no room and do not come in force: the last ones stay"
                    );
                }
            }
            KeysChange::Refused(KeyRefusal::Unreadable) => warn!(
                issuer = issuer.shown(),
                "what is stored of an issuer's keys was written by a newer version: it is left as it is"
            ),
            KeysChange::Same
            | KeysChange::Overtaken
            | KeysChange::Refused(KeyRefusal::NotFetched | KeyRefusal::UnknownKey) => {}
        }
    }

    /// A whole list of an issuer is in force. The next one that has no room is news.
    pub(super) fn has_room(&self, issuer: &KeyIssuer) {
        self.no_room.lock().unwrap_or_else(PoisonError::into_inner).remove(&issuer.name);
    }
}

impl Keys {
    /// Tells of the keys of a list that are not used, unless the last list of the issuer had the same.
    pub(super) fn tell_unused(&self, issuer: &KeyIssuer, unused: &[Mistake]) {
        let mut told = self.telling.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.insert(issuer.name.clone(), unused.to_vec()).unwrap_or_default();
        for key in unused.iter().filter(|key| !before.contains(key)).take(NAMED) {
            warn!(issuer = issuer.shown(), key = %key, "a key of an issuer is not used");
        }
    }
}

fn tell_of_keys(issuer: &KeyIssuer, before: Option<&str>, after: Option<&str>) {
    let (before, after) = (names(before, &issuer.algorithms), names(after, &issuer.algorithms));
    let (added, gone) = (listed(after.difference(&before)), listed(before.difference(&after)));
    info!(issuer = issuer.shown(), added, gone, in_force = after.len(), "the keys of an issuer have changed");
}

/// The keys in a text, by the names that may stand in the log.
fn names(text: Option<&str>, algorithms: &[Algorithm]) -> BTreeSet<String> {
    let keys = text.and_then(|text| published(text, algorithms)).unwrap_or_default();
    keys.iter().map(name).collect()
}

/// The `kid`, if it is short and plain, with the beginning of the thumbprint: two keys may have one `kid`.
fn name(key: &PublishedKey) -> String {
    let kid = key.kid.as_deref().map_or("(no kid)", shown);
    format!("{kid} {}", key.thumbprint.get(..8).unwrap_or_default())
}

/// A word of the issuer's, if it may stand in a line of the log or on a terminal.
pub fn shown(word: &str) -> &str {
    if is_plain(word) { word } else { "(unusual)" }
}

fn listed<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    let first = names.get(..NAMED.min(names.len())).unwrap_or_default().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_are_shown() {
        for word in ["2024-key", "a:b/c=", "~"] {
            assert_eq!(shown(word), word);
        }
        let long = "x".repeat(129);
        for word in ["", "\u{1b}[31m", "a b", "a\nb", "é", long.as_str()] {
            assert_eq!(shown(word), "(unusual)", "{word:?}");
        }
    }

    #[test]
    fn a_line_names_some_keys_and_counts_the_others() {
        let names: Vec<_> = (10..35).map(|number| number.to_string()).collect();
        let line = listed(names.iter());
        assert!(line.starts_with("10, 11, ") && line.ends_with("28, 29 and 5 more"), "{line}");
        assert_eq!(listed(names.iter().take(2)), "10, 11");
    }
}
