//! Floods of good tokens that are seen once: the caches keep to their budgets, and keep the tokens in use.
//!
//! The budgets are those of the default `cache_bytes`. The memory that the module really takes is measured in the wasm
//! host of `tests/`.

#![expect(clippy::panic, reason = "a helper that fails is a test that fails")]

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use curfew_core::wire::{CheckRequest, CheckVerdict};
use curfew_core::{IssuerKey, KeyId, KeySet, KeySets, Keyspace, RevocationKey, Times};
use curfew_filter::knowledge::{Answer, Bounded, Knowledge, Lookup};
use curfew_filter::now::Now;
use curfew_filter::proofs::{Facts, Proofs};

const PROOF_BUDGET: u64 = 14 << 20;
const ANSWER_BUDGET: u64 = 2 << 20;
const FLOOD: u64 = 100_000;
const IN_USE: u64 = 1_000;

/// The number of the first new token, above those of the tokens in use.
const FIRST_NEW: u64 = 1 << 32;

/// How tokens in use mix with new ones: this many uses of them, then this many new tokens.
const MIXES: [(u64, u64); 3] = [(1, 1), (1, 5), (1, 10)];

fn facts(token: u64) -> Rc<Facts> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&token.to_be_bytes());
    Rc::new(Facts {
        key: IssuerKey::new(0, KeyId::from_bytes([0; 16])),
        handed_out: false,
        check: CheckRequest {
            keyspace: Keyspace::from_bytes([0; 16]),
            token: RevocationKey::from_bytes(id),
            jti: None,
            session: None,
            subject: None,
            issued_at: None,
        },
        times: Times { issued_at: None, cutoff_time: None, not_before: None, expires_at: 1, clock_skew: 0 },
        identity: Ok(Vec::new()),
        meets: 0,
    })
}

/// Plays `flood` new tokens with uses of tokens in use between them. Returns how many such uses there were, and for how
/// many of them `known` returned true.
fn play(flood: Range<u64>, (uses, new): (u64, u64), mut known: impl FnMut(u64) -> bool) -> (u64, u64) {
    let (mut used, mut found) = (0, 0);
    let mut flood = flood.peekable();
    while flood.peek().is_some() {
        for _ in 0..uses {
            found += u64::from(known(used % IN_USE));
            used += 1;
        }
        for token in flood.by_ref().take(usize::try_from(new).unwrap_or(1)) {
            known(token);
        }
    }
    (used, found)
}

/// What the gate does with a token text: it looks the text up, and keeps what it had to prove. True if it was known.
fn prove(proofs: &mut Proofs, keys: &KeySets, facts: &Rc<Facts>, token: u64) -> bool {
    // The texts differ at the end, as signatures do.
    let mut text = [b'x'; 600];
    text[592..].copy_from_slice(&token.to_be_bytes());
    let known = proofs.get(&text, keys).is_some();
    if !known {
        proofs.insert(&text, Rc::clone(facts), keys);
        assert!(proofs.bytes() <= PROOF_BUDGET);
    }
    known
}

#[test]
fn tokens_in_use_stay_proven_through_a_flood() {
    for mix in MIXES {
        let (mut proofs, keys, facts) = (Proofs::new(PROOF_BUDGET), KeySets::new([KeySet::default()]), facts(0));
        for token in (0..IN_USE).chain(0..IN_USE) {
            prove(&mut proofs, &keys, &facts, token);
        }
        let (used, found) = play(FIRST_NEW..FIRST_NEW + FLOOD, mix, |token| prove(&mut proofs, &keys, &facts, token));
        assert!(found * 100 > used * 95, "{mix:?}: {found} of {used}");
    }
}

#[test]
fn a_cache_that_a_flood_has_filled_learns_which_tokens_are_in_use() {
    for mix in MIXES {
        let (mut proofs, keys, facts) = (Proofs::new(PROOF_BUDGET), KeySets::new([KeySet::default()]), facts(0));
        for token in FIRST_NEW - FLOOD..FIRST_NEW {
            prove(&mut proofs, &keys, &facts, token);
        }
        let (used, found) = play(FIRST_NEW..FIRST_NEW + FLOOD, mix, |token| prove(&mut proofs, &keys, &facts, token));
        // Each token is proven twice before the cache keeps it.
        assert!(found + 2 * IN_USE >= used, "{mix:?}: {found} of {used}");
    }
}

/// What the gate does with a proven token: it looks for a remembered answer, or asks and gets this one. Returns what
/// was remembered.
fn check(checks: &mut Knowledge<Rc<Facts>, Bounded>, token: u64, answer: CheckVerdict) -> Option<CheckVerdict> {
    let now = Now { monotonic: Duration::from_secs(1), unix: 0 };
    match checks.look(&facts(token), 1, now) {
        Lookup::Decided(verdict) => Some(verdict),
        Lookup::Ask(question) => {
            checks.questions_mut().sent(question, 7);
            let answer = Answer { verdict: answer, read_at: None, keys_seq: 0, same_second: false };
            assert_eq!(checks.answered(7, Some(answer), now).streams, [1]);
            assert!(checks.mode().bytes() <= ANSWER_BUDGET);
            None
        }
        other => panic!("{other:?}"),
    }
}

/// Of the tokens in use, every second one is revoked.
fn answer_to(token: u64) -> CheckVerdict {
    if token < IN_USE && token % 2 == 1 { CheckVerdict::Revoked } else { CheckVerdict::Active }
}

#[test]
fn answers_about_tokens_in_use_stay_through_a_flood_and_are_never_wrong() {
    for filled in [false, true] {
        for mix in MIXES.into_iter().step_by(2) {
            let bounded = Bounded::new(ANSWER_BUDGET, Duration::from_secs(5));
            let mut checks = Knowledge::new(bounded, Duration::from_millis(500));
            let before = if filled { FIRST_NEW - FLOOD..FIRST_NEW } else { 0..IN_USE };
            for token in before.clone().chain(before.filter(|_| !filled)) {
                check(&mut checks, token, answer_to(token));
            }
            let known = |token| {
                let known = check(&mut checks, token, answer_to(token));
                assert!(known.is_none_or(|verdict| verdict == answer_to(token)));
                known.is_some()
            };
            let (used, found) = play(FIRST_NEW..FIRST_NEW + FLOOD, mix, known);
            let asked = if filled { 2 * IN_USE } else { used / 20 };
            assert!(found + asked >= used, "{mix:?}: {found} of {used}");
        }
    }
}
