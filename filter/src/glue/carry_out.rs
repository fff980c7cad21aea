//! A step, carried out in the callback of its own stream.

use curfew_core::Denial;
use proxy_wasm::types::Action;

use crate::gate::{Refusal, Step};
use crate::host;

/// Carries out a step for the stream whose callback runs.
pub(super) fn carry_out(step: Step) -> Action {
    match step {
        Step::Admit(permit) if host::edit(&permit.edits) => {
            host::mark(permit.mark);
            Action::Continue
        }
        Step::Refuse(refusal) => {
            host::refuse(&refusal);
            Action::Pause
        }
        Step::Admit(_) | Step::Wait { .. } => carry_out(unreadable()),
    }
}

/// The refusal of a request whose headers the host did not give, or did not change.
pub(super) fn unreadable() -> Step {
    Step::Refuse(unreadable_refusal())
}

/// The same.
pub(super) fn unreadable_refusal() -> Refusal {
    let denial = Denial::Unavailable;
    Refusal { denial, detail: denial.detail().to_owned(), grpc: false, mark: None, cause: None, token: None }
}
