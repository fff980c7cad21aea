//! What callers ask for: filters for the sets in force, and operators for changes of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use curfew_core::wire::{IssuerKeys, KeysAnswer, KeysRequest};
use curfew_core::{Algorithm, Epoch};
use serde::{Deserialize, Serialize};

use super::demand::claimed;
use super::reading::Sets;
use super::reports::shelf_of;
use super::shelf::{Hold, Shelf};
use super::{KeyIssuer, Keys, Origin, RefreshFailure};
use crate::store::ReadFailure;
use crate::store::command::Committed;
use crate::store::keys::{ChangeKeys, KeyRefusal, KeyStep, KeyTexts, KeysChange, ShelfRow, StoredKeys};

/// How long an answer to a filter waits for the first keys of an issuer: less than the filter waits by default.
const FIRST_KEYS: Duration = Duration::from_millis(300);

/// For how long after its start a process waits so.
const STARTING: Duration = Duration::from_secs(10);

/// The pause between two looks for them.
const FIRST_KEYS_PAUSE: Duration = Duration::from_millis(30);

/// No issuer is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuerUnknown;

/// A key of an issuer, as operators name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyOfIssuer {
    /// The issuer; it may be left out where there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The key's `kid` or its thumbprint.
    pub key: String,
}

/// The last answer to filters: most of them ask for the same issuers.
#[derive(Default)]
pub(super) struct Rendered(Mutex<Option<Answer>>);

struct Answer {
    issuers: Vec<String>,
    epoch: Epoch,
    keys_seq: u64,
    text: Arc<str>,
}

impl Keys {
    /// The answer to a filter as JSON, from a reading that began after the call. If a token is signed with a key that the filter
    /// does not know, newer keys are looked for first. `None` if the database does not answer.
    pub async fn hand_out(self: &Arc<Self>, request: &KeysRequest) -> Option<Arc<str>> {
        let refresh = request.refresh.as_deref().and_then(|issuer| self.named(issuer));
        if let Some(place) = refresh.filter(|place| self.is_asked_for(*place)) {
            self.demand(place).await;
        }
        let sets = self.with_first_keys(request).await?;
        if let Some(text) = self.rendered.text(request, &sets) {
            return Some(text);
        }
        let text: Arc<str> = serde_json::to_string(&self.answer(request, &sets)).ok()?.into();
        self.rendered.keep(request, &sets, Arc::clone(&text));
        Some(text)
    }

    /// What is in force. If this process has just started and an issuer that the filter asks about has no keys yet, they are waited
    /// for a little: the requests of a filter that has just started wait for this answer. Later an issuer without keys is one
    /// that does not give any, and the keys of the others are not to wait for it.
    async fn with_first_keys(&self, request: &KeysRequest) -> Option<Sets> {
        let begun = Instant::now();
        let until = begun + if begun.duration_since(self.started) < STARTING { FIRST_KEYS } else { Duration::ZERO };
        loop {
            let sets = self.in_force_since(Instant::now()).await?;
            let lacks = |issuer: &String| {
                self.named(issuer).is_some_and(|place| self.is_asked_for(place)) && sets.text(issuer).is_none()
            };
            if Instant::now() >= until || !request.issuers.iter().any(lacks) {
                return Some(sets);
            }
            tokio::time::sleep(FIRST_KEYS_PAUSE).await;
        }
    }

    /// The same as a value, without a look for newer keys: for a caller of its own, so that what most filters ask for stays at
    /// hand.
    pub async fn answer_for(&self, request: &KeysRequest) -> Option<KeysAnswer> {
        let sets = self.in_force_since(Instant::now()).await?;
        Some(self.answer(request, &sets))
    }

    fn answer(&self, request: &KeysRequest, sets: &Sets) -> KeysAnswer {
        let known = |issuer: &String| self.named(issuer).and_then(|place| self.issuers.get(place));
        let set = |issuer: &KeyIssuer| {
            let text = sets.text(&issuer.name).filter(|_| issuer.origin != Origin::Secret);
            let jwks = text.and_then(|text| serde_json::from_str(text).ok());
            IssuerKeys { issuer: issuer.name.clone(), jwks }
        };
        // Each one once, however often it is named.
        let named = request.issuers.iter().enumerate();
        let named =
            named.filter(|(place, issuer)| !request.issuers.iter().take(*place).any(|before| before == *issuer));
        let answered = named.filter_map(|(_, issuer)| known(issuer)).map(set).collect();
        KeysAnswer { epoch: sets.head.epoch, keys_seq: sets.keys_seq, sets: answered }
    }

    /// The place of the issuer that a caller means: the only one, if none is named.
    ///
    /// # Errors
    ///
    /// There is no such issuer, or there are several and none is named.
    pub fn place(&self, issuer: Option<&str>) -> Result<usize, IssuerUnknown> {
        match (issuer, self.issuers.len()) {
            (None, 1) => Ok(0),
            (None, _) => Err(IssuerUnknown),
            (Some(name), _) => self.named(name).ok_or(IssuerUnknown),
        }
    }

    /// The place of the issuer with this name.
    pub fn named(&self, name: &str) -> Option<usize> {
        self.issuers.iter().position(|issuer| issuer.name == name)
    }

    /// True if the keys of the issuer at this place come from a source that can be asked.
    fn is_asked_for(&self, place: usize) -> bool {
        self.issuers.get(place).is_some_and(|issuer| matches!(issuer.origin, Origin::Source(_)))
    }

    /// Has the keys of the issuer at this place fetched now, for an operator, however short ago it was asked.
    ///
    /// # Errors
    ///
    /// See [`RefreshFailure`].
    pub async fn fetch_for_operator(&self, place: usize) -> Result<Committed<KeysChange>, RefreshFailure> {
        let failure = |code, detail: &str| RefreshFailure::NotGiven { code, detail: detail.to_owned() };
        match self.issuers.get(place).map(|issuer| &issuer.origin) {
            Some(Origin::Settings { keys, from }) => Ok(self.shelve(place, keys.clone(), from, None).await?),
            Some(Origin::Source(_)) => {
                let fetch = self.fetch.as_ref().ok_or_else(|| failure("no_source", "There is nothing to ask."))?;
                let began_ms = self.begin(place, |row, now_ms| Some(claimed(row, now_ms))).await?;
                let unknown = || failure("not_noted", "The question could not be noted.");
                fetch(place, began_ms.ok_or_else(unknown)?).await
            }
            Some(Origin::Secret) | None => Err(failure("secret", "The issuer signs with a secret.")),
        }
    }

    /// The change by which an operator holds back a key of the issuer at this place, or lets it go.
    pub fn holding(&self, place: usize, what: Hold, key: String) -> Holding {
        let algorithms = self.issuers.get(place).map(|issuer| issuer.algorithms.clone()).unwrap_or_default();
        Holding::new(algorithms, what, key, self.clock.now())
    }

    /// What is stored of the issuer at this place; `None` if nothing is.
    pub(super) async fn shelf_row(&self, place: usize) -> Result<Option<ShelfRow>, ReadFailure> {
        let Some(issuer) = self.issuers.get(place) else { return Ok(None) };
        let shelves = self.store.shelves().await?;
        Ok(shelf_of(&shelves.what, issuer).cloned())
    }
}

/// A change by which an operator holds back a key, or lets it go.
pub struct Holding {
    change: ChangeKeys,
    known: Arc<AtomicBool>,
}

impl Holding {
    fn new(algorithms: Vec<Algorithm>, what: Hold, key: String, now: i64) -> Self {
        let known = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&known);
        let change = move |stored: Option<&StoredKeys>| {
            // What is not known yet can only be distrusted.
            if stored.is_none() && what != Hold::Distrust {
                return KeyStep::Refuse(KeyRefusal::NotFetched);
            }
            let shelf = stored.map_or(Ok(Shelf::default()), |stored| Shelf::stored(stored, &algorithms));
            let held = shelf.and_then(|shelf| {
                noted.store(shelf.knows(&key), Ordering::SeqCst);
                shelf.holding(what, &key, now)
            });
            match held {
                Ok(shelf) => KeyStep::Put(texts(&shelf, now, stored)),
                Err(refusal) => KeyStep::Refuse(refusal),
            }
        };
        Self { change: Box::new(change), known }
    }

    /// The change, and what says afterwards whether a key of the name was known.
    pub fn into_parts(self) -> (ChangeKeys, Arc<AtomicBool>) {
        (self.change, self.known)
    }
}

/// The row with this shelf. Where no keys are known, none are known afterwards either: that is something else than a set
/// without keys.
fn texts(shelf: &Shelf, now: i64, stored: Option<&StoredKeys>) -> KeyTexts {
    let texts = shelf.texts(stored.map_or("", |stored| &stored.texts.source), now, stored);
    match stored {
        Some(stored) if !stored.is_forgotten() => texts,
        _ => KeyTexts { jwks: String::new(), ..texts },
    }
}

impl Rendered {
    fn text(&self, request: &KeysRequest, sets: &Sets) -> Option<Arc<str>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let serves = |kept: &&Answer| {
            kept.issuers == request.issuers && kept.epoch == sets.head.epoch && kept.keys_seq == sets.keys_seq
        };
        kept.as_ref().filter(serves).map(|kept| Arc::clone(&kept.text))
    }

    fn keep(&self, request: &KeysRequest, sets: &Sets, text: Arc<str>) {
        let issuers = request.issuers.clone();
        let answer = Answer { issuers, epoch: sets.head.epoch, keys_seq: sets.keys_seq, text };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}
