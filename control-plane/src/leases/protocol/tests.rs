use std::time::Duration;

use curfew_core::WorkerId;
use curfew_core::wire::FeedRequest;

use super::*;

const EPOCH: Epoch = Epoch::from_bytes([1; 16]);
const WORKER: WorkerId = WorkerId::from_bytes([5; 16]);
const OWN: ControlPlaneId = ControlPlaneId::from_bytes([7; 16]);
const OTHER: ControlPlaneId = ControlPlaneId::from_bytes([8; 16]);

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn head(seq: u64) -> LogPosition {
    LogPosition { epoch: EPOCH, seq }
}

/// A commit that began and returned at these milliseconds.
const fn commit(seq: u64, began: u64, returned: u64) -> Commit {
    Commit { before: head(seq - 1), head: head(seq), began: ms(began), returned: ms(returned) }
}

/// The clocks are true. A lease lasts 1000 ms, so the row is written every 333 ms.
const TIMES: LeaseTimes = LeaseTimes { lease: ms(1000), hold: ms(300), drift_ppm: 0 };

fn request(applied: u64) -> FeedRequest {
    let epoch = (applied > 0).then_some(EPOCH);
    FeedRequest { worker: WORKER, keyspaces: vec![], epoch, applied, hold_ms: 0, leaving: false }
}

fn reading(began: u64, seq: u64, own_beat: Option<u64>) -> Reading {
    Reading { began: ms(began), head: head(seq), own_beat }
}

fn other(beat: u64, confirmed: Option<u64>) -> ControlPlaneRow {
    ControlPlaneRow { id: OTHER, beat, confirmed: confirmed.map(head) }
}

/// A control plane whose row has been written at 0.
fn registered() -> Barrier {
    let mut barrier = Barrier::new(OWN, TIMES);
    assert_eq!(barrier.beat(ms(0)), Some(Beat { beat: 1, confirmed: None }));
    barrier
}

/// A control plane that has granted a lease from a reading at 0, with the log at 5.
fn with_lease() -> Barrier {
    let mut barrier = registered();
    let grant = barrier.answer(&request(0), ms(0), &reading(0, 5, Some(1)), true, ms(10));
    assert_eq!(grant, Grant::Lease { lease_ms: 1000, fresh_ms: 0 });
    barrier
}

/// The same control plane after it has committed 6 at 100 and read the rows.
fn with_logout(rows: &[ControlPlaneRow]) -> (Barrier, WaitId) {
    let mut barrier = with_lease();
    let wait = barrier.committed(&commit(6, 90, 100), ms(100));
    barrier.rows(head(5), rows, ms(100), ms(110));
    (barrier, wait)
}

#[test]
fn a_logout_with_no_lease_in_its_way_is_answered_when_the_rows_have_been_read() {
    let mut barrier = registered();
    let wait = barrier.committed(&commit(1, 5, 10), ms(10));
    assert_eq!(barrier.take_ended(ms(10)), []);
    assert!(barrier.wants_rows());
    barrier.rows(head(5), &[ControlPlaneRow { id: OWN, beat: 1, confirmed: None }], ms(10), ms(12));
    assert_eq!(barrier.take_ended(ms(12)), [(wait, Ok(Safe::Acknowledged))]);
    assert_eq!(barrier.take_ended(ms(12)), [], "each is named once");
}

#[test]
fn a_logout_waits_for_the_worker_that_decides_by_itself() {
    let (mut barrier, wait) = with_logout(&[]);
    assert_eq!(barrier.take_ended(ms(120)), []);
    assert_eq!(barrier.polled(&request(6)), Some(Ack { worker: WORKER, held: Some(head(6)) }));
    assert_eq!(barrier.take_ended(ms(130)), [(wait, Ok(Safe::Acknowledged))]);
}

#[test]
fn a_logout_waits_for_a_worker_no_longer_than_its_lease() {
    let (mut barrier, wait) = with_logout(&[]);
    barrier.beat(ms(400));
    assert_eq!(barrier.wake_at(ms(400)), ms(400) + ms(1000) / 3, "the row is due");
    barrier.beat(ms(734));
    assert_eq!(barrier.wake_at(ms(734)), ms(1000));
    assert_eq!(barrier.take_ended(ms(999)), []);
    assert_eq!(barrier.take_ended(ms(1000)), [(wait, Ok(Safe::Acknowledged))]);
}

#[test]
fn without_the_rows_a_logout_waits_its_time() {
    let mut barrier = registered();
    let wait = barrier.committed(&commit(1, 5, 10), ms(10));
    // The rows were read before the commit returned. A control plane that registered in between would be missing.
    barrier.rows(head(5), &[], ms(9), ms(12));
    barrier.reading_ended(&reading(10, 5, Some(1)), ms(15));
    assert_eq!(barrier.take_ended(ms(1009)), []);
    assert_eq!(barrier.take_ended(ms(1010)), [(wait, Ok(Safe::Outlasted))]);
}

#[test]
fn a_logout_waits_for_the_others_to_confirm_by_message_or_row() {
    let (mut barrier, wait) = with_logout(&[other(1, Some(5))]);
    barrier.polled(&request(6));
    assert_eq!(barrier.take_ended(ms(130)), []);
    barrier.heard_confirmation(OTHER, head(5));
    assert_eq!(barrier.take_ended(ms(140)), []);
    barrier.heard_confirmation(OTHER, head(6));
    assert_eq!(barrier.take_ended(ms(150)), [(wait, Ok(Safe::Acknowledged))]);

    let (mut barrier, wait) = with_logout(&[other(1, None)]);
    barrier.polled(&request(6));
    barrier.rows(head(5), &[other(2, Some(6))], ms(200), ms(210));
    assert_eq!(barrier.take_ended(ms(210)), [(wait, Ok(Safe::Acknowledged))]);
}

#[test]
fn a_control_plane_whose_row_has_gone_since_the_commit_is_no_longer_waited_for() {
    let (mut barrier, wait) = with_logout(&[other(1, None)]);
    barrier.polled(&request(6));
    barrier.rows(head(5), &[], ms(300), ms(310));
    // A control plane that registers later grants from readings that show the revocation.
    barrier.rows(
        head(5),
        &[ControlPlaneRow { id: ControlPlaneId::from_bytes([9; 16]), beat: 1, confirmed: None }],
        ms(320),
        ms(330),
    );
    assert_eq!(barrier.take_ended(ms(330)), [(wait, Ok(Safe::Acknowledged))]);
}

#[test]
fn a_logout_whose_database_vanished_waits_until_the_log_was_read_again() {
    let mut barrier = registered();
    let wait = barrier.committed(&commit(1, 5, 10), ms(10));
    assert_eq!(barrier.take_ended(ms(3000)), []);
    assert_eq!(barrier.safe_at(ms(3000)), None, "time alone does not end it");
    barrier.reading_ended(&reading(9, 5, Some(1)), ms(3001));
    assert_eq!(barrier.take_ended(ms(3001)), [], "this reading began before the commit returned");
    barrier.reading_ended(&reading(3002, 5, Some(1)), ms(3003));
    assert_eq!(barrier.safe_at(ms(3003)), Some(ms(1010)));
    assert_eq!(barrier.take_ended(ms(3003)), [(wait, Ok(Safe::Outlasted))]);
}

#[test]
fn a_logout_whose_database_turned_out_not_to_be_believed_is_not_confirmed() {
    let (mut barrier, wait) = with_logout(&[]);
    barrier.distrust(ms(150));
    assert_eq!(barrier.take_ended(ms(150)), [(wait, Err(Superseded))]);
    // A logout that is committed when it is believed again is confirmed.
    let commit = Commit { before: head(6), head: head(7), began: ms(160), returned: ms(170) };
    let wait = barrier.committed(&commit, ms(170));
    barrier.polled(&request(7));
    barrier.rows(head(7), &[], ms(171), ms(172));
    assert_eq!(barrier.take_ended(ms(172)), [(wait, Ok(Safe::Acknowledged))]);
}

#[test]
fn a_control_plane_that_ended_long_ago_costs_nothing_and_its_row_may_go() {
    let mut barrier = registered();
    barrier.rows(head(5), &[other(1, None)], ms(0), ms(10));
    let first = barrier.committed(&commit(1, 10, 20), ms(20));
    barrier.rows(head(5), &[other(1, None)], ms(20), ms(30));
    assert_eq!(barrier.stale_rows(ms(1009)), StaleRows::default());
    let stale = StaleRows { over: vec![], silent: vec![(OTHER, 1)] };
    assert_eq!(barrier.stale_rows(ms(1010)), stale, "it seems to be dead");
    assert_eq!(barrier.take_ended(ms(1020)), [(first, Ok(Safe::Outlasted))]);
    let replaced = ControlPlaneRow::nobody(ControlPlaneId::from_bytes([9; 16]));
    barrier.rows(head(5), &[replaced], ms(1025), ms(1030));
    let second = barrier.committed(&commit(2, 2000, 2010), ms(2010));
    barrier.rows(head(5), &[replaced], ms(2030), ms(2040));
    assert_eq!(barrier.take_ended(ms(2040)), [(second, Ok(Safe::Acknowledged))]);
    assert_eq!(barrier.stale_rows(ms(2030)), StaleRows { over: vec![(replaced.id, 0)], silent: vec![] });
}

#[test]
fn a_control_plane_that_was_replaced_during_the_wait_is_in_the_way_until_its_leases_are_over() {
    let (mut barrier, _) = with_logout(&[other(1, None)]);
    barrier.polled(&request(6));
    let replaced = ControlPlaneRow::nobody(ControlPlaneId::from_bytes([9; 16]));
    barrier.rows(head(5), &[replaced], ms(200), ms(210));
    assert_eq!(barrier.take_ended(ms(1099)), [], "it may have granted a lease just before its row was replaced");
    assert!(barrier.wants_rows());
}

#[test]
fn no_lease_is_granted_from_a_reading_that_began_before_the_poll_came() {
    let mut barrier = registered();
    assert_eq!(barrier.answer(&request(5), ms(50), &reading(49, 5, Some(1)), true, ms(60)), Grant::ReadAgain);
    let grant = Grant::Lease { lease_ms: 1000, fresh_ms: 0 };
    assert_eq!(barrier.answer(&request(5), ms(50), &reading(50, 5, Some(1)), true, ms(60)), grant);
    let leaving = FeedRequest { leaving: true, ..request(5) };
    assert_eq!(barrier.answer(&leaving, ms(70), &reading(50, 5, Some(1)), true, ms(80)), Grant::PageOnly);
}

#[test]
fn an_acknowledgement_to_another_control_plane_counts_here_too() {
    let (mut barrier, wait) = with_logout(&[]);
    barrier.heard_ack(Ack { worker: WORKER, held: Some(head(6)) });
    assert_eq!(barrier.take_ended(ms(130)), [(wait, Ok(Safe::Acknowledged))]);
}

#[test]
fn the_others_are_told_of_a_worker_that_leaves() {
    let (mut barrier, wait) = with_logout(&[]);
    let leaving = FeedRequest { leaving: true, ..request(5) };
    assert_eq!(barrier.polled(&leaving), Some(Ack { worker: WORKER, held: None }));
    assert_eq!(barrier.take_ended(ms(130)), [(wait, Ok(Safe::Acknowledged))]);
    assert_eq!(barrier.answer(&leaving, ms(130), &reading(130, 6, Some(1)), true, ms(140)), Grant::PageOnly);
}

#[test]
fn leases_are_granted_for_last_pages_of_this_history_and_while_the_row_is_seen() {
    let mut barrier = registered();
    let page_only = |barrier: &mut Barrier, request: &FeedRequest, reading: &Reading, last| {
        assert_eq!(barrier.answer(request, ms(0), reading, last, ms(2000)), Grant::PageOnly);
    };
    page_only(&mut barrier, &request(0), &reading(0, 5, Some(1)), false);
    page_only(&mut barrier, &request(0), &reading(0, 5, None), true);
    page_only(&mut barrier, &request(0), &reading(1001, 5, Some(1)), true);
    let stranger = FeedRequest { epoch: Some(Epoch::from_bytes([2; 16])), ..request(3) };
    page_only(&mut barrier, &stranger, &reading(0, 5, Some(1)), true);
    assert_eq!(Barrier::page_after(&stranger, head(5)), None);
    assert_eq!(Barrier::page_after(&request(3), head(5)), Some(3));
    assert_eq!(barrier.confirm(ms(2000)), Some(head(5)), "nothing was granted");
}

#[test]
fn a_reading_that_shows_less_than_the_worker_holds_is_made_again_if_it_is_an_old_one() {
    let mut barrier = registered();
    assert_eq!(barrier.answer(&request(6), ms(50), &reading(40, 5, Some(1)), true, ms(60)), Grant::ReadAgain);
    assert_eq!(barrier.answer(&request(6), ms(50), &reading(50, 5, Some(1)), true, ms(60)), Grant::PageOnly);
}

#[test]
fn once_a_logout_is_answered_no_lease_is_granted_from_a_reading_that_was_under_way() {
    let (mut barrier, wait) = with_logout(&[]);
    let under_way = reading(80, 5, Some(1));
    assert_eq!(
        barrier.clone().answer(&request(0), ms(70), &under_way, true, ms(115)),
        Grant::Lease { lease_ms: 1000, fresh_ms: 10 },
        "before the answer such a lease only makes the logout wait"
    );
    barrier.polled(&request(6));
    assert_eq!(barrier.take_ended(ms(120)), [(wait, Ok(Safe::Acknowledged))]);
    assert!(!barrier.reading_ended(&under_way, ms(130)));
    assert_eq!(barrier.answer(&request(0), ms(70), &under_way, true, ms(130)), Grant::ReadAgain);
}

#[test]
fn a_poll_is_held_back_no_longer_than_either_side_wants() {
    let barrier = registered();
    assert_eq!(barrier.hold(&FeedRequest { hold_ms: 200, ..request(5) }), ms(200));
    assert_eq!(barrier.hold(&FeedRequest { hold_ms: u64::MAX, ..request(5) }), ms(300));
}

#[test]
fn a_control_plane_may_go_when_its_leases_are_over() {
    let barrier = with_lease();
    assert!(!barrier.all_over(ms(999)) && barrier.all_over(ms(1000)));
}

#[test]
fn a_logout_whose_caller_has_gone_is_forgotten() {
    let (mut barrier, wait) = with_logout(&[]);
    barrier.forget(wait);
    assert_eq!(barrier.take_ended(ms(5000)), []);
}

#[test]
fn rows_that_another_history_lacks_were_not_taken_away() {
    let (mut barrier, wait) = with_logout(&[other(1, None)]);
    barrier.polled(&request(6));
    let copy = Epoch::from_bytes([2; 16]);
    // It is not certain which of the two histories is newer, because this reading ended after the reading of the rows
    // had begun.
    barrier.reading_ended(&reading(190, 6, Some(1)), ms(205));
    barrier.rows(LogPosition { epoch: copy, seq: 1 }, &[], ms(200), ms(210));
    assert_eq!(barrier.take_ended(ms(220)), []);
    assert_eq!(barrier.take_ended(ms(1100)), [(wait, Ok(Safe::Outlasted))]);
    // Rows that were never seen were not taken away either.
    let mut barrier = with_lease();
    barrier.polled(&request(6));
    let wait = barrier.committed(&commit(6, 90, 100), ms(100));
    barrier.reading_ended(&reading(100, 6, Some(1)), ms(115));
    barrier.rows(LogPosition { epoch: copy, seq: 1 }, &[], ms(110), ms(120));
    assert_eq!(barrier.take_ended(ms(130)), []);
    barrier.rows(head(6), &[], ms(140), ms(150));
    assert_eq!(barrier.take_ended(ms(160)), [(wait, Ok(Safe::Acknowledged))]);
}

/// A reading that shows another history.
fn reading_of(epoch: u8, began: u64, seq: u64) -> Reading {
    let head = LogPosition { epoch: Epoch::from_bytes([epoch; 16]), seq };
    Reading { began: ms(began), head, own_beat: Some(1) }
}

#[test]
fn a_history_that_was_replaced_before_the_wait_began_confirms_nothing() {
    let mut barrier = with_lease();
    barrier.polled(&request(6));
    assert!(barrier.reading_ended(&reading_of(2, 110, 9), ms(120)));
    let wait = barrier.committed(&commit(6, 90, 100), ms(130));
    assert_eq!(barrier.take_ended(ms(130)), [(wait, Err(Superseded))], "at once");
    assert_eq!(barrier.epoch(), Some(Epoch::from_bytes([2; 16])), "the commit is no news of the old history");
}

#[test]
fn a_history_that_is_replaced_during_the_wait_confirms_nothing() {
    let (mut barrier, wait) = with_logout(&[]);
    assert_eq!(barrier.take_ended(ms(150)), []);
    assert!(barrier.reading_ended(&reading_of(2, 160, 6), ms(170)));
    barrier.polled(&request(6));
    assert_eq!(barrier.take_ended(ms(170)), [(wait, Err(Superseded))], "at once, though all is acknowledged");
    assert_eq!(barrier.take_ended(ms(5000)), []);
    // The rows, which are read for every wait, show the same.
    let (mut barrier, wait) = with_logout(&[other(1, None)]);
    barrier.rows(LogPosition { epoch: Epoch::from_bytes([2; 16]), seq: 0 }, &[], ms(160), ms(170));
    assert_eq!(barrier.take_ended(ms(170)), [(wait, Err(Superseded))]);
}

#[test]
fn a_history_that_is_replaced_and_comes_back_confirms_nothing() {
    let comes_back = |barrier: &mut Barrier| {
        assert!(barrier.reading_ended(&reading_of(2, 110, 1), ms(120)));
        assert!(barrier.reading_ended(&reading(130, 6, Some(1)), ms(140)));
        barrier.rows(head(6), &[], ms(150), ms(160));
        barrier.polled(&request(6));
    };
    let mut barrier = with_lease();
    let wait = barrier.committed(&commit(6, 90, 100), ms(100));
    comes_back(&mut barrier);
    assert_eq!(barrier.take_ended(ms(170)), [(wait, Err(Superseded))]);
    // The same, with all of it between the commit and the wait.
    let mut barrier = with_lease();
    comes_back(&mut barrier);
    let wait = barrier.committed(&commit(6, 90, 100), ms(170));
    barrier.rows(head(6), &[], ms(180), ms(190));
    assert_eq!(barrier.take_ended(ms(190)), [(wait, Err(Superseded))]);
    // A later commit is confirmed as usual.
    let wait = barrier.committed(&commit(7, 200, 210), ms(210));
    barrier.rows(head(7), &[], ms(220), ms(230));
    assert_eq!(barrier.take_ended(ms(240)), []);
    barrier.polled(&request(7));
    assert_eq!(barrier.take_ended(ms(240)), [(wait, Ok(Safe::Acknowledged))]);
}

#[test]
fn a_history_that_is_replaced_twice_confirms_nothing() {
    let (mut barrier, wait) = with_logout(&[]);
    assert!(barrier.reading_ended(&reading_of(2, 160, 6), ms(170)));
    assert!(barrier.reading_ended(&reading_of(3, 180, 6), ms(190)));
    barrier.polled(&request(6));
    assert_eq!(barrier.take_ended(ms(190)), [(wait, Err(Superseded))]);
    let wait = barrier.committed(&commit(6, 90, 100), ms(200));
    assert_eq!(barrier.take_ended(ms(200)), [(wait, Err(Superseded))]);
}

#[test]
fn the_first_commit_of_a_new_history_is_not_taken_for_one_of_a_replaced_history() {
    let mut barrier = with_lease();
    barrier.heard_ack(Ack { worker: WORKER, held: None });
    // The old history was read just before, and the reading ended late.
    barrier.reading_ended(&reading(80, 5, Some(1)), ms(105));
    let new = LogPosition { epoch: Epoch::from_bytes([2; 16]), seq: 1 };
    let commit = Commit { before: new, head: new, began: ms(90), returned: ms(100) };
    let wait = barrier.committed(&commit, ms(110));
    assert_eq!(barrier.take_ended(ms(110)), []);
    barrier.rows(new, &[], ms(115), ms(120));
    assert_eq!(barrier.take_ended(ms(120)), [(wait, Ok(Safe::Acknowledged))]);
}

#[test]
fn time_confirms_nothing_while_it_is_not_known_which_history_is_the_present_one() {
    let mut barrier = with_lease();
    barrier.reading_ended(&reading(80, 5, Some(1)), ms(105));
    let new = LogPosition { epoch: Epoch::from_bytes([2; 16]), seq: 1 };
    let commit = Commit { before: new, head: new, began: ms(90), returned: ms(100) };
    let wait = barrier.committed(&commit, ms(110));
    assert_eq!(barrier.take_ended(ms(1109)), []);
    assert_eq!(barrier.take_ended(ms(1110)), [(wait, Err(Superseded))]);
}

#[test]
fn a_wait_for_an_earlier_position_says_nothing_of_the_log() {
    let mut barrier = with_lease();
    let wait = barrier.asked(head(9), ms(100));
    barrier.rows(head(5), &[], ms(110), ms(120));
    let grant = barrier.answer(&request(5), ms(130), &reading(130, 5, Some(1)), true, ms(140));
    assert_eq!(grant, Grant::Lease { lease_ms: 1000, fresh_ms: 0 }, "the log may have gone back to here");
    assert_eq!(barrier.take_ended(ms(150)), []);
    assert_eq!(barrier.take_ended(ms(1100)), [(wait, Ok(Safe::Outlasted))]);
}
