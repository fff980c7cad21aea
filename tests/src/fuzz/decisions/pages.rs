//! Pages of the feed in scripts: words for how a page differs from one without news and with a lease.
//!
//! | word | meaning |
//! |---|---|
//! | `@N`, `jN`, `sN` | token `@N` is revoked: by its id, its `jti`, its session |
//! | `uN`, `vN` | all tokens of its user, issued up to its own second, or up to the second before |
//! | `nN` | so many revocations of other tokens |
//! | `xN` | the revocations of the following words are kept for so many seconds from the start of the script; else for an hour |
//! | `+N` | the page reaches so far beyond its start; else to its last revocation |
//! | `m` | more pages follow |
//! | `lN`, `fN` | `lease_ms` and `fresh_ms`; else 2000 and 0 |
//! | `qN` | `keys_seq`; else 0 |
//! | `eN` | an epoch of these bytes; else of zeros |
//! | `gN` | the page begins so far after the end of the worker's copy |
//! | `zN` | filled up with spaces to so many bytes |

use anyhow::Result;
use curfew_core::wire::{CheckRequest, FeedAnswer, FeedRequest, FeedRevocation, PAGE_REVOCATIONS};
use curfew_core::{Epoch, Kind, RevocationKey};

use crate::fuzz::fixed::NOW;
use crate::fuzz::script::number;

/// The largest size that a page is filled up to.
const MOST_BYTES: usize = 1 << 20;

/// The body of an answer to this poll.
pub(super) fn body(words: &[u8], poll: &FeedRequest, tokens: &[Option<CheckRequest>]) -> Result<Vec<u8>> {
    let mut page = Page { tokens, expires_at: NOW + 3600, reaches: None, gap: 0, bytes: 0, answer: empty() };
    for (kind, rest) in words.split(|&byte| byte == b' ').filter_map(|word| word.split_first()) {
        page.add(*kind, rest);
    }
    let bytes = page.bytes;
    let mut body = serde_json::to_vec(&page.continuing(poll))?;
    body.resize(body.len().max(bytes), b' ');
    Ok(body)
}

fn empty() -> FeedAnswer {
    let epoch = Epoch::from_bytes([0; 16]);
    FeedAnswer { epoch, from: 0, to: 0, more: false, keys_seq: 0, revocations: Vec::new(), lease_ms: 2000, fresh_ms: 0 }
}

struct Page<'a> {
    tokens: &'a [Option<CheckRequest>],
    expires_at: i64,
    reaches: Option<u64>,
    gap: u64,
    bytes: usize,
    answer: FeedAnswer,
}

impl Page<'_> {
    fn add(&mut self, kind: u8, rest: &[u8]) {
        match kind {
            b'@' => self.revoke(rest, 0, |token| Some((Kind::Token, token.token))),
            b'j' => self.revoke(rest, 0, |token| Some((Kind::Jti, token.jti?))),
            b's' => self.revoke(rest, 0, |token| Some((Kind::Session, token.session?))),
            b'u' => self.revoke(rest, 0, |token| Some((Kind::Subject, token.subject?))),
            b'v' => self.revoke(rest, 1, |token| Some((Kind::Subject, token.subject?))),
            b'n' => self.revoke_others(number(rest)),
            b'x' => self.expires_at = NOW.saturating_add(number(rest)),
            b'+' => self.reaches = Some(number(rest)),
            b'm' => self.answer.more = true,
            b'l' => self.answer.lease_ms = number(rest),
            b'f' => self.answer.fresh_ms = number(rest),
            b'q' => self.answer.keys_seq = number(rest),
            b'e' => self.answer.epoch = Epoch::from_bytes([number(rest); 16]),
            b'g' => self.gap = number(rest),
            b'z' => self.bytes = number::<usize>(rest).min(MOST_BYTES),
            _ => {}
        }
    }

    /// Revokes the `key` of a token, up to so many seconds before the token's own second.
    fn revoke(&mut self, place: &[u8], before: i64, key: impl Fn(&CheckRequest) -> Option<(Kind, RevocationKey)>) {
        let Some(Some(token)) = self.tokens.get(number::<usize>(place)) else { return };
        let Some((kind, key)) = key(token) else { return };
        let cutoff = token.issued_at.unwrap_or(NOW).saturating_sub(before);
        self.answer.revocations.push(FeedRevocation { kind, key, cutoff, expires_at: self.expires_at });
    }

    fn revoke_others(&mut self, count: usize) {
        let space = PAGE_REVOCATIONS.saturating_sub(self.answer.revocations.len());
        let expires_at = self.expires_at;
        let other = |serial| FeedRevocation { kind: Kind::Token, key: other(serial), cutoff: NOW, expires_at };
        self.answer.revocations.extend((0..count.min(space) as u64).map(other));
    }

    /// The page that follows the position in the poll.
    fn continuing(mut self, poll: &FeedRequest) -> FeedAnswer {
        let held = if poll.epoch == Some(self.answer.epoch) { poll.applied } else { 0 };
        self.answer.from = held.saturating_add(self.gap);
        self.answer.to = self.answer.from.saturating_add(self.reaches.unwrap_or(self.answer.revocations.len() as u64));
        self.answer
    }
}

/// A key that no token of the scripts has.
fn other(serial: u64) -> RevocationKey {
    let spread = u128::from(serial).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    RevocationKey::from_bytes(spread.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use curfew_core::{Keyspace, WorkerId};

    use super::*;

    fn key(byte: u8) -> RevocationKey {
        RevocationKey::from_bytes([byte; 16])
    }

    fn page(words: &str) -> Vec<u8> {
        let token = CheckRequest {
            keyspace: Keyspace::from_bytes([0; 16]),
            token: key(1),
            jti: Some(key(2)),
            session: None,
            subject: Some(key(4)),
            issued_at: Some(NOW - 10),
        };
        let poll = FeedRequest {
            worker: WorkerId::from_bytes([0; 16]),
            keyspaces: vec![],
            epoch: Some(Epoch::from_bytes([0; 16])),
            applied: 7,
            hold_ms: 0,
            leaving: false,
        };
        body(words.as_bytes(), &poll, &[None, Some(token)]).unwrap()
    }

    #[test]
    fn a_page_without_words_has_no_news_and_a_lease() {
        let expected = FeedAnswer { from: 7, to: 7, ..empty() };
        assert_eq!(serde_json::from_slice::<FeedAnswer>(&page("")).unwrap(), expected);
    }

    #[test]
    fn words_say_what_is_revoked_how_far_and_for_how_long() {
        let entry = |kind, byte, cutoff, expires_at| FeedRevocation { kind, key: key(byte), cutoff, expires_at };
        let revocations = vec![
            entry(Kind::Token, 1, NOW - 10, NOW + 3600),
            entry(Kind::Jti, 2, NOW - 10, NOW + 3600),
            entry(Kind::Subject, 4, NOW - 10, NOW + 60),
            entry(Kind::Subject, 4, NOW - 11, NOW + 60),
        ];
        let (epoch, lease_ms, fresh_ms) = (Epoch::from_bytes([9; 16]), 5, -6);
        let expected = FeedAnswer { epoch, from: 3, to: 13, more: true, keys_seq: 0, revocations, lease_ms, fresh_ms };
        // Token 0 has no key, token 1 has no session, and there is no token 2.
        let page = page(" @1 j1 s1 x60 u1 v1 @0 @2 l5 f-6 m e9 g3 +10 z600");
        assert_eq!((serde_json::from_slice::<FeedAnswer>(&page).unwrap(), page.len()), (expected, 600));
    }

    #[test]
    fn others_fill_a_page_and_are_all_different() {
        let page: FeedAnswer = serde_json::from_slice(&page(" @1 n99999")).unwrap();
        let keys: std::collections::BTreeSet<_> = page.revocations.iter().map(|revocation| revocation.key).collect();
        assert_eq!((keys.len(), page.to), (PAGE_REVOCATIONS, 7 + PAGE_REVOCATIONS as u64));
    }
}
