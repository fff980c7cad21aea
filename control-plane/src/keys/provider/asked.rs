//! One issuer that is asked: its source, whose turn it is, and what was told of it.

use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify};

use crate::keys::fetch::{Cause, Document, FetchFailure};
use crate::keys::files::{FileWatch, Reread};
use crate::keys::source::{KeySource, Source};
use crate::store::keys::StoredFetch;

/// One issuer that is asked.
pub(super) struct Asked {
    pub(super) source: KeySource,
    /// Its file, if it is one.
    pub(super) reread: Option<Reread>,
    pub(super) file: Mutex<Option<FileWatch>>,
    /// One question at a time, with the end of the last one.
    pub(super) turn: Mutex<Option<Ended>>,
    /// Rings when an operator wants the issuer to be asked.
    pub(super) hangup: Notify,
    /// True once this process has read a whole list. Before that it does not ask whether the list has changed: what is stored
    /// may have been read for other algorithms.
    pub(super) has_read: AtomicBool,
    /// True once this process has asked. Before that a time that was noted may be that of another source.
    pub(super) has_asked: AtomicBool,
    /// The last failure that was told, so that it is told once.
    told: std::sync::Mutex<Option<String>>,
}

/// The end of a question that others may share.
pub(super) struct Ended {
    pub(super) began: Instant,
    /// True if what the issuer lists is in force.
    pub(super) served: bool,
}

impl Asked {
    pub(super) fn of(source: KeySource) -> Self {
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
            has_asked: AtomicBool::new(false),
            told: std::sync::Mutex::default(),
        }
    }

    /// True if nothing was told since the last time that this was.
    pub(super) fn is_news(&self, reason: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.replace(reason.to_owned()).as_deref() != Some(reason)
    }

    /// Forgets, or sets, what was told. True if something was told before.
    pub(super) fn told(&self, reason: Option<String>) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *told, reason).is_some()
    }

    /// True if the last good list has been kept for as long as it may.
    pub(super) fn is_over(&self, fetch: &StoredFetch, now_ms: i64) -> bool {
        let since = fetch.good_at_ms.map(|good_at| now_ms.saturating_sub(good_at).max(0));
        since.is_some_and(|since| self.source.terms.is_over(Duration::from_millis(since.unsigned_abs())))
    }

    /// A failure at its source.
    pub(super) fn failure(&self, cause: Cause) -> FetchFailure {
        match &self.source.source {
            Source::File(path) => FetchFailure::of_file(path, cause),
            Source::Url(url) => FetchFailure::new(Document::Keys, url, cause),
            Source::Discovery(discovery) => FetchFailure::new(Document::Keys, &discovery.at, cause),
        }
    }
}
