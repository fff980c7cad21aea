//! From a commit to its confirmation: the start of a logout's wait, and the task that ends the waits.

use std::time::Duration;

use tracing::debug;

use super::counters::Counters;
use super::peers::message::PeerMessage;
use super::peers::outbox::Outbox;
use super::protocol::{Barrier, Safe, Superseded, WaitId};
use super::signals::Signals;
use super::state::SharedState;
use super::waiting::{Pending, Waiting};
use crate::clock::LocalClock;
use crate::log::{Commit, LogPosition};

/// How soon to look again for a position to confirm to other control planes, if only the end of a lease can change the
/// result.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The parts of the room that this file uses.
pub(super) struct Confirming<'a> {
    pub(super) clock: &'a LocalClock,
    pub(super) state: &'a SharedState,
    pub(super) signals: &'a Signals,
    pub(super) outbox: &'a Outbox,
    pub(super) counters: &'a Counters,
}

impl Confirming<'_> {
    /// Begins to wait for a commit. Callers that wait for the same commit wait together.
    pub(super) fn wait_for(&self, commit: Commit) -> Pending {
        self.wait(commit.head, commit.returned, |barrier, now| barrier.committed(&commit, now))
    }

    /// Begins to wait for a position that some control plane has committed before.
    pub(super) fn wait_for_position(&self, position: LogPosition) -> Pending {
        let confirmed = {
            let state = self.state.lock();
            state.waiting.confirmed(position, &state.barrier)
        };
        confirmed.unwrap_or_else(|| self.wait(position, self.clock.now(), |barrier, now| barrier.asked(position, now)))
    }

    fn wait(
        &self,
        position: LogPosition,
        returned: Duration,
        begin: impl FnOnce(&mut Barrier, Duration) -> WaitId,
    ) -> Pending {
        let mut state = self.state.lock();
        if let Some(pending) = state.waiting.join(position, returned) {
            return pending;
        }
        // The commit has returned before this moment, so the wait is longer than needed, which is safe.
        let now = self.clock.now();
        let without_leases = state.barrier.all_over(now);
        let id = begin(&mut state.barrier, now);
        let pending = state.waiting.add(Waiting::new(id, position, returned, now, without_leases));
        drop(state);
        debug!(seq = position.seq, "a commit waits for the workers");
        self.signals.read_rows();
        self.signals.look();
        pending
    }

    /// Runs a step at each signal, and at each time that may end a wait.
    pub(super) async fn run(self, over: impl Future<Output = ()>) {
        let mut over = std::pin::pin!(over);
        loop {
            let next = self.step();
            let time = async {
                match next {
                    Some(at) => self.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.signals.looked_for() => {}
                () = time => {}
                () = over.as_mut() => return,
            }
        }
    }

    /// Ends the waits that are over, and tells the others what is confirmed. Returns when to look again.
    fn step(&self) -> Option<Duration> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        for (id, ended) in state.barrier.take_ended(now) {
            if let Some(waiting) = state.waiting.take(id) {
                // It is counted before its callers are answered: a caller may read the count right after the answer.
                self.count(&waiting, ended, now);
                state.waiting.end(&waiting, ended, now);
            }
        }
        let next = state.barrier.safe_at(now);
        let again = now.saturating_add(LOOK_AGAIN);
        let again = state.survey.is_awaited().then(|| next.map_or(again, |next| next.min(again)));
        let confirmed = state.confirm_for_others(now);
        drop(state);
        if let Some(confirmed) = confirmed {
            self.outbox.tell(PeerMessage::Confirmed(confirmed));
            self.signals.write_row();
        }
        again.or(next)
    }

    fn count(&self, waiting: &Waiting, ended: Result<Safe, Superseded>, now: Duration) {
        let outcome = match ended {
            Ok(Safe::Acknowledged) if waiting.without_leases => "nobody",
            Ok(Safe::Acknowledged) => "acknowledged",
            Ok(Safe::Outlasted) => "outlasted",
            Err(Superseded) => return self.counters.superseded(),
        };
        let waited = now.saturating_sub(waiting.began);
        debug!(seq = waiting.position().seq, outcome, waited_ms = waited.as_millis(), "a commit is confirmed");
        self.counters.confirmed(outcome, waited);
    }
}

#[cfg(test)]
mod tests {
    use curfew_core::WorkerId;
    use curfew_core::wire::FeedRequest;

    use super::*;
    use crate::clock::since_boot;
    use crate::leases::protocol::{Grant, LeaseTimes, Reading};
    use crate::leases::waiting::Unconfirmed;
    use crate::log::{ControlPlaneId, Epoch};

    const WORKER: WorkerId = WorkerId::from_bytes([5; 16]);

    struct Room {
        clock: LocalClock,
        state: SharedState,
        signals: Signals,
        outbox: Outbox,
        counters: Counters,
    }

    impl Room {
        fn new() -> Self {
            let state = SharedState::new(ControlPlaneId::from_bytes([7; 16]), LeaseTimes::default());
            let (clock, signals) = (LocalClock::system(), Signals::default());
            Self { clock, state, signals, outbox: Outbox::new(), counters: Counters::default() }
        }

        fn confirming(&self) -> Confirming<'_> {
            let Self { clock, state, signals, outbox, counters } = self;
            Confirming { clock, state, signals, outbox, counters }
        }

        fn shows(&self, head: LogPosition) {
            let (began, own_beat) = (later(), None);
            assert!(self.state.lock().barrier.reading_ended(&Reading { began, head, own_beat }, since_boot()));
        }

        fn rows_are_read(&self, head: LogPosition) {
            self.state.lock().barrier.rows(head, &[], later(), since_boot());
        }

        /// A worker that holds the log up to `head` gets a lease.
        fn grants(&self, head: LogPosition) {
            let mut state = self.state.lock();
            let now = since_boot();
            let beat = state.barrier.beat(now).unwrap().beat;
            let reading = Reading { began: now, head, own_beat: Some(beat) };
            let grant = state.barrier.answer(&poll(head), now, &reading, true, now);
            assert!(matches!(grant, Grant::Lease { .. }), "{grant:?}");
        }
    }

    /// A time that is later than all times that were taken before.
    fn later() -> Duration {
        let before = since_boot();
        while since_boot() == before {}
        since_boot()
    }

    fn position(epoch: u8, seq: u64) -> LogPosition {
        LogPosition { epoch: Epoch::from_bytes([epoch; 16]), seq }
    }

    fn poll(held: LogPosition) -> FeedRequest {
        let (epoch, applied) = (Some(held.epoch), held.seq);
        FeedRequest { worker: WORKER, keyspaces: vec![], epoch, applied, hold_ms: 0, leaving: false }
    }

    fn commit(head: LogPosition) -> Commit {
        let began = later();
        Commit { before: LogPosition { seq: head.seq - 1, ..head }, head, began, returned: later() }
    }

    #[tokio::test]
    async fn a_commit_is_confirmed_when_its_workers_hold_it() {
        let room = Room::new();
        room.grants(position(1, 5));
        let mut pending = room.confirming().wait_for(commit(position(1, 6)));
        room.rows_are_read(position(1, 6));
        room.confirming().step();
        assert!(!pending.is_confirmed());
        room.state.lock().barrier.polled(&poll(position(1, 6)));
        room.confirming().step();
        assert_eq!(pending.confirmed().await, Ok(()));
    }

    #[tokio::test]
    async fn a_commit_whose_history_was_replaced_before_the_wait_is_unconfirmed_at_once() {
        let room = Room::new();
        room.shows(position(1, 5));
        let commit = commit(position(1, 6));
        room.shows(position(2, 9));
        let mut pending = room.confirming().wait_for(commit);
        room.confirming().step();
        assert_eq!(pending.confirmed().await, Err(Unconfirmed));
        // It does not count as confirmed for a caller that asks later either.
        assert!(!room.confirming().wait_for_position(position(1, 6)).is_confirmed());
    }

    #[tokio::test]
    async fn a_commit_whose_history_is_replaced_during_the_wait_is_unconfirmed_at_once() {
        let room = Room::new();
        room.grants(position(1, 5));
        let commit = commit(position(1, 6));
        let mut pending = [room.confirming().wait_for(commit), room.confirming().wait_for(commit)];
        room.rows_are_read(position(1, 6));
        room.confirming().step();
        room.rows_are_read(position(2, 6));
        room.state.lock().barrier.polled(&poll(position(1, 6)));
        room.confirming().step();
        for pending in &mut pending {
            assert_eq!(pending.confirmed().await, Err(Unconfirmed));
        }
    }

    #[tokio::test]
    async fn a_commit_whose_history_is_replaced_and_comes_back_is_unconfirmed() {
        let room = Room::new();
        room.shows(position(1, 5));
        let commit = commit(position(1, 6));
        room.shows(position(2, 6));
        room.shows(position(1, 6));
        let mut pending = room.confirming().wait_for(commit);
        room.rows_are_read(position(1, 6));
        room.confirming().step();
        assert_eq!(pending.confirmed().await, Err(Unconfirmed));
    }

    #[tokio::test]
    async fn a_caller_of_a_superseded_commit_does_not_join_one_that_asks_for_its_position_later() {
        let room = Room::new();
        room.shows(position(1, 5));
        let commit = commit(position(1, 6));
        room.shows(position(2, 6));
        room.shows(position(1, 6));
        later();
        let mut asked = room.confirming().wait_for_position(position(1, 6));
        let mut pending = room.confirming().wait_for(commit);
        room.rows_are_read(position(1, 6));
        room.confirming().step();
        assert_eq!(pending.confirmed().await, Err(Unconfirmed));
        assert_eq!(asked.confirmed().await, Ok(()), "what the log holds now is confirmed to a caller that asks now");
    }
}
