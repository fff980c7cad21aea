//! The keys that the control plane hands out: what is held, how new it is, and who waits for newer ones.
//!
//! The control plane is asked in two ways. A plain call reads what it has. A call with `refresh` has it ask an issuer
//! first, which takes longer; so a plain call and one for each issuer may be under way, and requests wait for the one that
//! they need. However many wait for it, there is one call, and after a failure there is none of its kind for a while.
//!
//! Clients decide which keys their tokens name. A token that names an unknown one is worth a call with `refresh`, but
//! only one in [`REFRESH_INTERVAL`] for each issuer; otherwise it is refused as it always was. That needs keys that are
//! known to be current: a worker that has rested may have missed a change, and no `kid` may show it.
//!
//! Nothing here is looked at on the way of a token whose issuer's keys stand in the configuration.

mod calls;

use std::time::Duration;

use curfew_core::wire::{IssuerKeys, KeysAnswer, KeysRequest};
use curfew_core::{KeySet, KeySets, LogPosition, Policy};

use crate::ids::{CallId, StreamId};
use crate::outage::Failure;

use calls::Calls;
pub use calls::{KeyCall, Kind, MAX_ROUNDS, Waited};

/// A token that names an unknown key causes no call with `refresh` if there was one for its issuer this recently.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// After a call that failed, or that brought no keys of an issuer, requests that need another are refused for this time.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Keys count as current for this time after they were read, where no lease says so.
pub const FRESH: Duration = Duration::from_secs(1);

/// The key sets of all issuers, and the calls that bring the handed-out ones.
#[derive(Debug)]
pub struct HeldKeys {
    sets: KeySets,
    issuers: Vec<HandedOut>,
    /// The change of keys that the held sets are as new as; `None`: no answer was taken yet.
    held: Option<LogPosition>,
    /// The newest change that any answer of the control plane has shown.
    shown: Option<LogPosition>,
    /// When the last answer came.
    read_at: Option<Duration>,
    calls: Calls,
}

/// An issuer whose keys the control plane hands out.
#[derive(Debug)]
struct HandedOut {
    /// Its place in the policy.
    place: usize,
    name: String,
    /// False as long as the control plane has given no set of it.
    known: bool,
    /// When a call with `refresh` for it was sent last.
    refreshed_at: Option<Duration>,
}

/// What becomes of a request whose token needs keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It waits for a call.
    Wait,
    /// The keys cannot be had now.
    Unavailable,
    /// The keys cannot be had now, because too many requests wait for them.
    TooMany,
    /// The keys are as good as they get: what they say about the token counts.
    Final,
}

/// What the end of a call has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The sets are not the same as before.
    pub replaced: bool,
    /// Why nothing was taken, or that an issuer has no keys.
    pub failure: Option<Failure>,
    /// Those who waited may go on; otherwise they are refused.
    pub came: bool,
}

impl HeldKeys {
    /// Starts with the keys of the configuration. `timeout` is that of a call that the control plane answers at once.
    pub fn new(sets: KeySets, policy: &Policy, timeout: Duration) -> Self {
        let issuers = policy.issuers().enumerate().filter(|(place, _)| policy.keys_elsewhere(*place));
        let handed_out =
            |(place, name): (usize, &str)| HandedOut { place, name: name.to_owned(), known: false, refreshed_at: None };
        let issuers: Vec<_> = issuers.map(handed_out).collect();
        let calls = Calls::new(issuers.iter().map(|issuer| issuer.place), timeout);
        Self { sets, issuers, held: None, shown: None, read_at: None, calls }
    }

    /// The key sets of all issuers.
    pub fn sets(&self) -> &KeySets {
        &self.sets
    }

    /// Replaces the sets of all issuers.
    pub fn replace(&mut self, sets: KeySets) {
        self.sets = sets;
    }

    /// True if the control plane hands out the keys of some issuer.
    pub fn any_handed_out(&self) -> bool {
        !self.issuers.is_empty()
    }

    /// The change of keys that the held sets are as new as.
    pub fn position(&self) -> Option<LogPosition> {
        self.held
    }

    /// An answer of the control plane shows this change of keys.
    pub fn note_shown(&mut self, shown: Option<LogPosition>) {
        let Some(shown) = shown.filter(|_| self.any_handed_out()) else { return };
        if self.shown.is_none_or(|known| !known.covers(shown)) {
            self.shown = Some(shown);
        }
    }

    /// True if an answer of the control plane has shown newer keys than the held ones.
    pub fn are_behind(&self) -> bool {
        self.shown.is_some_and(|shown| self.held.is_none_or(|held| !held.covers(shown)))
    }

    /// True if the sets were read within this time.
    pub fn are_fresh(&self, within: Duration, now: Duration) -> bool {
        self.read_at.is_some_and(|read_at| now.saturating_sub(read_at) < within)
    }

    /// True if the keys of the issuer at this place are known, be they none.
    pub fn are_known(&self, place: usize) -> bool {
        self.issuers.iter().all(|issuer| issuer.place != place || issuer.known)
    }

    /// Makes a call due that brings what was shown, before a request needs it.
    pub fn prefetch(&mut self, now: Duration) {
        if self.are_behind() && !self.calls.is_paused(Kind::Plain, now) {
            self.calls.want(Kind::Plain);
        }
    }

    /// A question waits for the keys that its answer shows. False if they cannot be had now.
    pub fn want_shown(&mut self, now: Duration) -> bool {
        let possible = self.calls.is_busy(Kind::Plain) || !self.calls.is_paused(Kind::Plain, now);
        if possible {
            self.calls.want(Kind::Plain);
        }
        possible
    }

    /// A token was proven by a key that newer keys may not have: its request waits for them.
    pub fn wait_for_shown(&mut self, stream: StreamId, waited: Waited, now: Duration) -> Turn {
        self.wait_plainly(stream, waited, now)
    }

    /// A token of the issuer at this place was not proven by the keys that are there, and none of them is missing. Only if they
    /// are not known to be the newest of the control plane, its request waits for those.
    pub fn wait_for_others(&mut self, current: bool, stream: StreamId, waited: Waited, now: Duration) -> Turn {
        if current { Turn::Final } else { self.wait_plainly(stream, waited, now) }
    }

    /// A token of the issuer at this place was not proven, and a key that is not held could. `current`: the held keys are
    /// known to be the newest of the control plane.
    pub fn wait_for_key(
        &mut self,
        place: usize,
        current: bool,
        stream: StreamId,
        waited: Waited,
        now: Duration,
    ) -> Turn {
        let Some(issuer) = self.issuers.iter().find(|issuer| issuer.place == place) else { return Turn::Final };
        if !issuer.known {
            let asked_lately = self.calls.ended_within(Kind::Plain, PAUSE, now);
            return if asked_lately && !self.calls.is_busy(Kind::Plain) {
                Turn::Unavailable
            } else {
                self.wait_plainly(stream, waited, now)
            };
        }
        let lately = issuer.refreshed_at.is_some_and(|at| now.saturating_sub(at) < REFRESH_INTERVAL);
        if self.calls.is_busy(Kind::Refresh(place)) || !lately {
            return self.wait(Kind::Refresh(place), stream, waited, now);
        }
        if current { Turn::Final } else { self.wait_plainly(stream, waited, now) }
    }

    fn wait_plainly(&mut self, stream: StreamId, waited: Waited, now: Duration) -> Turn {
        self.wait(Kind::Plain, stream, waited, now)
    }

    fn wait(&mut self, kind: Kind, stream: StreamId, waited: Waited, now: Duration) -> Turn {
        let paused = self.calls.is_paused(kind, now) && !self.calls.is_busy(kind);
        if paused || waited.is_enough() {
            return Turn::Unavailable;
        }
        if !self.calls.join(kind, stream, waited) {
            return Turn::TooMany;
        }
        self.calls.want(kind);
        Turn::Wait
    }

    /// The call to send now, if one is due. Report [`Self::sent`] or [`Self::gave_up`], and ask for the next one.
    pub fn due(&mut self, now: Duration) -> Option<KeyCall> {
        let (kind, timeout) = self.calls.due(now)?;
        self.note_refreshed(kind, Some(now));
        let refresh = self.issuers.iter().find(|issuer| kind == Kind::Refresh(issuer.place));
        let refresh = refresh.map(|issuer| issuer.name.clone());
        let issuers = self.issuers.iter().map(|issuer| issuer.name.clone()).collect();
        Some(KeyCall { kind, request: KeysRequest { issuers, refresh }, timeout })
    }

    /// True if [`Self::due`] has a call to send.
    pub fn is_due(&self) -> bool {
        self.calls.is_due()
    }

    /// The host took the call and will report its end under this number.
    pub fn sent(&mut self, kind: Kind, call: CallId) {
        self.calls.sent(kind, call);
    }

    /// The host did not take the call, or has not reported its end in time. Those who wait for it are refused.
    pub fn gave_up(&mut self, kind: Kind, now: Duration) {
        self.fail(kind, now);
    }

    /// True if this callout is a call for keys that is under way.
    pub fn called(&self, call: CallId) -> bool {
        self.calls.kind_of(call).is_some()
    }

    /// The calls whose end the host should have reported long ago.
    pub fn lost(&self, now: Duration) -> Vec<Kind> {
        self.calls.lost(now)
    }

    /// A callout has ended. Nothing happens if it is not a call for keys that is under way.
    pub fn answered(
        &mut self,
        call: CallId,
        answer: Result<&KeysAnswer, Failure>,
        policy: &Policy,
        now: Duration,
    ) -> Option<(Kind, Ended)> {
        let kind = self.calls.kind_of(call)?;
        let sent_at = self.calls.sent_at(kind).unwrap_or(now);
        let ended = match answer.and_then(|answer| self.take(answer, policy, sent_at, now)) {
            Ok(replaced) => {
                self.note_refreshed(kind, Some(now));
                self.calls.ended(kind, true, now);
                let failure = self.issuers.iter().any(|issuer| !issuer.known).then_some(Failure::NoKeysYet);
                Ended { replaced, failure, came: true }
            }
            Err(failure) => {
                self.fail(kind, now);
                Ended { replaced: false, failure: Some(failure), came: false }
            }
        };
        Some((kind, ended))
    }

    fn fail(&mut self, kind: Kind, now: Duration) {
        // A call that failed has refreshed nothing.
        self.note_refreshed(kind, None);
        self.calls.ended(kind, false, now);
    }

    /// Notes when the issuer was asked that a call with `refresh` is about. The control plane asked it after the call was
    /// sent, so the pause counts from the end.
    fn note_refreshed(&mut self, kind: Kind, at: Option<Duration>) {
        if let Some(issuer) = self.issuers.iter_mut().find(|issuer| kind == Kind::Refresh(issuer.place)) {
            issuer.refreshed_at = at;
        }
    }

    /// Takes an answer, unless it is older than what is held. True if the sets are not the same as before.
    fn take(
        &mut self,
        answer: &KeysAnswer,
        policy: &Policy,
        sent_at: Duration,
        now: Duration,
    ) -> Result<bool, Failure> {
        let position = LogPosition { epoch: answer.epoch, seq: answer.keys_seq };
        if self.held.is_some_and(|held| held != position && held.covers(position)) {
            return Ok(false);
        }
        // Of two histories, the one that was asked for last is the present one.
        let is_of_another = self.held.is_some_and(|held| held.epoch != position.epoch);
        if is_of_another && self.read_at.is_some_and(|read_at| sent_at < read_at) {
            return Ok(false);
        }
        if self.held == Some(position) && !self.would_know_more(answer) {
            // Reading the same sets again would take some milliseconds.
            self.note_read(position, now);
            return Ok(false);
        }
        let sets: Vec<_> =
            self.issuers.iter().map(|issuer| read(issuer, &answer.sets, policy)).collect::<Result<_, _>>()?;
        let mut replaced = false;
        for (issuer, set) in self.issuers.iter_mut().zip(sets) {
            issuer.known = set.is_some();
            replaced |= put(&mut self.sets, issuer.place, set.unwrap_or_default());
        }
        self.note_read(position, now);
        Ok(replaced)
    }

    /// True if the answer has a set of an issuer that has had none, or no set of one that has had one.
    fn would_know_more(&self, answer: &KeysAnswer) -> bool {
        let has_set = |name: &str| answer.sets.iter().any(|keys| keys.issuer == name && keys.jwks.is_some());
        self.issuers.iter().any(|issuer| issuer.known != has_set(&issuer.name))
    }

    /// What is held is as new as this position. An answer of another history than was shown is the newer one: the other may
    /// have been shown before it was read, and come late.
    fn note_read(&mut self, position: LogPosition, now: Duration) {
        self.held = Some(position);
        self.read_at = Some(now);
        self.shown = self.shown.filter(|shown| shown.epoch == position.epoch && shown.seq > position.seq).or(self.held);
    }

    /// Takes out the next streams that have waited and are to be decided about anew, `most` at most.
    pub fn take_returning(&mut self, most: usize) -> Vec<(StreamId, Waited)> {
        self.calls.take_returning(most)
    }

    /// Takes out this stream, if it is one of them.
    pub fn take_only(&mut self, stream: StreamId) -> Option<Waited> {
        self.calls.take_only(stream)
    }

    /// True if some streams have waited and were not taken out yet.
    pub fn any_return(&self) -> bool {
        self.calls.any_return()
    }

    /// How many streams wait, or have waited and were not taken out yet.
    pub fn waiting(&self) -> usize {
        self.calls.waiting()
    }

    /// True if a call is due or under way.
    pub fn are_called(&self) -> bool {
        self.calls.any_busy()
    }

    /// The stream is gone.
    pub fn forget(&mut self, stream: StreamId) {
        self.calls.forget(stream);
    }
}

/// The set of an issuer in an answer; `None` if the control plane has none.
fn read(issuer: &HandedOut, sets: &[IssuerKeys], policy: &Policy) -> Result<Option<KeySet>, Failure> {
    let jwks = sets.iter().find(|keys| keys.issuer == issuer.name).and_then(|keys| keys.jwks.as_ref());
    let set = jwks.map(|jwks| KeySet::read_handed_out(jwks, policy.algorithms(issuer.place)));
    set.transpose().map_err(|_| Failure::NoKeys)
}

/// Puts a set at its place, unless the same keys are there: then proofs need not be looked at again. True if it did.
fn put(sets: &mut KeySets, place: usize, set: KeySet) -> bool {
    let names = |set: &KeySet| set.keys().map(|key| (key.id(), key.kid().map(str::to_owned))).collect::<Vec<_>>();
    if sets.get(place).is_some_and(|held| names(held) == names(&set)) {
        return false;
    }
    let replaced = sets.with(place, set);
    replaced.map(|replaced| *sets = replaced).is_some()
}

#[cfg(test)]
mod tests;
