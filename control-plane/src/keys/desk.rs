//! What callers ask for: filters for the sets in force, operators for what is known of each issuer and for changes of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use curfew_core::wire::{IssuerKeys, KeysAnswer, KeysRequest};
use curfew_core::{Algorithm, Epoch, IssuerId};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::counters::IssuerLabel;
use super::reading::Sets;
use super::shelf::{Hold, Shelf, Standing};
use super::{KeyIssuer, Keys, Origin, RefreshFailure};
use crate::store::ReadFailure;
use crate::store::command::Committed;
use crate::store::keys::{ChangeKeys, KeyRefusal, KeyStep, KeysChange, ShelfRow, StoredFetch, StoredKeys};

/// How often this process looks for changes that others have made.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// How many of these looks pass until it looks for what others know of the questions to issuers, for the metrics.
const LOOKS_FOR_METRICS: u32 = 15;

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

/// What is known of all issuers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetReports {
    /// The log's history.
    pub epoch: Epoch,
    /// The newest change of keys in it.
    pub keys_seq: u64,
    /// The issuers, in the order of the configuration.
    pub sets: Vec<SetReport>,
}

/// What is known of one issuer's keys. Times are seconds of Unix time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetReport {
    /// The issuer; "" for the one without a name.
    pub issuer: String,
    /// Where its keys come from.
    pub source: String,
    /// True if it signs with a secret. Then nothing else is told.
    pub secret: bool,
    /// Its keys. `None` if none are known yet.
    pub keys: Option<Vec<KeyReport>>,
    /// The names that are distrusted, whether a key carries them now or not.
    pub distrusted: Vec<String>,
    /// When the keys in force changed last.
    pub changed_at: Option<i64>,
    /// When its source gave the present list first.
    pub listed_at: Option<i64>,
    /// How the questions to it went, if it was asked.
    pub fetch: Option<LastFetch>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReport {
    /// Its name. It is the issuer's, and may hold anything.
    pub kid: Option<String>,
    /// Its thumbprint (RFC 7638).
    pub thumbprint: String,
    /// The algorithms that it serves.
    pub algorithms: Vec<String>,
    /// `in_force`, `removed` or `distrusted`.
    pub state: String,
    /// Since when it is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
}

/// The last question to an issuer. Times are seconds of Unix time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFetch {
    /// When it began.
    pub started_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// When the last good answer came.
    pub good_at: Option<i64>,
    /// How long ago that is, in seconds, by this control plane's clock.
    pub good_age: Option<i64>,
    /// When the next question is due.
    pub next_at: Option<i64>,
    /// Failures since the last good answer.
    pub failures: u64,
    /// Why the last question failed, as a code.
    pub error_code: Option<String>,
    /// The same, for people.
    pub error: Option<String>,
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
        let sets = self.in_force_since(Instant::now()).await?;
        if let Some(text) = self.rendered.text(request, &sets) {
            return Some(text);
        }
        let text: Arc<str> = serde_json::to_string(&self.answer(request, &sets)).ok()?.into();
        self.rendered.keep(request, &sets, Arc::clone(&text));
        Some(text)
    }

    fn answer(&self, request: &KeysRequest, sets: &Sets) -> KeysAnswer {
        let known = |issuer: &String| self.named(issuer).and_then(|place| self.issuers.get(place));
        let set = |issuer: &KeyIssuer| {
            let text = sets.text(&issuer.name).filter(|_| issuer.origin != Origin::Secret);
            let jwks = text.and_then(|text| serde_json::from_str(text).ok());
            IssuerKeys { issuer: issuer.name.clone(), jwks }
        };
        let answered = request.issuers.iter().filter_map(known).map(set).collect();
        KeysAnswer { epoch: sets.head.epoch, keys_seq: sets.keys_seq, sets: answered }
    }

    /// Follows the changes that other control planes make, until it is told to stop.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut looks: u32 = 0;
        loop {
            tokio::select! {
                () = sleep(LOOK_PAUSE) => {}
                () = stop.cancelled() => return,
            }
            if looks.is_multiple_of(LOOKS_FOR_METRICS) {
                self.measure().await;
            }
            looks = looks.wrapping_add(1);
            self.refresh().await;
        }
    }

    /// Shows in the metrics when each issuer last gave its keys, whichever control plane asked.
    async fn measure(&self) {
        if !self.issuers.iter().any(|issuer| matches!(issuer.origin, Origin::Source(_))) {
            return;
        }
        let Ok(shelves) = self.store.shelves().await else { return };
        for issuer in &self.issuers {
            let row = shelf_of(&shelves.what, issuer);
            if let Some(good_at) = row.and_then(|row| row.fetch.as_ref()).and_then(|fetch| fetch.good_at_ms) {
                let label = IssuerLabel { issuer: issuer.name.clone() };
                self.counters.listed.get_or_create(&label).set(good_at / 1000);
            }
        }
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
                let began_ms = self.begin(place, |_, _| true).await?;
                let unknown = || failure("not_noted", "The question could not be noted.");
                fetch(place, began_ms.ok_or_else(unknown)?).await
            }
            Some(Origin::Secret) | None => Err(failure("secret", "The issuer signs with a secret.")),
        }
    }

    /// The change by which an operator holds back a key of the issuer at this place, or lets it go.
    pub fn holding(&self, place: usize, what: Hold, key: String) -> ChangeKeys {
        let algorithms = self.issuers.get(place).map(|issuer| issuer.algorithms.clone()).unwrap_or_default();
        hold(algorithms, what, key, self.clock.now())
    }

    /// What is stored of the issuer at this place; `None` if nothing is.
    pub(super) async fn shelf_row(&self, place: usize) -> Result<Option<ShelfRow>, ReadFailure> {
        let Some(issuer) = self.issuers.get(place) else { return Ok(None) };
        let shelves = self.store.shelves().await?;
        Ok(shelf_of(&shelves.what, issuer).cloned())
    }

    /// What is known of all issuers.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn reports(&self) -> Result<SetReports, ReadFailure> {
        let shelves = self.store.shelves().await?;
        let report = |issuer| self.report(issuer, shelf_of(&shelves.what, issuer));
        let sets = self.issuers.iter().map(report).collect();
        Ok(SetReports { epoch: shelves.head.epoch, keys_seq: shelves.keys_seq, sets })
    }

    fn report(&self, issuer: &KeyIssuer, row: Option<&ShelfRow>) -> SetReport {
        let secret = issuer.origin == Origin::Secret;
        let row = row.filter(|_| !secret);
        let keys = row.and_then(|row| row.keys.as_ref());
        let shelf = keys.and_then(|keys| Shelf::stored(keys, &issuer.algorithms).ok());
        let source = match &issuer.origin {
            Origin::Settings { from, .. } => from.clone(),
            Origin::Source(words) => words.clone(),
            Origin::Secret => "a secret".to_owned(),
        };
        let names = |shelf: &Shelf| shelf.holds().distrusted().map(|(name, _)| name.to_owned()).collect();
        SetReport {
            issuer: issuer.name.clone(),
            source,
            secret,
            distrusted: shelf.as_ref().map(names).unwrap_or_default(),
            keys: shelf.map(|shelf| key_reports(&shelf)),
            changed_at: keys.map(|keys| keys.changed_at),
            listed_at: keys.map(|keys| keys.texts.listed_at),
            fetch: row.and_then(|row| row.fetch.as_ref()).map(|fetch| last_fetch(fetch, self.clock.now())),
        }
    }
}

/// The change by which an operator holds back a key, or lets it go, at `now`.
pub fn hold(algorithms: Vec<Algorithm>, what: Hold, key: String, now: i64) -> ChangeKeys {
    Box::new(move |stored: Option<&StoredKeys>| {
        let Some(stored) = stored else { return KeyStep::Refuse(KeyRefusal::NotFetched) };
        let held = Shelf::stored(stored, &algorithms).and_then(|shelf| shelf.holding(what, &key, now));
        match held {
            Ok(shelf) => KeyStep::Put(shelf.texts(&stored.texts.source, now, Some(stored))),
            Err(refusal) => KeyStep::Refuse(refusal),
        }
    })
}

fn shelf_of<'r>(rows: &'r [ShelfRow], issuer: &KeyIssuer) -> Option<&'r ShelfRow> {
    let id = IssuerId::of(&issuer.name);
    rows.iter().find(|row| row.issuer == id)
}

fn key_reports(shelf: &Shelf) -> Vec<KeyReport> {
    let reports = shelf.keys().map(|(key, standing)| {
        let (state, since) = match standing {
            Standing::InForce => ("in_force", None),
            Standing::Removed(since) => ("removed", Some(since)),
            Standing::Distrusted(since) => ("distrusted", Some(since)),
        };
        let algorithms = key.algorithms.iter().map(|algorithm| algorithm.as_str().to_owned()).collect();
        let (kid, thumbprint) = (key.kid.clone(), key.thumbprint.clone());
        KeyReport { kid, thumbprint, algorithms, state: state.to_owned(), since }
    });
    reports.collect()
}

fn last_fetch(fetch: &StoredFetch, now: i64) -> LastFetch {
    let seconds = |ms: Option<i64>| ms.map(|ms| ms / 1000);
    let good_at = seconds(fetch.good_at_ms);
    LastFetch {
        started_at: seconds(fetch.started_at_ms),
        finished_at: seconds(fetch.finished_at_ms),
        good_at,
        good_age: good_at.map(|good_at| now.saturating_sub(good_at).max(0)),
        next_at: seconds(fetch.next_at_ms),
        failures: fetch.failures,
        error_code: fetch.error_code.clone(),
        error: fetch.error.clone(),
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
