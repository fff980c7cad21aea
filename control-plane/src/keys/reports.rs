//! What operators are told of each issuer's keys.

use curfew_core::{Epoch, IssuerId};
use serde::{Deserialize, Serialize};

use super::shelf::Shelf;
use super::{KeyIssuer, Keys, Origin};
use crate::store::ReadFailure;
use crate::store::keys::{ShelfRow, StoredFetch};

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

impl Keys {
    /// What is known of all issuers.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn reports(&self) -> Result<SetReports, ReadFailure> {
        let shelves = self.store.shelves().await?;
        let report = |(place, issuer)| self.report(place, issuer, shelf_of(&shelves.what, issuer));
        let sets = self.issuers.iter().enumerate().map(report).collect();
        Ok(SetReports { epoch: shelves.head.epoch, keys_seq: shelves.keys_seq, sets })
    }

    fn report(&self, place: usize, issuer: &KeyIssuer, row: Option<&ShelfRow>) -> SetReport {
        let secret = issuer.origin == Origin::Secret;
        let row = row.filter(|_| !secret);
        let keys = row.and_then(|row| row.keys.as_ref());
        // A distrust may be older than the first list, which brings the source.
        let listed = keys.filter(|keys| !keys.texts.source.is_empty());
        let shelf = keys.and_then(|keys| Shelf::stored(keys, &issuer.algorithms).ok());
        let source = match &issuer.origin {
            Origin::Settings { from, .. } => from.clone(),
            Origin::Source(source) => source.shown.clone(),
            Origin::Secret => "a secret".to_owned(),
        };
        let names = |shelf: &Shelf| shelf.holds().distrusted().map(|(name, _)| name.to_owned()).collect();
        SetReport {
            issuer: issuer.name.clone(),
            source,
            secret,
            distrusted: shelf.as_ref().map(names).unwrap_or_default(),
            keys: shelf.filter(|_| keys.is_some_and(|keys| !keys.is_forgotten())).map(|shelf| key_reports(&shelf)),
            changed_at: listed.map(|keys| keys.changed_at),
            listed_at: listed.map(|keys| keys.texts.listed_at),
            fetch: self.last_question(place, issuer, row).map(|fetch| last_fetch(&fetch, self.clock.now())),
        }
    }

    /// The last read of its file, or what is noted of the last question to it. Keys in the settings are asked of nobody: what is
    /// noted is from earlier settings.
    fn last_question(&self, place: usize, issuer: &KeyIssuer, row: Option<&ShelfRow>) -> Option<StoredFetch> {
        match issuer.origin {
            Origin::Source(_) => self.file_reads.last(place).or_else(|| row.and_then(|row| row.fetch.clone())),
            Origin::Settings { .. } | Origin::Secret => None,
        }
    }
}

pub(super) fn shelf_of<'r>(rows: &'r [ShelfRow], issuer: &KeyIssuer) -> Option<&'r ShelfRow> {
    let id = IssuerId::of(&issuer.name);
    rows.iter().find(|row| row.issuer == id)
}

fn key_reports(shelf: &Shelf) -> Vec<KeyReport> {
    let reports = shelf.keys().map(|(key, standing)| {
        let (state, since) = standing.told();
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
