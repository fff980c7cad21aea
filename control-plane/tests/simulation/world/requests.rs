//! Requests at the proxies, and their tokens.

use std::sync::Arc;

use curfew_core::wire::{CheckRequest, CheckVerdict};
use curfew_core::{Coverage, IssuerKey, KeyId, Keyspace, RevocationKey, Times};
use curfew_filter::held_keys::Waited;
use curfew_filter::ids::StreamId;
use curfew_filter::knowledge::{Answer, Lookup, QuestionId};
use curfew_filter::now::Now;
use curfew_filter::proofs::Facts;

use super::World;
use super::workers::Waiting;
use crate::clocks::unix;
use crate::events::{Call, Event};
use crate::keys::{Key, issuer_key};
use crate::mutant::Mutant;
use crate::network::Route;
use crate::scene::{SKEW_SECONDS, ms};

/// The number of users. They are few, so that each of them logs in and out often.
const USERS: usize = 4;

pub(super) struct Token {
    pub(super) facts: Arc<Facts>,
    /// The key that proves it, if that is handed out.
    pub(super) key: Option<Key>,
    pub(super) user: RevocationKey,
    /// No logout names this token, so most such tokens stay valid.
    pub(super) spared: bool,
    /// True if a logout of it was asked for.
    pub(super) asked: bool,
    /// The step at which the first logout of it was answered.
    pub(super) answered: Option<u64>,
}

impl Token {
    /// True if the token has not expired by a clock that shows this time.
    pub(super) fn is_in_time(&self, unix: i64) -> bool {
        unix < self.facts.times.expires_at + SKEW_SECONDS
    }
}

impl World {
    pub(super) fn log_in(&mut self) {
        let issued_at = unix(self.now);
        let user = RevocationKey::from_bytes([u8::try_from(self.dice.below(USERS)).unwrap_or(0); 16]);
        let token = RevocationKey::from_bytes(self.dice.sixteen());
        let session = self.draw_session(user);
        let check = CheckRequest {
            keyspace: Keyspace::from_bytes([0; 16]),
            token,
            jti: None,
            session: Some(session),
            subject: Some(user),
            issued_at: Some(issued_at),
        };
        let times = Times {
            issued_at: Some(issued_at),
            cutoff_time: Some(issued_at),
            not_before: None,
            expires_at: issued_at + self.scene.token_seconds,
            clock_skew: 0,
        };
        if !self.dice.per_mille(300) {
            self.database.register(token);
        }
        if self.database.verdict(&check) == CheckVerdict::Revoked {
            // Its session is logged out already. The entry may be purged before the last worker forgets it.
            self.database.note_revoked(token);
        }
        let spared = self.dice.per_mille(300);
        let (key, again) = self.draw_key();
        let signed = |key: Option<Key>, spared| {
            let by = key.map_or(IssuerKey::new(0, KeyId::from_bytes([0; 16])), issuer_key);
            let (check, identity) = (check.clone(), Ok(Vec::new()));
            let facts = Arc::new(Facts { key: by, handed_out: key.is_some(), check, times, identity, meets: 0 });
            Token { facts, key, user, spared, asked: false, answered: None }
        };
        self.tokens.push(signed(key, spared));
        self.tokens.extend(again.map(|key| signed(Some(key), true)));
    }

    /// Half of the logins are refreshes of the user's last session.
    fn draw_session(&mut self, user: RevocationKey) -> RevocationKey {
        let last =
            self.tokens.iter().rev().find(|token| token.user == user).and_then(|token| token.facts.check.session);
        last.filter(|_| self.dice.per_mille(500)).unwrap_or_else(|| RevocationKey::from_bytes(self.dice.sixteen()))
    }

    pub(super) fn requests_go_on(&mut self, index: usize) {
        let pause = self.about(self.scene.request_every);
        self.queue.push(self.now + pause, Event::RequestsGoOn { worker: index });
        let Some(worker) = self.workers.get(index) else { return };
        let runs = self.proxies.get(worker.proxy).is_some_and(|proxy| proxy.runs);
        if !runs || !worker.is_used || self.now < worker.idle_until {
            return;
        }
        let life = worker.life;
        for _ in 0..=self.dice.below(3) {
            let token = self.draw_token();
            let request = Event::Request { worker: index, life, token, arrived: self.step };
            self.queue.push(self.now, request);
        }
    }

    /// Half of the time one of the newest tokens, because those are being logged out.
    fn draw_token(&mut self) -> usize {
        let all = self.tokens.len();
        let recent = all.min(12);
        if self.dice.per_mille(500) { all - recent + self.dice.below(recent) } else { self.dice.below(all) }
    }

    pub(super) fn request(&mut self, index: usize, life: u64, token: usize, arrived: u64) {
        let (Some(now), Some(known)) = (self.worker_now(index), self.tokens.get(token)) else { return };
        let Some(worker) = self.workers.get_mut(index).filter(|worker| worker.life == life) else { return };
        if !known.is_in_time(now.unix) {
            return;
        }
        worker.last_request = self.now;
        worker.next_stream += 1;
        let stream = worker.next_stream;
        let decided_at = if self.scene.is(Mutant::ClockReadBefore) { worker.last_read } else { now };
        worker.last_read = now;
        worker.streams.insert(stream, Waiting { token, arrived });
        self.arrive(index, stream, Waited::default(), decided_at);
        self.pump(index);
    }

    /// Decides about a request that has arrived, or that has waited for keys.
    pub(super) fn arrive(&mut self, index: usize, stream: StreamId, waited: Waited, now: Now) {
        let waiting = self.workers.get(index).and_then(|worker| worker.streams.get(&stream));
        let Some(token) = waiting.map(|waiting| waiting.token) else { return };
        let Some(facts) = self.tokens.get(token).map(|token| Arc::clone(&token.facts)) else { return };
        if !self.proves(index, token) {
            return self.unproven(index, stream, waited, token, now);
        }
        let must_decide = self.must_decide_alone(token);
        let Some(worker) = self.workers.get_mut(index) else { return };
        let own = worker.strict.own(&facts, now);
        if own.is_none() && facts.handed_out && worker.keys.are_behind() {
            let turn = worker.keys.wait_for_shown(stream, waited, now.monotonic);
            return self.take_turn(index, stream, turn, token);
        }
        let found = own.map_or_else(|| worker.strict.ask(&facts, stream, now), Lookup::Decided);
        let tied = worker.strict.mode().feed().copy().coverage(&facts.check) == Some(Coverage::SameSecond);
        if must_decide && !tied {
            self.checks.hold(matches!(found, Lookup::Decided(_)), || format!("worker {index} has no lease: {found:?}"));
        }
        match found {
            Lookup::Decided(verdict) => {
                self.checks.reached.ties += u64::from(tied);
                self.checks.reached.admitted_by_replica += u64::from(verdict == CheckVerdict::Active);
                self.decided(index, &[stream], Some(verdict));
            }
            Lookup::Full => self.decided(index, &[stream], None),
            Lookup::Joined => {}
            Lookup::Ask(id) => self.ask(index, id, facts),
        }
    }

    pub(super) fn ask(&mut self, index: usize, id: QuestionId, facts: Arc<Facts>) {
        let (plane, now) = (self.dice.below(self.planes.len()), self.worker_now(index));
        let refused = self.is_stormy() && self.dice.per_mille(5);
        let (Some(worker), Some(now)) = (self.workers.get_mut(index), now) else { return };
        if refused {
            let settled = worker.strict.not_sent(id, now);
            self.decided(index, &settled.streams, settled.verdict);
            return;
        }
        let call = worker.call(index);
        worker.strict.questions_mut().sent(id, call.id);
        worker.checks.insert(call.id);
        let proxy = worker.proxy;
        self.times_out(call, self.scene.timeout, Event::CheckEnds { call, answer: None });
        self.send(Route::Workers { proxy, plane }, &Event::CheckArrives { plane, call, facts });
    }

    pub(super) fn check_ends(&mut self, call: Call, answer: Option<Answer>) {
        let Some(now) = self.worker_now(call.worker) else { return };
        let ended = |worker: &mut super::Worker| worker.life == call.life && worker.checks.remove(&call.id);
        let Some(worker) = self.workers.get_mut(call.worker) else { return };
        if !ended(worker) {
            return;
        }
        let mut used = answer;
        if self.scene.is(Mutant::TieKeptFromOldAnswer)
            && let Some(read_at) = used.as_mut().and_then(|answer| answer.read_at.as_mut())
        {
            read_at.seq = u64::MAX;
        }
        if self.scene.is(Mutant::AnswerNewerThanKeys)
            && let Some(answer) = &mut used
        {
            answer.keys_seq = 0;
        }
        worker.keys.note_shown(used.and_then(Answer::keys));
        let leased = worker.strict.mode().feed().may_decide(now);
        let mut settled = worker.strict.answered(call.id, used, now);
        if self.scene.is(Mutant::NoLookAfterAnswer) && leased && answer.is_some() {
            settled.verdict = answer.map(|answer| answer.verdict);
        }
        if let Some((id, facts)) = settled.ask_again {
            if self.scene.is(Mutant::AnswerServesLaterOnes) {
                settled.streams.extend(worker.strict.not_sent(id, now).streams);
            } else {
                self.ask(call.worker, id, facts);
            }
        }
        let admitted = settled.verdict == Some(CheckVerdict::Active);
        self.checks.reached.admitted_by_answer += u64::from(admitted && !settled.streams.is_empty());
        self.decided(call.worker, &settled.streams, settled.verdict);
        self.call_for_questions(call.worker, now);
        self.pump(call.worker);
    }

    /// Admits or refuses requests.
    pub(super) fn decided(&mut self, index: usize, streams: &[u32], verdict: Option<CheckVerdict>) {
        for stream in streams {
            let waiting = self.workers.get_mut(index).and_then(|worker| worker.streams.remove(stream));
            let Some(Waiting { token, arrived }) = waiting else { continue };
            let Some(known) = self.tokens.get(token) else { continue };
            let late = known.answered.is_some_and(|answered| answered <= arrived) || self.is_gone(known, arrived);
            if verdict != Some(CheckVerdict::Revoked) && !self.proves(index, token) {
                self.checks.reached.keys_removed += 1;
                self.refused_for_key(index, token);
                continue;
            }
            let Some(known) = self.tokens.get(token) else { continue };
            let revoked = || self.database.was_ever_revoked(&known.facts.check);
            match verdict {
                Some(CheckVerdict::Active) if late && self.was_paused(index) => self.checks.reached.excused += 1,
                Some(CheckVerdict::Active) => {
                    self.checks.reached.keys_admitted += u64::from(known.key.is_some());
                    self.checks.hold(!late, || format!("worker {index} admits token {token} after its logout"));
                }
                Some(CheckVerdict::Revoked) => {
                    self.checks.reached.refused += 1;
                    self.checks.hold(revoked(), || format!("worker {index} refuses token {token}, never logged out"));
                }
                None => self.unavailable(index, token),
            }
        }
    }

    /// A request is refused because the worker cannot get what it takes to decide.
    pub(super) fn unavailable(&mut self, index: usize, token: usize) {
        self.checks.reached.unavailable += 1;
        let settled = self.tokens.get(token).is_some_and(|token| self.has_settled(token));
        let calm = self.now >= self.scene.calm + ms(500);
        self.checks.hold(!calm || !settled, || format!("worker {index} cannot decide about token {token}"));
    }

    /// True if this worker's machine is paused, or was paused so recently that its worker may still use what was left of its
    /// lease. It cannot know better: both of its clocks stood still.
    fn was_paused(&self, index: usize) -> bool {
        let proxy = self.workers.get(index).and_then(|worker| self.proxies.get(worker.proxy));
        proxy.is_some_and(|proxy| proxy.clocks.was_stopped(self.now, self.scene.longest_lease()))
    }

    /// True if a request at this moment would be admitted although its token's logout was answered.
    pub(super) fn probe(&mut self, index: usize) {
        if self.was_paused(index) {
            return;
        }
        let Some(now) = self.worker_now(index) else { return };
        let Some(worker) = self.workers.get(index).filter(|worker| worker.strict.mode().feed().may_decide(now)) else {
            return;
        };
        let mut strict = worker.strict.clone();
        let dead = |token: &&Token| token.answered.is_some() || self.is_gone(token, self.step);
        let dead = self.tokens.iter().filter(dead).filter(|token| token.is_in_time(now.unix));
        let mut dead = dead.filter(|token| self.proven_by(worker, token));
        let active = Some(CheckVerdict::Active);
        let admitted =
            dead.find(|token| strict.own(&token.facts, now) == active).map(|token| token.facts.check.clone());
        self.checks.hold(admitted.is_none(), || format!("worker {index} would admit {admitted:?} after its logout"));
    }
}
