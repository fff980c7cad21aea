//! The keys that tokens are verified with: where they come from, what of them is in force, and how all that prove tokens learn
//! of a change.
//!
//! What is in force is in the database, one set for each issuer, and a change of it has a place in the log of revocations. So
//! a removed key is in force nowhere once the log is confirmed up to that place, as a revoked token is. A filter asks for the
//! sets ([`Keys::hand_out`]), and this process follows them ([`Keys::follow`]).
//!
//! `shelf` decides which keys are in force, `issuers` says where each issuer's keys come from, `reading` reads the sets, shared
//! by all that wait, `current` holds those that this process proves tokens with, `demand` asks an issuer for a key that a token
//! names and nobody knows, `follow` looks for changes that others make, `desk`, `reports` and `held_back` have what callers ask for, and
//! `telling` the lines of the log.

mod counters;
mod current;
mod demand;
mod desk;
mod fetch;
mod file_reads;
mod files;
mod follow;
mod held_back;
mod issuers;
mod provider;
mod reading;
mod reports;
mod schedule;
pub mod shelf;
mod source;
mod telling;

use std::sync::Arc;
use std::time::Instant;

use curfew_core::{KeySets, PublishedKeys};
use futures_util::future::BoxFuture;

use crate::clock::Clock;
use crate::store::Store;
use crate::store::command::{Committed, Unavailable};
use crate::store::keys::{ChangeFetch, ChangeKeys, KeyStep, KeysChange, StoredKeys};
pub use counters::Counters;
use current::Current;
use demand::Demands;
pub use demand::{PAUSE_MS, claimed, may_be_asked};
pub use desk::{Holding, IssuerUnknown, KeyOfIssuer};
pub use fetch::{Cause, Document, FetchFailure, Fetched, Fetcher, NotFollowed, Outcome, Resolve};
use file_reads::FileReads;
pub use files::{FileWatch, Reread};
pub use held_back::{OutOfForce, Stored};
pub use issuers::{KeyIssuer, Origin};
pub use provider::Provider;
use reading::{Readings, Sets};
pub use reports::{KeyReport, LastFetch, SetReport, SetReports};
use shelf::Shelf;
pub use source::{Discovery, FetchTerms, KeySource, KeyUrl, Refused, Source, SourceName, take_source};
use telling::Telling;
pub use telling::shown;

/// Asks the issuer at this place in the policy for its keys now, shelves what it lists ([`Keys::shelve`]) and notes how that
/// ended ([`Keys::note_fetch`]). The caller has claimed the question ([`claimed`]), and gives the time that names it.
pub type FetchNow =
    Arc<dyn Fn(usize, i64) -> BoxFuture<'static, Result<Committed<KeysChange>, RefreshFailure>> + Send + Sync>;

/// Why an issuer's keys could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefreshFailure {
    /// The issuer has not given them.
    #[error("{detail}")]
    NotGiven {
        /// A stable code, for metrics.
        code: &'static str,
        /// What happened, in plain words: no text of the issuer's.
        detail: String,
    },
    /// They could not be stored.
    #[error("the keys could not be stored: {0}")]
    NotStored(#[from] Unavailable),
}

/// The key sets of all issuers of the policy.
pub struct Keys {
    /// In the policy's order.
    issuers: Vec<KeyIssuer>,
    current: Current,
    readings: Readings,
    demands: Demands,
    store: Store,
    clock: Clock,
    counters: Counters,
    telling: Telling,
    fetch: Option<FetchNow>,
    rendered: desk::Rendered,
    file_reads: FileReads,
    started: Instant,
}

impl Keys {
    /// Starts with the keys that stand in the settings: one set for each of the `issuers`, which are in the policy's order.
    pub fn new(issuers: Vec<KeyIssuer>, sets: KeySets, store: Store, clock: Clock, counters: Counters) -> Self {
        Self {
            current: Current::new(sets),
            readings: Readings::of(store.clone()),
            demands: Demands::of(issuers.len()),
            file_reads: FileReads::of(issuers.len()),
            issuers,
            store,
            clock,
            counters,
            telling: Telling::default(),
            fetch: None,
            rendered: desk::Rendered::default(),
            started: Instant::now(),
        }
    }

    /// The same, which can ask issuers for their keys.
    #[must_use]
    pub fn fetching(self, fetch: FetchNow) -> Self {
        Self { fetch: Some(fetch), ..self }
    }

    /// The sets of this moment. A proof is made with one such value, so it never sees half of a change.
    pub fn current(&self) -> KeySets {
        self.current.sets()
    }

    /// False if the keys of the issuer at this place come from a source that has not given any yet. A set without keys is known.
    pub fn are_known(&self, place: usize) -> bool {
        let is_asked_for = self.issuers.get(place).is_some_and(|issuer| matches!(issuer.origin, Origin::Source(_)));
        !is_asked_for || self.current.has_text(place)
    }

    /// The issuers, in the policy's order.
    pub fn issuers(&self) -> &[KeyIssuer] {
        &self.issuers
    }

    /// Puts the keys that stand in the settings on the shelf, forgets the stored set of each issuer that signs with a secret now,
    /// and takes over what is in force. No issuer is asked. The log moves only if the keys are others than before.
    ///
    /// # Errors
    ///
    /// The database could not be written.
    pub async fn start(&self) -> Result<(), Unavailable> {
        let shelves = self.store.shelves().await.map_err(|_| Unavailable::NotWritten)?.what;
        for (place, issuer) in self.issuers.iter().enumerate() {
            let has_row = reports::shelf_of(&shelves, issuer).is_some_and(|row| row.keys.is_some());
            match &issuer.origin {
                Origin::Settings { keys, from } => {
                    let _ = self.shelve(place, keys.clone(), from, None).await?;
                }
                Origin::Secret if has_row => {
                    let _ = self.change(place, Box::new(|_| KeyStep::Forget)).await?;
                }
                Origin::Source(source) => {
                    if let Some(keys) = issuer.initial.clone() {
                        let _ = self.shelve(place, keys, &source.shown, None).await?;
                    }
                }
                Origin::Secret => {}
            }
        }
        self.refresh().await;
        Ok(())
    }

    /// The issuer at this place lists these keys now. What operators hold back of them stays out of force, and a list that has
    /// no room does not come in force. `began_ms` names the question that has brought them, if one has.
    ///
    /// # Errors
    ///
    /// See [`Unavailable`].
    pub async fn shelve(
        &self,
        place: usize,
        listed: PublishedKeys,
        source: &str,
        began_ms: Option<i64>,
    ) -> Result<Committed<KeysChange>, Unavailable> {
        let committed = self.list(place, listed.clone(), source, began_ms, false).await?;
        match committed.outcome() {
            KeysChange::NoRoom { .. } => {
                // What the source lists no more goes out of force all the same.
                // Its caller is told that the list is not in force, so nothing is waited for.
                let _ = self.list(place, listed, source, began_ms, true).await?;
            }
            KeysChange::Same | KeysChange::Changed { .. } => {
                self.issuers.get(place).into_iter().for_each(|issuer| self.telling.has_room(issuer));
            }
            KeysChange::Overtaken | KeysChange::Refused(_) => {}
        }
        Ok(committed)
    }

    /// The issuer lists these keys now; with `only_known`, those that it has listed before.
    async fn list(
        &self,
        place: usize,
        listed: PublishedKeys,
        source: &str,
        began_ms: Option<i64>,
        only_known: bool,
    ) -> Result<Committed<KeysChange>, Unavailable> {
        let algorithms = self.issuers.get(place).map(|issuer| issuer.algorithms.clone()).unwrap_or_default();
        let (source, now) = (source.to_owned(), self.clock.now());
        let change = move |stored: Option<&StoredKeys>| {
            let shelf = stored.map_or(Ok(Shelf::default()), |stored| Shelf::stored(stored, &algorithms));
            match shelf {
                Ok(shelf) => {
                    let listed = listed.filtered(|key| !only_known || shelf.lists(key));
                    KeyStep::Put(shelf.listing(listed).texts(&source, now, stored))
                }
                Err(refusal) => KeyStep::Refuse(refusal),
            }
        };
        self.change_asked_for(place, began_ms, Box::new(change)).await
    }

    /// Notes something about the questions to the issuer at this place. True if it was written.
    ///
    /// # Errors
    ///
    /// See [`Unavailable`].
    pub async fn note_fetch(&self, place: usize, change: ChangeFetch) -> Result<bool, Unavailable> {
        let Some(issuer) = self.issuers.get(place) else { return Ok(false) };
        self.store.writer().change_fetch(issuer.name.clone(), change).await
    }

    /// Makes a change of the row of the issuer at this place, and proves tokens by what it leads to.
    async fn change(&self, place: usize, change: ChangeKeys) -> Result<Committed<KeysChange>, Unavailable> {
        self.change_asked_for(place, None, change).await
    }

    async fn change_asked_for(
        &self,
        place: usize,
        began_ms: Option<i64>,
        change: ChangeKeys,
    ) -> Result<Committed<KeysChange>, Unavailable> {
        let name = self.issuers.get(place).map(|issuer| issuer.name.clone()).ok_or(Unavailable::NotWritten)?;
        let writer = self.store.writer();
        let committed = match began_ms {
            Some(began_ms) => writer.change_keys_asked_for(name, began_ms, change).await?,
            None => writer.change_keys(name, change).await?,
        };
        self.changed(place, committed.outcome()).await;
        Ok(committed)
    }

    /// Tells of a change that was made of the row of the issuer at this place, and proves tokens by what it leads to.
    pub async fn changed(&self, place: usize, change: &KeysChange) {
        if let Some(issuer) = self.issuers.get(place) {
            self.telling.tell(place, issuer, change, &self.counters);
        }
        // Where the keys were the right ones already, another control plane may have changed them a moment ago.
        if matches!(change, KeysChange::Changed { .. } | KeysChange::Same) {
            self.refresh().await;
        }
    }

    /// Takes over what is in force, from a reading that begins now or later. False if there was none.
    async fn refresh(&self) -> bool {
        self.in_force_since(Instant::now()).await.is_some()
    }

    /// What is in force, from a reading that began at `since` or later; `None` if the database did not answer.
    async fn in_force_since(&self, since: Instant) -> Option<Sets> {
        let sets = self.readings.since(since).await?;
        self.current.take(&sets, &self.issuers, &self.counters);
        Some(sets)
    }
}
