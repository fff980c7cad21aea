//! Asks issuers for their keys: when it is due, when a token names an unknown key, and when an operator wants it.
//!
//! `fetch` knows how to ask, `schedule` when, and `shelf` what becomes of the answer. Here they meet, with what the database
//! has noted of earlier questions, whichever control plane asked. A question is begun by noting it, so of several control
//! planes one asks, and what an overtaken question brings is thrown away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use curfew_core::PublishedKeys;
use tokio::sync::{Mutex, Notify};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::counters::{Counters, FailureLabel, IssuerLabel};
use super::demand::{claimed, is_under_way};
use super::fetch::{Cause, Document, FetchFailure, Fetched, Fetcher, Outcome};
use super::files::{FileWatch, Reread};
use super::schedule::{FetchEnd, next_fetch};
use super::source::{KeySource, Source};
use super::{FetchNow, Keys, RefreshFailure};
use crate::store::command::Committed;
use crate::store::keys::{KeyStep, KeysChange, StoredFetch};

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

/// One issuer that is asked.
struct Asked {
    source: KeySource,
    /// Its file, if it is one.
    reread: Option<Reread>,
    file: Mutex<Option<FileWatch>>,
    /// One question at a time, with the end of the last one.
    turn: Mutex<Option<Ended>>,
    /// Rings when an operator wants the issuer to be asked.
    hangup: Notify,
    /// True once this process has read a whole list. Before that it does not ask whether the list has changed: what is stored
    /// may have been read for other algorithms.
    has_read: AtomicBool,
    /// The last failure that was told, so that it is told once.
    told: std::sync::Mutex<Option<String>>,
}

/// The end of a question that others may share.
struct Ended {
    began: Instant,
    /// True if what the issuer lists is in force.
    served: bool,
}

impl Provider {
    /// Asks these sources, one for each issuer of the policy.
    pub fn new(sources: Vec<Option<KeySource>>, counters: Counters) -> Arc<Self> {
        Self::asking_by(Fetcher::default(), sources, counters)
    }

    /// The same with another way to ask.
    pub fn asking_by(fetcher: Fetcher, sources: Vec<Option<KeySource>>, counters: Counters) -> Arc<Self> {
        let asked = sources.into_iter().map(|source| source.map(Asked::of)).collect();
        Arc::new(Self { fetcher, asked, keys: OnceLock::new(), counters })
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
                    if keys.shelve(place, listed, &asked.source.shown(), None).await.is_err() {
                        // The file is as it was; it is read again with the next look.
                        sleep(LOOK_AGAIN).await;
                        asked.reread.iter().for_each(Reread::reread);
                    }
                }
                Err(failure) => self.failed(&keys, place, asked, &failure),
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
        let due = move |row: Option<&StoredFetch>, now_ms: i64| {
            (due_in(row, now_ms, longest) == 0).then(|| claimed(row, now_ms))
        };
        let now_ms = keys.now_ms();
        let left = due_in(row.fetch.as_ref(), now_ms, longest);
        if left > 0 {
            // It was asked in vain a moment ago.
            if let Some(fetch) = row.fetch.as_ref().filter(|fetch| row.has_keys && asked.is_over(fetch, now_ms)) {
                keys.forget(place, fetch.started_at_ms).await;
            }
            return Duration::from_millis(left.unsigned_abs());
        }
        match keys.begin(place, due).await {
            Ok(Some(began_ms)) => drop(self.ask(place, began_ms).await),
            Ok(None) => {}
            Err(_) => return LOOK_AGAIN,
        }
        Duration::ZERO.max(LOOK_AGAIN)
    }

    /// Asks the issuer, and shelves what it lists. A question that began after this call serves it as well.
    async fn ask(&self, place: usize, began_ms: i64) -> Result<Committed<KeysChange>, RefreshFailure> {
        let unknown = || RefreshFailure::NotGiven { code: "no_source", detail: "There is nothing to ask.".to_owned() };
        let asked = self.asked.get(place).and_then(Option::as_ref).ok_or_else(unknown)?;
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
        for attempt in 1..=ATTEMPTS {
            let committed = self.ask_once(keys, place, asked, began_ms).await?;
            if *committed.outcome() != KeysChange::Overtaken || attempt == ATTEMPTS {
                return Ok(committed);
            }
            if let Some(again) = keys.begin(place, |row, now_ms| Some(claimed(row, now_ms))).await? {
                began_ms = again;
            }
        }
        Err(RefreshFailure::NotGiven { code: "overtaken", detail: "Others asked the issuer meanwhile.".to_owned() })
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

impl Asked {
    fn of(source: KeySource) -> Self {
        let file = match &source.source {
            Source::File(path) => Some(FileWatch::new(path.clone())),
            Source::Url(_) | Source::Discovery(_) => None,
        };
        let reread = file.as_ref().map(FileWatch::handle);
        Self {
            source,
            reread,
            file: Mutex::new(file),
            turn: Mutex::default(),
            hangup: Notify::new(),
            has_read: AtomicBool::new(false),
            told: std::sync::Mutex::default(),
        }
    }

    /// True if nothing was told since the last time that this was.
    fn is_news(&self, reason: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.replace(reason.to_owned()).as_deref() != Some(reason)
    }

    /// Forgets, or sets, what was told. True if something was told before.
    fn told(&self, reason: Option<String>) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *told, reason).is_some()
    }

    /// True if the last good list has been kept for as long as it may.
    fn is_over(&self, fetch: &StoredFetch, now_ms: i64) -> bool {
        let since = fetch.good_at_ms.map(|good_at| now_ms.saturating_sub(good_at).max(0));
        since.is_some_and(|since| self.source.terms.is_over(Duration::from_millis(since.unsigned_abs())))
    }
}

/// What is noted of an issuer.
pub(super) struct Noted {
    fetch: Option<StoredFetch>,
    has_keys: bool,
    /// Where the list is from.
    source: String,
}

impl Keys {
    /// What is noted of the issuer at this place.
    async fn noted(&self, place: usize) -> Result<Noted, crate::store::ReadFailure> {
        let row = self.shelf_row(place).await?;
        let (keys, fetch) = row.map_or((None, None), |row| (row.keys, row.fetch));
        let source = keys.as_ref().map(|keys| keys.texts.source.clone()).unwrap_or_default();
        Ok(Noted { fetch, has_keys: keys.is_some_and(|keys| !keys.is_forgotten()), source })
    }

    /// The keys in what an issuer gave. What is left out is told.
    fn listed(&self, place: usize, asked: &Asked, jwks: &serde_json::Value) -> Result<PublishedKeys, FetchFailure> {
        let failure = |cause| match &asked.source.source {
            Source::File(path) => FetchFailure::of_file(path, cause),
            Source::Url(url) => FetchFailure::new(Document::Keys, url, cause),
            Source::Discovery(discovery) => FetchFailure::new(Document::Keys, &discovery.at, cause),
        };
        let Some(issuer) = self.issuers().get(place) else { return Err(failure(Cause::NotJwks)) };
        let read = PublishedKeys::read(jwks, &issuer.algorithms).map_err(|_| failure(Cause::NotJwks));
        let (keys, unused) = read?;
        self.tell_unused(issuer, &unused);
        if keys.is_empty() { Err(failure(Cause::NoUsableKey)) } else { Ok(keys) }
    }

    /// Forgets the set of an issuer that has given no list for longer than it may be kept, unless it was asked again since the
    /// question of this name.
    async fn forget(&self, place: usize, asked_ms: Option<i64>) {
        let Some(issuer) = self.issuers().get(place) else { return };
        let forgotten = self.change_asked_for(place, asked_ms, Box::new(|_| KeyStep::Forget)).await;
        if forgotten.is_ok_and(|committed| matches!(committed.outcome(), KeysChange::Changed { .. })) {
            warn!(
                issuer = issuer.shown(),
                "an issuer has not given its keys for as long as they may be kept: they are in force no longer"
            );
        }
    }
}

/// True if what was listed is in force now.
fn is_in_force(change: &KeysChange) -> bool {
    matches!(change, KeysChange::Same | KeysChange::Changed { .. })
}

/// In how many milliseconds the issuer is to be asked; 0 for now. A time that is further ahead than any wait was noted by a
/// wrong clock.
fn due_in(row: Option<&StoredFetch>, now_ms: i64, longest_ms: i64) -> i64 {
    let Some(row) = row else { return 0 };
    if is_under_way(row, now_ms) {
        return row.claimed_until_ms.map_or(0, |until| until.saturating_sub(now_ms).max(1));
    }
    let Some(next) = row.next_at_ms else { return 0 };
    let left = next.saturating_sub(now_ms);
    if left > longest_ms { 0 } else { left.max(0) }
}

/// Any number. Without randomness all wait equally long.
fn jitter() -> u32 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_or(0, |()| u32::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_due_by_what_is_noted_and_never_later_than_the_longest_wait() {
        let now = 1_800_000_000_000;
        let noted = |next: i64| StoredFetch { next_at_ms: Some(now + next), ..StoredFetch::default() };
        assert_eq!(due_in(None, now, 900_000), 0, "it was never asked");
        assert_eq!(due_in(Some(&StoredFetch::default()), now, 900_000), 0);
        for (next, left) in [(-5_000, 0), (0, 0), (5_000, 5_000), (900_000, 900_000), (900_001, 0)] {
            assert_eq!(due_in(Some(&noted(next)), now, 900_000), left, "{next}");
        }
    }

    #[test]
    fn an_issuer_that_is_being_asked_is_not_due() {
        let now = 1_800_000_000_000;
        let claimed = StoredFetch {
            started_at_ms: Some(now - 1_000),
            claimed_until_ms: Some(now + 9_000),
            next_at_ms: Some(now - 1_000),
            ..StoredFetch::default()
        };
        assert_eq!(due_in(Some(&claimed), now, 900_000), 9_000);
        assert_eq!(due_in(Some(&claimed), now + 9_000, 900_000), 0, "whoever asked is gone");
        let ended = StoredFetch { finished_at_ms: Some(now - 500), ..claimed };
        assert_eq!(due_in(Some(&ended), now, 900_000), 0);
    }
}
