//! What the gate decides, as values that the glue carries out.

use curfew_core::Denial;
use curfew_core::wire::CheckRequest;

use crate::held_keys::Waited;
use crate::ids::StreamId;
use crate::knowledge::QuestionId;
use crate::permit::{Edits, Mark, Permit};

/// What to do with a request that has just arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Let it go on.
    Admit(Permit),
    /// Answer it.
    Refuse(Refusal),
    /// Hold it until its question is answered, or until the keys that its token needs were asked for.
    Wait {
        /// To be made now, so that nothing can fail when the answer comes. None if it waits for keys: then it is decided
        /// about from its headers again, with [`super::Gate::arrive_again`].
        edits: Edits,
        /// To be sent to the control plane. `None` if the request waits for another request's question, or for keys. Send
        /// [`super::Gate::key_call`] too.
        question: Option<Question>,
    },
}

/// A question for the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its name within this VM.
    pub id: QuestionId,
    /// What is asked.
    pub request: CheckRequest,
}

/// The right to go on, or why there is none.
pub type Decision = Result<Permit, Refusal>;

impl From<Decision> for Step {
    fn from(decision: Decision) -> Self {
        decision.map_or_else(Self::Refuse, Self::Admit)
    }
}

/// Why a request is refused, and how to say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Status, code and challenge.
    pub denial: Denial,
    /// A sentence for developers.
    pub detail: String,
    /// The client speaks gRPC and gets no body.
    pub grpc: bool,
    /// What the access log may say.
    pub mark: Option<Mark>,
    /// What is added to the code in the response code details, if keys are the reason.
    pub cause: Option<&'static str>,
    /// A name of the token for the access log, if it is known and not yet told.
    pub token: Option<String>,
}

impl Refusal {
    /// What access logs show as `%RESPONSE_CODE_DETAILS%`.
    pub fn details(&self) -> String {
        let code = self.denial.code();
        self.cause.map_or_else(|| ["curfew_", code].concat(), |cause| ["curfew_", code, "_", cause].concat())
    }
}

/// The next requests that have waited.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// The requests that are decided now; their headers were edited when they began to wait.
    pub streams: Vec<(StreamId, Decision)>,
    /// The requests to be decided about anew, with [`super::Gate::arrive_again`].
    pub returning: Vec<(StreamId, Waited)>,
    /// To be sent to the control plane.
    pub questions: Vec<Question>,
}

/// Requests that have waited, with the decision about each, and a question to send.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// The requests that are decided now; their headers were edited when they began to wait. If
    /// [`super::Gate::holds_back`] any others, call [`super::Gate::next_portion`] soon.
    pub streams: Vec<(StreamId, Decision)>,
    /// To be sent to the control plane.
    pub question: Option<Question>,
}
