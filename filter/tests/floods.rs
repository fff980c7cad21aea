//! Floods of good tokens that are seen once: the caches keep to their budgets, and keep what is in use.
//!
//! The budgets are those of the default `cache_bytes`. How much memory the module really takes is measured in the wasm
//! host of `tests/`.

#![expect(clippy::panic, reason = "a helper that fails is a test that fails")]

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use curfew_core::wire::{CheckRequest, CheckVerdict};
use curfew_core::{Keyspace, RevocationKey, Times};
use curfew_filter::checks::{Checks, Found};
use curfew_filter::gate::Now;
use curfew_filter::proofs::{Facts, Proofs};

const PROOF_BUDGET: u64 = 14 << 20;
const ANSWER_BUDGET: u64 = 2 << 20;
const FLOOD: u64 = 100_000;
const IN_USE: u64 = 1_000;

/// Numbers above those of the tokens in use.
const FIRST_NEW: u64 = 1 << 32;

/// How often tokens in use come among new ones: so many of these, then so many of those.
const MIXES: [(u64, u64); 3] = [(1, 1), (1, 5), (1, 10)];

fn facts(token: u64) -> Rc<Facts> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&token.to_be_bytes());
    Rc::new(Facts {
        check: CheckRequest {
            keyspace: Keyspace::from_bytes([0; 16]),
            token: RevocationKey::from_bytes(id),
            jti: None,
            session: None,
            subject: None,
            issued_at: None,
        },
        times: Times { issued_at: None, cutoff_time: None, not_before: None, expires_at: 1 },
        identity: Ok(Vec::new()),
    })
}

/// Plays `flood` new tokens with tokens in use between them; how many uses of those there were, and how many `known`
/// said yes to.
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

/// What the gate does with a token text: looks, and keeps what it had to prove.
fn prove(proofs: &mut Proofs, facts: &Rc<Facts>, token: u64) -> bool {
    // As signatures do, the ends differ.
    let mut text = [b'x'; 600];
    text[592..].copy_from_slice(&token.to_be_bytes());
    let known = proofs.get(&text).is_some();
    if !known {
        proofs.insert(&text, Rc::clone(facts));
        assert!(proofs.bytes() <= PROOF_BUDGET);
    }
    known
}

#[test]
fn tokens_in_use_stay_proven_through_a_flood() {
    for mix in MIXES {
        let (mut proofs, facts) = (Proofs::new(PROOF_BUDGET), facts(0));
        for token in (0..IN_USE).chain(0..IN_USE) {
            prove(&mut proofs, &facts, token);
        }
        let (used, found) = play(FIRST_NEW..FIRST_NEW + FLOOD, mix, |token| prove(&mut proofs, &facts, token));
        assert!(found * 100 > used * 95, "{mix:?}: {found} of {used}");
    }
}

#[test]
fn a_cache_that_a_flood_has_filled_learns_which_tokens_are_in_use() {
    for mix in MIXES {
        let (mut proofs, facts) = (Proofs::new(PROOF_BUDGET), facts(0));
        for token in FIRST_NEW - FLOOD..FIRST_NEW {
            prove(&mut proofs, &facts, token);
        }
        let (used, found) = play(FIRST_NEW..FIRST_NEW + FLOOD, mix, |token| prove(&mut proofs, &facts, token));
        // Each is proven twice before it is known.
        assert!(found + 2 * IN_USE >= used, "{mix:?}: {found} of {used}");
    }
}

/// What the gate does with a proven token: looks for an answer, or asks and gets this one. Says what was known.
fn check(checks: &mut Checks, token: u64, answer: CheckVerdict) -> Option<CheckVerdict> {
    let now = Now { monotonic: Duration::from_secs(1), unix: 0 };
    match checks.look(&facts(token), 1, now) {
        Found::Known(verdict) => Some(verdict),
        Found::Ask(question) => {
            checks.sent(question, 7);
            assert_eq!(checks.answered(7, Some(answer), now).streams, [1]);
            assert!(checks.bytes() <= ANSWER_BUDGET);
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
fn what_is_known_of_tokens_in_use_stays_known_through_a_flood_and_is_never_wrong() {
    for filled in [false, true] {
        for mix in MIXES.into_iter().step_by(2) {
            let mut checks = Checks::new(ANSWER_BUDGET, Duration::from_secs(5), Duration::from_millis(500));
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
