//! The comparison finds differences: a side that reads answers a little differently is found by the script in the
//! corpus that was written for that difference.

use curfew_core::Epoch;
use curfew_core::wire::FeedAnswer;
use curfew_filter::knowledge::Answer;
use curfew_filter::outage::Failure;

use super::readers::{page, verdict};
use super::*;
use crate::fuzz::corpus;

/// The page as a wrong side reads it.
type Wrong = fn(u16, &[u8]) -> Result<FeedAnswer, Failure>;

/// True if these readers differ on a script on which the right ones do not.
fn differs(script: &str, wrong: Readers) -> bool {
    let seed = corpus::read("decisions").unwrap().into_iter().find(|seed| seed.name == script).unwrap();
    check(&seed.input).unwrap();
    check_with(&seed.input, wrong).is_err()
}

#[test]
fn a_side_that_reads_pages_otherwise_is_found() {
    let wrong: [(&str, Wrong); 6] = [
        ("strict-fresh-later", |status, body| Ok(FeedAnswer { fresh_ms: 0, ..page(status, body)? })),
        ("strict-more-takes-the-lease", |status, body| Ok(FeedAnswer { more: false, ..page(status, body)? })),
        ("strict-lease-ends", |status, body| {
            let page = page(status, body)?;
            Ok(FeedAnswer { lease_ms: page.lease_ms + 1, ..page })
        }),
        ("strict-other-history", |status, body| {
            Ok(FeedAnswer { epoch: Epoch::from_bytes([0; 16]), from: 0, ..page(status, body)? })
        }),
        ("strict-second-before", |status, body| {
            let mut page = page(status, body)?;
            page.revocations.iter_mut().for_each(|revocation| revocation.cutoff += 1);
            Ok(page)
        }),
        ("strict-largest-page", |_, body| serde_json::from_slice(body).map_err(|_| Failure::NoPage)),
    ];
    for (script, page) in wrong {
        assert!(differs(script, Readers { page, ..READERS }), "{script}");
    }
}

#[test]
fn a_side_that_never_believes_a_tie_is_found() {
    let forgetful = |status, body: &_| Ok(Answer { read_at: None, ..verdict(status, body)? });
    assert!(differs("strict-seconds-tie-kept", Readers { verdict: forgetful, ..READERS }));
    assert!(!differs("strict-seconds-tie-seen-too-early", Readers { verdict: forgetful, ..READERS }));
}
