//! A second, plain version of how the filter's `host.rs` reads the answer to a callout.

use curfew_core::wire::{CheckAnswer, FeedAnswer, KeysAnswer, MAX_KEYS_BYTES};
use curfew_filter::knowledge::Answer;
use curfew_filter::outage::Failure;
use serde::de::DeserializeOwned;

/// The largest verdict and the largest page that the filter reads.
const MOST_VERDICT_BYTES: usize = 4096;
const MOST_PAGE_BYTES: usize = 512 * 1024;

/// The readers, of status and body. Tests replace them by wrong ones.
#[derive(Clone, Copy)]
pub(super) struct Readers {
    pub(super) verdict: fn(u16, &[u8]) -> Result<Answer, Failure>,
    pub(super) page: fn(u16, &[u8]) -> Result<FeedAnswer, Failure>,
    pub(super) keys: fn(u16, &[u8]) -> Result<KeysAnswer, Failure>,
}

/// The right readers.
pub(super) const READERS: Readers = Readers { verdict, page, keys };

/// The verdict in an answer: a 200 of a reasonable size with a valid body.
pub(super) fn verdict(status: u16, body: &[u8]) -> Result<Answer, Failure> {
    let answer: Option<CheckAnswer> = read(status, body, MOST_VERDICT_BYTES)?;
    answer.map(Answer::from).ok_or(Failure::NoVerdict)
}

/// The page in an answer, by the same rule.
pub(super) fn page(status: u16, body: &[u8]) -> Result<FeedAnswer, Failure> {
    read(status, body, MOST_PAGE_BYTES)?.ok_or(Failure::NoPage)
}

/// The key sets in an answer, by the same rule.
pub(super) fn keys(status: u16, body: &[u8]) -> Result<KeysAnswer, Failure> {
    read(status, body, MAX_KEYS_BYTES)?.ok_or(Failure::NoKeys)
}

fn read<T: DeserializeOwned>(status: u16, body: &[u8], most: usize) -> Result<Option<T>, Failure> {
    if status != 200 {
        return Err(Failure::Status(status));
    }
    Ok((body.len() <= most).then(|| serde_json::from_slice(body).ok()).flatten())
}
