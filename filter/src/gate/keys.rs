//! The gate's part in the keys that the control plane hands out: which requests wait for them, and what becomes of those.
//!
//! A request waits in one of two ways. If its token is not proven, or was proven by keys that are older than what the
//! control plane has shown, it has not been touched: it is decided about anew from its headers. If its token was proven
//! and its question's answer shows newer keys, its headers are edited already: its question waits, and is asked again.
//!
//! Whatever a request has waited for, it is admitted only if its issuer still has the key that proved its token.

use curfew_core::wire::KeysAnswer;
use curfew_core::{Denial, KeySets, Unproven};

use super::{Decision, Gate, Manner, Question, RELEASED_AT_ONCE, Step};
use crate::config::Consistency;
use crate::held_keys::{Ended, FRESH, KeyCall, Kind, Turn, Waited};
use crate::ids::{CallId, StreamId};
use crate::metrics::Metric;
use crate::now::Now;
use crate::outage::Failure;
use crate::permit::Edits;
use crate::proofs::Facts;
use crate::request::Request;

const WITHOUT_KEYS: &str = "The keys of the token's issuer are not known at the moment. Try again.";
const REMOVED_KEY: &str = "The token is not valid any more: its issuer has removed the key that signed it.";

impl Gate {
    /// Proves tokens with these keys from now on. Proofs whose key its issuer still has stay; the others are proven
    /// anew or refused. So are requests that wait for an answer, if the control plane hands out their issuer's keys.
    pub fn replace_keys(&mut self, keys: KeySets) {
        self.keys.replace(keys);
    }

    /// The call for keys to send now, if one is due; ask until there is none. Report [`Self::key_call_sent`] or
    /// [`Self::key_call_not_sent`].
    pub fn key_call(&mut self, now: Now) -> Option<KeyCall> {
        self.keys.due(now.monotonic)
    }

    /// True if [`Self::key_call`] has one to send.
    pub fn key_call_is_due(&self) -> bool {
        self.keys.is_due()
    }

    /// The host took the call and will report its end under this number.
    pub fn key_call_sent(&mut self, kind: Kind, call: CallId) {
        self.count(Metric::KeyCallSent);
        self.keys.sent(kind, call);
    }

    /// The host did not take the call. Those who wait for it are in the next portions.
    pub fn key_call_not_sent(&mut self, kind: Kind, now: Now) {
        self.give_up_key_call(kind, Failure::NotSent, now);
    }

    /// True if this callout is a call for keys that is under way.
    pub fn called_for_keys(&self, call: CallId) -> bool {
        self.keys.called(call)
    }

    /// A call for keys has ended, with key sets or without any. Those who wait for it are in the next portions. Send
    /// [`Self::key_call`] after them.
    pub fn keys_answered(&mut self, call: CallId, answer: Result<&KeysAnswer, Failure>, now: Now) {
        let policy = &self.config.policy;
        let Some((kind, ended)) = self.keys.answered(call, answer, policy, now.monotonic) else { return };
        self.note_end(ended, now);
        self.knowledge.hold_keys(self.keys.position());
        match kind {
            Kind::Plain if !ended.came => self.refuse_questions(),
            // A question waits for a plain call, but what a call with `refresh` brings may serve it, too.
            Kind::Refresh(_) if !ended.came || self.keys.are_behind() => {}
            Kind::Plain | Kind::Refresh(_) => self.knowledge.keys_came(),
        }
    }

    /// Takes this stream out of those that are to be decided about anew, if it is one.
    pub fn take_returning(&mut self, stream: StreamId) -> Option<Waited> {
        self.keys.take_only(stream)
    }

    /// Takes how new the keys are, if that has changed since the last time.
    pub fn take_keys_gauge(&mut self) -> Option<u64> {
        self.keys_gauge.take()
    }

    fn note_end(&mut self, ended: Ended, now: Now) {
        if !ended.came {
            self.count(Metric::KeyCallFailed);
        }
        if ended.replaced {
            self.count(Metric::KeysReplaced);
        }
        self.notices.extend(self.key_outage.ended(ended.failure, now.monotonic));
        self.keys_gauge = self.keys.position().map(|position| position.seq);
    }

    pub(super) fn give_up_lost_key_calls(&mut self, now: Now) {
        for kind in self.keys.lost(now.monotonic) {
            self.give_up_key_call(kind, Failure::Lost, now);
        }
    }

    fn give_up_key_call(&mut self, kind: Kind, failure: Failure, now: Now) {
        self.keys.gave_up(kind, now.monotonic);
        self.note_end(Ended { replaced: false, failure: Some(failure), came: false }, now);
        if kind == Kind::Plain {
            self.refuse_questions();
        }
    }

    /// The keys that questions wait for cannot be had.
    fn refuse_questions(&mut self) {
        for settled in self.knowledge.keys_failed() {
            self.hold(&settled);
        }
    }

    /// A question's answer may have shown newer keys: makes a call due, or refuses those who wait for it.
    pub(super) fn call_for_questions(&mut self, now: Now) {
        if self.knowledge.questions().wait_for_keys() && !self.keys.want_shown(now.monotonic) {
            self.refuse_questions();
        }
    }

    /// The next questions that have waited for keys: they are asked again, or need not be.
    pub(super) fn go_on_with_questions(&mut self, now: Now) -> Vec<Question> {
        let mut questions = Vec::new();
        for _ in 0..RELEASED_AT_ONCE {
            let Some(settled) = self.knowledge.go_on(now) else { break };
            self.hold(&settled);
            questions.extend(settled.ask_again.map(|(id, facts)| Question { id, request: facts.check.clone() }));
        }
        questions
    }

    /// A page may have shown newer keys: they are asked for before a request needs them.
    pub(super) fn note_keys_of_log(&mut self, now: Now) {
        let shown = self.knowledge.mode().feed().and_then(|feed| feed.keys());
        self.keys.note_shown(shown);
        self.keys.prefetch(now.monotonic);
    }

    /// A token was not proven: its request is refused, unless keys that are not held could prove it.
    pub(super) fn refuse_unproven(
        &mut self,
        stream: StreamId,
        waited: Waited,
        request: &Request<'_>,
        manner: Manner,
        unproven: Unproven,
        now: Now,
    ) -> Step {
        let Unproven { error, newer_keys, other_keys } = unproven;
        let Some(place) = other_keys else {
            return self.refuse(request, manner, error.denial(), &error.to_string());
        };
        let current = self.keys_are_current(now);
        if !current {
            // The worker has rested, or has just started: it has the log followed, and then its keys are those of the log.
            self.knowledge.mode_mut().feed_mut().into_iter().for_each(|feed| feed.requested(now));
        }
        let turn = match newer_keys {
            Some(_) => self.keys.wait_for_key(place, current, stream, waited, now.monotonic),
            None => self.keys.wait_for_others(current, stream, waited, now.monotonic),
        };
        match turn {
            Turn::Final => self.refuse(request, manner, error.denial(), &error.to_string()),
            other => self.take_turn(other, waited, request, manner, None, now),
        }
    }

    /// A token was proven, and the control plane has shown keys that are newer than those that proved it.
    pub(super) fn wait_for_shown(
        &mut self,
        stream: StreamId,
        waited: Waited,
        request: &Request<'_>,
        manner: Manner,
        facts: &Facts,
        now: Now,
    ) -> Step {
        let turn = self.keys.wait_for_shown(stream, waited, now.monotonic);
        self.take_turn(turn, waited, request, manner, Some(facts), now)
    }

    /// `proven`: what is known of the token, if it was proven.
    fn take_turn(
        &mut self,
        turn: Turn,
        waited: Waited,
        request: &Request<'_>,
        manner: Manner,
        proven: Option<&Facts>,
        now: Now,
    ) -> Step {
        if turn == Turn::Wait {
            if waited.is_new() {
                self.count(Metric::KeyWait);
            }
            return Step::Wait { edits: Edits::default(), question: None };
        }
        if turn == Turn::TooMany {
            let failure = Some(Failure::TooManyForKeys);
            self.note_end(Ended { replaced: false, failure, came: false }, now);
        }
        let mut edits = self.edits_of_refused(request, manner);
        edits.token = proven.and_then(|facts| self.name(facts));
        self.refuse_without_keys(edits, manner).into()
    }

    /// True if the keys are known to be the newest that the control plane has: a lease says so, or they were just read. Not
    /// if anything has shown newer ones since.
    fn keys_are_current(&self, now: Now) -> bool {
        let fresh_for = match self.config.consistency {
            Consistency::Strict { .. } => FRESH,
            Consistency::Bounded { max_staleness } => FRESH.max(max_staleness),
        };
        let feed = self.knowledge.mode().feed().filter(|feed| feed.may_decide(now));
        let as_log = feed.and_then(|feed| feed.keys()).zip(self.keys.position());
        let as_new =
            as_log.is_some_and(|(shown, held)| held.covers(shown)) || self.keys.are_fresh(fresh_for, now.monotonic);
        as_new && !self.keys.are_behind()
    }

    pub(super) fn refuse_removed_key(&mut self, edits: Edits, manner: Manner) -> Decision {
        self.count(Metric::KeyRemoved);
        self.refuse_because("key_removed", edits, manner, Denial::Invalid, REMOVED_KEY)
    }

    pub(super) fn refuse_without_keys(&mut self, edits: Edits, manner: Manner) -> Decision {
        self.refuse_because("without_keys", edits, manner, Denial::Unavailable, WITHOUT_KEYS)
    }

    fn refuse_because(
        &mut self,
        cause: &'static str,
        edits: Edits,
        manner: Manner,
        denial: Denial,
        detail: &str,
    ) -> Decision {
        let decision = self.refuse_with(edits, manner, denial, detail);
        decision.map_err(|refusal| super::Refusal { cause: Some(cause), ..refusal })
    }
}
