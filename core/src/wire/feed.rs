//! The feed: how workers learn of revocations and earn leases.
//!
//! A worker holds a copy of the log of revocations up to some seq, and asks for what came after it. The log has one row for
//! each (kind, key), and a newer revocation takes an older one's place under a new seq. Row numbers therefore have gaps
//! that mean nothing: whether an answer continues what the worker holds is told by `from` and `to` alone.
//!
//! A page is everything with `from < seq <= to` in **one** snapshot of the database, and `more` says whether that very
//! snapshot held rows beyond `to`. There is no snapshot over several pages, and none is needed: a row that moves while a worker
//! pages moves to a higher seq than any that existed, hence to a later page. What a worker holds after a page with `more: false`
//! is all that was committed when that page's snapshot was taken. A row that was purged meanwhile is missed, and may be:
//! it is purged when no token that it covers is in time any more.
//!
//! Head and rows from two snapshots would be wrong: a row below the head can have moved above it in between.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Keyspace, Kind, RevocationKey, WorkerId};

/// The path of a worker's poll.
pub const FEED_PATH: &str = "/internal/v1/feed";

/// The most revocations that one page holds: some 220 KB of JSON. The host buffers a page whole and copies it into the VM.
pub const PAGE_REVOCATIONS: usize = 3_000;

/// A worker asks for what came after what it holds, and says by that what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedRequest {
    /// Who asks: 128 random bits. Under one id a worker's `applied` never goes down and its `epoch` never changes; a worker that
    /// starts again takes another id. Whatever is once known of an id stays true, however late or often it is told.
    pub worker: WorkerId,
    /// The rules by which the worker computes keys. A control plane that does not know all of them refuses the poll.
    pub keyspaces: Vec<Keyspace>,
    /// The history that `applied` counts in; absent as long as the worker holds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The worker holds everything up to this seq, and refuses what it covers.
    pub applied: u64,
    /// How long the answer may be held back while there is no news, in milliseconds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hold_ms: u64,
    /// The worker gives up every lease of this id and takes none any more: nobody has to wait for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leaving: bool,
}

/// A page of the log, and the right to decide by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FeedAnswer {
    /// The history that the numbers count in.
    pub epoch: Epoch,
    /// The page continues after this seq: the request's `applied`, or 0 where that means nothing in this history.
    pub from: u64,
    /// The page is complete up to this seq.
    pub to: u64,
    /// The snapshot that the page is from held revocations after `to`.
    pub more: bool,
    /// The revocations with `from < seq <= to`, in that order. The later of two under one key holds.
    pub revocations: Vec<FeedRevocation>,
    /// How long a lease runs, counted from the sending of the request and corrected by `fresh_ms`; 0 for none.
    pub lease_ms: u64,
    /// How long after the arrival of the request the reading of the page began, in milliseconds; negative if it began
    /// before. Rounded so that the lease is never too long.
    pub fresh_ms: i64,
}

/// One revocation, written as `[kind, key, cutoff, expires_at]`: a page holds thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(Kind, RevocationKey, i64, i64)", into = "(Kind, RevocationKey, i64, i64)")]
pub struct FeedRevocation {
    /// What the key is.
    pub kind: Kind,
    /// What is revoked.
    pub key: RevocationKey,
    /// A subject entry covers tokens issued up to this second of Unix time; it means nothing for the other kinds.
    pub cutoff: i64,
    /// From this second of Unix time on no token that it covers is accepted anywhere.
    pub expires_at: i64,
}

impl From<(Kind, RevocationKey, i64, i64)> for FeedRevocation {
    fn from((kind, key, cutoff, expires_at): (Kind, RevocationKey, i64, i64)) -> Self {
        Self { kind, key, cutoff, expires_at }
    }
}

impl From<FeedRevocation> for (Kind, RevocationKey, i64, i64) {
    fn from(FeedRevocation { kind, key, cutoff, expires_at }: FeedRevocation) -> Self {
        (kind, key, cutoff, expires_at)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocation(kind: Kind, byte: u8) -> FeedRevocation {
        let key = RevocationKey::from_bytes([byte; 16]);
        FeedRevocation { kind, key, cutoff: 1_700_000_000, expires_at: 1_700_003_600 }
    }

    fn request() -> FeedRequest {
        FeedRequest {
            worker: WorkerId::from_bytes([0xaa; 16]),
            keyspaces: vec![Keyspace::from_bytes([0xbb; 16])],
            epoch: Some(Epoch::from_bytes([0xcc; 16])),
            applied: 7,
            hold_ms: 600,
            leaving: false,
        }
    }

    #[test]
    fn a_poll_is_pinned() {
        let json = concat!(
            r#"{"worker":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","keyspaces":["bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"],"#,
            r#""epoch":"cccccccccccccccccccccccccccccccc","applied":7,"hold_ms":600}"#
        );
        assert_eq!(serde_json::to_string(&request()).unwrap(), json);
        assert_eq!(serde_json::from_str::<FeedRequest>(json).unwrap(), request());
    }

    #[test]
    fn a_first_poll_and_a_last_one_are_pinned() {
        let first = FeedRequest { keyspaces: vec![], epoch: None, applied: 0, hold_ms: 0, ..request() };
        let json = r#"{"worker":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","keyspaces":[],"applied":0}"#;
        assert_eq!(serde_json::to_string(&first).unwrap(), json);
        assert_eq!(serde_json::from_str::<FeedRequest>(json).unwrap(), first);
        let last = FeedRequest { leaving: true, ..first };
        let json = json.replace(r#""applied":0"#, r#""applied":0,"leaving":true"#);
        assert_eq!(serde_json::to_string(&last).unwrap(), json);
    }

    #[test]
    fn a_poll_that_is_not_understood_whole_is_refused() {
        let with = |member: &str| {
            format!(r#"{{"worker":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","keyspaces":[],"applied":0{member}}}"#)
        };
        assert!(serde_json::from_str::<FeedRequest>(&with("")).is_ok());
        for member in [r#","since":1"#, r#","epoch":"x""#, r#","hold_ms":-1"#, r#","leaving":1"#, r#","applied":1"#] {
            assert!(serde_json::from_str::<FeedRequest>(&with(member)).is_err(), "{member}");
        }
    }

    #[test]
    fn an_answer_is_pinned_and_may_grow() {
        let answer = FeedAnswer {
            epoch: Epoch::from_bytes([0xcc; 16]),
            from: 7,
            to: 9,
            more: false,
            revocations: vec![revocation(Kind::Token, 1), revocation(Kind::Subject, 2)],
            lease_ms: 2000,
            fresh_ms: -3,
        };
        let json = concat!(
            r#"{"epoch":"cccccccccccccccccccccccccccccccc","from":7,"to":9,"more":false,"revocations":["#,
            r#"["token","01010101010101010101010101010101",1700000000,1700003600],"#,
            r#"["subject","02020202020202020202020202020202",1700000000,1700003600]],"#,
            r#""lease_ms":2000,"fresh_ms":-3}"#
        );
        assert_eq!(serde_json::to_string(&answer).unwrap(), json);
        let grown = json.replace(r#""from":7"#, r#""new":{},"from":7"#);
        assert_eq!(serde_json::from_str::<FeedAnswer>(&grown).unwrap(), answer);
        assert!(serde_json::from_str::<FeedAnswer>(&json.replace("subject", "planet")).is_err());
    }

    #[test]
    fn a_full_page_fits_what_the_host_may_buffer() {
        let longest =
            FeedRevocation { cutoff: -99_999_999_999, expires_at: 99_999_999_999, ..revocation(Kind::Subject, 1) };
        let json = serde_json::to_string(&vec![longest; PAGE_REVOCATIONS]).unwrap();
        assert!(json.len() < 256 << 10, "{} bytes", json.len());
    }
}
