//! The calls for keys, and the streams and questions that have waited for them, in the root's callbacks.

use curfew_core::wire::KeysAnswer;

use super::plugin::{Held, Plugin};
use crate::gate::{Question, Step};
use crate::held_keys::Waited;
use crate::host;
use crate::ids::StreamId;
use crate::outage::Failure;

impl Plugin {
    /// Sends the calls for keys that are due.
    pub(super) fn call_keys(&self) {
        let mut gate = self.gate.borrow_mut();
        while let Some(call) = gate.key_call(host::now(self.start)) {
            match host::call_keys(&gate.config().control_plane, &call) {
                Some(taken) => gate.key_call_sent(call.kind, taken),
                None => gate.key_call_not_sent(call.kind, host::now(self.start)),
            }
        }
    }

    /// A call for keys has ended.
    pub(super) fn keys_answered(&self, call: u32, answer: &Result<KeysAnswer, Failure>) {
        self.gate.borrow_mut().keys_answered(call, answer.as_ref().map_err(|failure| *failure), host::now(self.start));
        self.release_portion();
        self.poll();
        self.report();
    }

    /// Acts on the next streams and questions that have waited.
    pub(super) fn release_portion(&self) {
        let portion = self.gate.borrow_mut().next_portion(host::now(self.start));
        self.release(&portion.streams);
        let mut questions = portion.questions;
        for (stream, waited) in portion.returning {
            questions.extend(self.decide_anew(stream, waited));
        }
        host::select(self.root);
        questions.iter().for_each(|question| self.send(question));
        self.call_keys();
    }

    /// Decides about a stream that has waited for keys. Returns the question to send, if it goes on waiting for one.
    fn decide_anew(&self, stream: StreamId, waited: Waited) -> Option<Question> {
        // A stream may be gone before its end was reported. Then the host refuses to select it.
        if !host::select(stream) {
            return None;
        }
        match self.arrive_again(stream, waited) {
            Step::Admit(permit) if host::edit(&permit.edits) => self.act(stream, &Ok(permit)),
            Step::Admit(_) => self.refuse_unreadable(stream),
            Step::Refuse(refusal) => self.act(stream, &Err(refusal)),
            Step::Wait { edits, question } if host::edit(&edits) => return question,
            Step::Wait { question, .. } => {
                let question = question.map(|question| question.id);
                self.gate.borrow_mut().withdraw(stream, question, host::now(self.start));
                self.refuse_unreadable(stream);
            }
        }
        None
    }

    /// Refuses the selected stream, whose headers the host did not change.
    fn refuse_unreadable(&self, stream: StreamId) {
        self.held.borrow_mut().insert(stream, Held::Refused);
        host::refuse(&super::carry_out::unreadable_refusal());
    }
}
