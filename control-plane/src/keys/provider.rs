//! Asks issuers for their keys: when it is due, when a token names an unknown key, and when an operator wants it.
//!
//! `fetch` knows how to ask, `schedule` when, and `shelf` what becomes of the answer. Here they meet, with what the database
//! has noted of earlier questions, whichever control plane asked. A question is begun by noting it, so of several control
//! planes one asks, and what an overtaken question brings is thrown away.

mod asked;
mod noted;

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::counters::{Counters, FailureLabel, IssuerLabel};
use super::demand::{claimed, is_under_way};
use super::fetch::{FetchFailure, Fetched, Fetcher, Outcome};
use super::files::{FileWatch, Reread};
use super::schedule::{FetchEnd, next_fetch};
use super::source::KeySource;
use super::{FetchNow, Keys, RefreshFailure};
use crate::store::command::Committed;
use crate::store::keys::{KeyStep, KeysChange, StoredFetch};
use asked::{Asked, Ended};
use noted::{Noted, due_in, may_be_asked_anew};

/// How long a control plane waits at most until it looks again at what is noted: others may have asked meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How soon it looks again after a look that the database did not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often a question is begun anew because another control plane has begun one since.
const ATTEMPTS: u32 = 3;

/// The questions to all issuers whose keys come from a source.
pub struct Provider {
    fetcher: Fetcher,
    /// In the policy's order.
    asked: Vec<Option<Asked>>,
    keys: OnceLock<Weak<Keys>>,
    counters: Counters,
}

impl Provider {
    /// Asks these sources, one for each issuer of the policy.
    pub fn new(sources: Vec<Option<KeySource>>, counters: Counters) -> Arc<Self> {
        let asked = sources.into_iter().map(|source| source.map(Asked::of)).collect();
        Arc::new(Self { fetcher: Fetcher::default(), asked, keys: OnceLock::new(), counters })
    }

    /// What asks an issuer now.
    pub fn fetch_now(self: &Arc<Self>) -> FetchNow {
        let provider = Arc::clone(self);
        Arc::new(move |place, began_ms| {
            let provider = Arc::clone(&provider);
            Box::pin(async move { provider.ask(place, began_ms).await })
        })
    }

    /// Reads all files again and asks all issuers, as an operator wants by SIGHUP.
    pub fn hang_up(&self) {
        for asked in self.asked.iter().flatten() {
            asked.reread.iter().for_each(Reread::reread);
            // Kept for a task that does not listen at this moment.
            asked.hangup.notify_one();
        }
    }

    /// Asks each issuer when it is due, until it is told to stop. `keys` shelves what they list.
    pub async fn run(self: Arc<Self>, keys: &Arc<Keys>, stop: CancellationToken) {
        // A second call would find the same keys.
        let _ = self.keys.set(Arc::downgrade(keys));
        let mut tasks = tokio::task::JoinSet::new();
        for place in 0..self.asked.len() {
            let provider = Arc::clone(&self);
            tasks.spawn(async move { provider.follow(place).await });
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = async { while tasks.join_next().await.is_some() {} stop.cancelled().await } => {}
        }
        // What is asked at this moment ends with the process: its claim is over in some seconds.
        tasks.shutdown().await;
    }

    async fn follow(&self, place: usize) {
        let Some(Some(asked)) = self.asked.get(place) else { return };
        let file = asked.file.lock().await.take();
        match file {
            Some(file) => self.follow_file(place, asked, file).await,
            None => self.follow_issuer(place, asked).await,
        }
    }

    async fn follow_file(&self, place: usize, asked: &Asked, mut file: FileWatch) {
        loop {
            let read = file.next().await;
            let Some(keys) = self.keys() else { return };
            let listed = read.and_then(|jwks| keys.listed(place, asked, &jwks));
            match listed {
                Ok(listed) => {
                    asked.told(None);
                    keys.read_file_ended(place, Ok(()));
                    if keys.shelve(place, listed, &asked.source.shown(), None).await.is_err() {
                        // The file is as it was; it is read again with the next look.
                        sleep(LOOK_AGAIN).await;
                        asked.reread.iter().for_each(Reread::reread);
                    }
                }
                Err(failure) => {
                    keys.read_file_ended(place, Err(&failure));
                    self.failed(&keys, place, asked, &failure);
                }
            }
        }
    }

    async fn follow_issuer(&self, place: usize, asked: &Asked) {
        loop {
            let Some(keys) = self.keys() else { return };
            let wait = self.ask_if_due(&keys, place, asked).await;
            tokio::select! {
                () = sleep(wait.min(LOOK_EVERY)) => {}
                () = asked.hangup.notified() => {
                    let _ = keys.fetch_for_operator(place).await;
                }
            }
        }
    }

    /// Asks the issuer if that is due. Returns for how long nothing has to be done.
    async fn ask_if_due(&self, keys: &Arc<Keys>, place: usize, asked: &Asked) -> Duration {
        let Ok(row) = keys.noted(place).await else { return LOOK_AGAIN };
        let terms = asked.source.terms.clone();
        let longest = i64::try_from(terms.max_interval.as_millis()).unwrap_or(i64::MAX);
        let is_new = !asked.has_asked.load(Ordering::SeqCst) && row.is_from_elsewhere(asked);
        let left_of = move |row: Option<&StoredFetch>, now_ms: i64| match is_new && may_be_asked_anew(row, now_ms) {
            true => 0,
            false => due_in(row, now_ms, longest),
        };
        let due =
            move |row: Option<&StoredFetch>, now_ms: i64| (left_of(row, now_ms) == 0).then(|| claimed(row, now_ms));
        let now_ms = keys.now_ms();
        let left = left_of(row.fetch.as_ref(), now_ms);
        if left > 0 {
            // It was asked in vain a moment ago.
            Self::forget_if_over(keys, place, asked, &row).await;
            return Duration::from_millis(left.unsigned_abs());
        }
        match keys.begin(place, due).await {
            Ok(Some(began_ms)) => {
                // Where intervals are short, the next question is due before the next look.
                if self.ask(place, began_ms).await.is_err()
                    && let Ok(row) = keys.noted(place).await
                {
                    Self::forget_if_over(keys, place, asked, &row).await;
                }
            }
            Ok(None) => {}
            Err(_) => return LOOK_AGAIN,
        }
        LOOK_AGAIN
    }

    /// Forgets the keys of an issuer that was just asked in vain, if they have been kept for as long as they may.
    async fn forget_if_over(keys: &Keys, place: usize, asked: &Asked, row: &Noted) {
        let now_ms = keys.now_ms();
        // An answer that is under way may bring the list.
        let is_over = |fetch: &&StoredFetch| asked.is_over(fetch, now_ms) && !is_under_way(fetch, now_ms);
        if let Some(fetch) = row.fetch.as_ref().filter(is_over).filter(|_| row.has_keys) {
            keys.forget(place, fetch.started_at_ms).await;
        }
    }

    /// Asks the issuer, and shelves what it lists. A question that began after this call serves it as well.
    async fn ask(&self, place: usize, began_ms: i64) -> Result<Committed<KeysChange>, RefreshFailure> {
        let unknown = || RefreshFailure::NotGiven { code: "no_source", detail: "There is nothing to ask.".to_owned() };
        let asked = self.asked.get(place).and_then(Option::as_ref).ok_or_else(unknown)?;
        asked.has_asked.store(true, Ordering::SeqCst);
        let keys = self.keys().ok_or_else(unknown)?;
        let called = Instant::now();
        let mut turn = asked.turn.lock().await;
        if turn.as_ref().is_some_and(|ended| ended.served && ended.began >= called) {
            drop(turn);
            // The log has the change, if it was one: a commit that comes later is confirmed no sooner.
            return Ok(keys.change(place, Box::new(|_| KeyStep::Keep)).await?);
        }
        let began = Instant::now();
        let outcome = self.ask_in_turn(&keys, place, asked, began_ms).await;
        let served = outcome.as_ref().is_ok_and(|committed| is_in_force(committed.outcome()));
        *turn = Some(Ended { began, served });
        outcome
    }

    async fn ask_in_turn(
        &self,
        keys: &Arc<Keys>,
        place: usize,
        asked: &Asked,
        mut began_ms: i64,
    ) -> Result<Committed<KeysChange>, RefreshFailure> {
        for _ in 1..ATTEMPTS {
            let committed = self.ask_once(keys, place, asked, began_ms).await?;
            if *committed.outcome() != KeysChange::Overtaken {
                return Ok(committed);
            }
            if let Some(again) = keys.begin(place, |row, now_ms| Some(claimed(row, now_ms))).await? {
                began_ms = again;
            }
        }
        self.ask_once(keys, place, asked, began_ms).await
    }

    async fn ask_once(
        &self,
        keys: &Arc<Keys>,
        place: usize,
        asked: &Asked,
        began_ms: i64,
    ) -> Result<Committed<KeysChange>, RefreshFailure> {
        let row = keys.noted(place).await.ok();
        let is_known = |row: &Noted| row.has_keys && row.source == asked.source.shown();
        let etag = row.filter(|row| asked.has_read.load(Ordering::SeqCst) && is_known(row));
        let etag = etag.and_then(|row| row.fetch).and_then(|fetch| fetch.etag);
        match self.fetcher.fetch(&asked.source, etag.as_deref()).await {
            Ok(Outcome::Fetched(fetched)) => match keys.listed(place, asked, &fetched.jwks) {
                Ok(listed) => {
                    let Fetched { etag, fresh_for, .. } = fetched;
                    let committed = keys.shelve(place, listed, &asked.source.shown(), Some(began_ms)).await?;
                    // A list that did not come in force has to be sent again.
                    let etag = etag.filter(|_| is_in_force(committed.outcome()));
                    if *committed.outcome() != KeysChange::Overtaken {
                        asked.has_read.store(true, Ordering::SeqCst);
                        self.good(keys, place, asked, began_ms, Some(etag), fresh_for).await;
                    }
                    // A file may have changed since it was read here.
                    asked.reread.iter().for_each(Reread::reread);
                    Ok(committed)
                }
                Err(failure) => Err(self.bad(keys, place, asked, &failure).await),
            },
            Ok(Outcome::NotModified { fresh_for }) => {
                let committed = keys.change_asked_for(place, Some(began_ms), Box::new(|_| KeyStep::Keep)).await?;
                self.good(keys, place, asked, began_ms, None, fresh_for).await;
                Ok(committed)
            }
            Err(failure) => Err(self.bad(keys, place, asked, &failure).await),
        }
    }

    /// Notes a good end of the question of this name, unless another one has begun since. `etag` is that of a new list; `None` if
    /// the list is the known one.
    async fn good(
        &self,
        keys: &Keys,
        place: usize,
        asked: &Asked,
        began_ms: i64,
        etag: Option<Option<String>>,
        fresh_for: Option<Duration>,
    ) {
        let now_ms = keys.now_ms();
        let next = next_fetch(FetchEnd::Good { fresh_for }, &asked.source.terms, jitter(), now_ms);
        let fresh_for = fresh_for.and_then(|fresh_for| i64::try_from(fresh_for.as_secs()).ok());
        let noted = keys.note_fetch(
            place,
            Box::new(move |row| {
                let row = row.filter(|row| row.started_at_ms == Some(began_ms))?.clone();
                Some(StoredFetch {
                    finished_at_ms: Some(now_ms.max(row.started_at_ms.unwrap_or(now_ms))),
                    good_at_ms: Some(now_ms),
                    next_at_ms: Some(next),
                    etag: etag.clone().unwrap_or(row.etag),
                    fresh_for,
                    failures: 0,
                    error_code: None,
                    error: None,
                    ..row
                })
            }),
        );
        // If it is not noted, the issuer is asked again soon.
        let _ = noted.await;
        if let Some(issuer) = keys.issuers().get(place) {
            self.counters.fetches.get_or_create(&IssuerLabel { issuer: place }).inc();
            if asked.told(None) {
                info!(issuer = issuer.shown(), "the issuer gives its keys again");
            }
        }
    }

    /// Notes a bad end, counts it, and tells of it unless it was told.
    async fn bad(&self, keys: &Keys, place: usize, asked: &Asked, failure: &FetchFailure) -> RefreshFailure {
        self.failed(keys, place, asked, failure);
        let (now_ms, jitter, terms) = (keys.now_ms(), jitter(), asked.source.terms.clone());
        let (code, detail, retry_after) = (failure.code(), failure.to_string(), failure.retry_after());
        let told = detail.clone();
        let noted = keys.note_fetch(
            place,
            Box::new(move |row| {
                let row = row.cloned().unwrap_or_default();
                let failures = row.failures.saturating_add(1);
                let in_a_row = u32::try_from(failures).unwrap_or(u32::MAX);
                Some(StoredFetch {
                    finished_at_ms: Some(now_ms.max(row.started_at_ms.unwrap_or(now_ms))),
                    next_at_ms: Some(next_fetch(FetchEnd::Failed { in_a_row, retry_after }, &terms, jitter, now_ms)),
                    failures,
                    error_code: Some(code.to_owned()),
                    error: Some(told.clone()),
                    ..row
                })
            }),
        );
        let _ = noted.await;
        RefreshFailure::NotGiven { code, detail }
    }

    fn failed(&self, keys: &Keys, place: usize, asked: &Asked, failure: &FetchFailure) {
        let Some(issuer) = keys.issuers().get(place) else { return };
        let label = FailureLabel { issuer: place, code: failure.code() };
        self.counters.fetch_failures.get_or_create(&label).inc();
        let reason = failure.to_string();
        if asked.is_news(&reason) {
            warn!(
                issuer = issuer.shown(),
                reason, "an issuer does not give its keys: those that are known stay in force"
            );
        }
    }

    fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.get().and_then(Weak::upgrade)
    }
}

/// True if what was listed is in force now.
fn is_in_force(change: &KeysChange) -> bool {
    matches!(change, KeysChange::Same | KeysChange::Changed { .. })
}

/// Any number. Without randomness all wait equally long.
fn jitter() -> u32 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_or(0, |()| u32::from_ne_bytes(bytes))
}
