//! The words for a token that counts as logged out although its login may be newer than the logout: it was issued in the second
//! of a logout of all its user's devices, or does not say when.

use curfew_core::wire::CheckVerdict;
use curfew_core::{Denial, REVOKED_IN_SAME_SECOND, REVOKED_WITHOUT_TIME};

use super::{Gate, Verdict};
use crate::proofs::Facts;

impl Gate {
    /// A verdict without a question, as it is told to the client.
    pub(super) fn told(&self, verdict: CheckVerdict, facts: &Facts) -> Verdict {
        let same_second = verdict == CheckVerdict::Revoked && self.knowledge.is_of_the_second(facts);
        if same_second { Verdict::SameSecond } else { Verdict::Is(verdict) }
    }
}

/// The sentence for a token that is refused after this verdict. `undated` is true for a token that does not say when it was
/// issued.
pub(super) fn detail(verdict: Verdict, undated: bool, denial: Denial) -> &'static str {
    match verdict {
        Verdict::SameSecond if undated => REVOKED_WITHOUT_TIME,
        Verdict::SameSecond => REVOKED_IN_SAME_SECOND,
        _ => denial.detail(),
    }
}
