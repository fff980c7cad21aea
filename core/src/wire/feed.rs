//! The feed: how workers learn of revocations and get leases.
//!
//! A worker holds a copy of the log of revocations up to some seq, and asks for what came after it. The log has one row
//! for each (kind, key), and a newer revocation replaces an older one under a new seq. So there are gaps in the seqs of
//! the rows, and they mean nothing: only `from` and `to` tell whether an answer continues what the worker holds.
//!
//! A page is everything with `from < seq <= to` in **one** snapshot of the database, and `more` says whether the same
//! snapshot held rows beyond `to`. There is no snapshot over several pages, and none is needed: a row that moves while
//! a worker pages moves to a higher seq than any that existed, hence to a later page. After a page with `more: false` a
//! worker holds everything that was committed when that page's snapshot was taken. It may lack rows that were purged
//! meanwhile: a row is purged only when no token that it covers is in time any more.
//!
//! Head and rows must come from the same snapshot: between two snapshots a row below the head can move above it.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Keyspace, Kind, RevocationKey, WorkerId};

/// The path of a worker's poll.
pub const FEED_PATH: &str = "/internal/v1/feed";

/// The `code` of the 503 to a poll that finds as many held back as may be. No other 503 has it.
pub const POLLS_FULL_CODE: &str = "polls_full";

/// The most revocations in one page: some 220 KB of JSON. The host buffers the whole page and copies it into the VM.
pub const PAGE_REVOCATIONS: usize = 3_000;

/// A worker asks for the part of the log that follows its copy. The request also acknowledges what the copy holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedRequest {
    /// The worker that asks: 128 random bits. Under one id `applied` never goes down and `epoch` never changes; a
    /// worker that starts again takes another id. So what is once known about an id stays true, however late or often
    /// it is repeated.
    pub worker: WorkerId,
    /// The rules by which the worker computes keys. A control plane that does not know all of them refuses the poll.
    pub keyspaces: Vec<Keyspace>,
    /// The history that `applied` counts in. Absent as long as the worker holds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The worker holds every revocation up to this seq, and refuses the tokens that they cover.
    pub applied: u64,
    /// How long the control plane may hold the answer back while there is no news, in milliseconds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hold_ms: u64,
    /// The worker gives up every lease of this id and takes no other: no logout has to wait for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leaving: bool,
}

/// A page of the log, and the right to decide by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FeedAnswer {
    /// The history that the numbers count in.
    pub epoch: Epoch,
    /// The page continues after this seq: the request's `applied`, or 0 if that is from another history.
    pub from: u64,
    /// The page is complete up to this seq.
    pub to: u64,
    /// The snapshot of this page held revocations after `to`.
    pub more: bool,
    /// The newest change of handed-out keys in the snapshot of this page; 0 for none. It may be above `to` as long as
    /// there are `more`. A worker whose keys are older decides nothing by its copy until it has asked for the keys.
    #[serde(default)]
    pub keys_seq: u64,
    /// The revocations with `from < seq <= to`, in that order. Of two under one key, the later one counts.
    pub revocations: Vec<FeedRevocation>,
    /// How long a lease runs, counted from the sending of the request and corrected by `fresh_ms`; 0 for none.
    pub lease_ms: u64,
    /// How long after the request's arrival the reading of the page began, in milliseconds. It is rounded so that the
    /// lease is never too long. Below zero if the reading began before, from which no lease is granted today.
    pub fresh_ms: i64,
}

/// One revocation, written as `[kind, key, cutoff, expires_at]`, which is short: a page holds thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(Kind, RevocationKey, i64, i64)", into = "(Kind, RevocationKey, i64, i64)")]
pub struct FeedRevocation {
    /// The kind of the key.
    pub kind: Kind,
    /// What is revoked.
    pub key: RevocationKey,
    /// A subject entry covers tokens issued up to this second of Unix time. For the other kinds it means nothing.
    pub cutoff: i64,
    /// From this second of Unix time on, no token that it covers is accepted anywhere.
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
    fn a_poll_with_an_unknown_member_is_refused() {
        let with = |member: &str| {
            format!(r#"{{"worker":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","keyspaces":[],"applied":0{member}}}"#)
        };
        assert!(serde_json::from_str::<FeedRequest>(&with("")).is_ok());
        for member in [r#","since":1"#, r#","epoch":"x""#, r#","hold_ms":-1"#, r#","leaving":1"#, r#","applied":1"#] {
            assert!(serde_json::from_str::<FeedRequest>(&with(member)).is_err(), "{member}");
        }
    }

    #[test]
    fn an_answer_is_pinned_and_may_gain_members() {
        let answer = FeedAnswer {
            epoch: Epoch::from_bytes([0xcc; 16]),
            from: 7,
            to: 9,
            more: false,
            keys_seq: 8,
            revocations: vec![revocation(Kind::Token, 1), revocation(Kind::Subject, 2)],
            lease_ms: 2000,
            fresh_ms: -3,
        };
        let json = concat!(
            r#"{"epoch":"cccccccccccccccccccccccccccccccc","from":7,"to":9,"more":false,"keys_seq":8,"revocations":["#,
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
