//! How far a worker is, as operators see it.

use super::*;

const T: Duration = Duration::from_secs(100);

fn head(epoch: u8, seq: u64) -> Option<LogPosition> {
    Some(LogPosition { epoch: Epoch::from_bytes([epoch; 16]), seq })
}

fn worker() -> WorkerId {
    WorkerId::from_bytes([1; 16])
}

fn poll(gateways: &Gateways, held: Option<(u8, u64)>, head: Option<LogPosition>, now: Duration) {
    let request = FeedRequest {
        worker: worker(),
        epoch: held.map(|(epoch, _)| Epoch::from_bytes([epoch; 16])),
        applied: held.map_or(0, |(_, applied)| applied),
        hold_ms: 600,
        leaving: false,
        keyspaces: Vec::new(),
    };
    gateways.polled(&request, Caller { address: [192, 0, 2, 7].into(), version: None }, head, now);
}

fn seconds(seconds: u64) -> Duration {
    T + Duration::from_secs(seconds)
}

fn state_at(gateways: &Gateways, head: Option<LogPosition>, now: Duration) -> GatewayState {
    gateways.list(head, now).workers[0].state
}

#[test]
fn a_worker_that_begins_or_catches_up_raises_no_alarm() {
    let gateways = Gateways::default();
    poll(&gateways, None, None, T);
    // The control plane has just started, too.
    assert_eq!(state_at(&gateways, None, T), GatewayState::Unknown);
    assert_eq!(state_at(&gateways, head(1, 7), T), GatewayState::Starting);
    poll(&gateways, Some((1, 7)), head(1, 7), seconds(1));
    assert_eq!(state_at(&gateways, head(1, 7), seconds(1)), GatewayState::UpToDate);
    assert_eq!(state_at(&gateways, head(1, 9), seconds(1)), GatewayState::CatchingUp);
    // Another history has begun.
    assert_eq!(state_at(&gateways, head(2, 7), seconds(1)), GatewayState::CatchingUp);
}

#[test]
fn a_worker_that_takes_over_page_after_page_is_not_stuck_however_long_it_takes() {
    let gateways = Gateways::default();
    for second in 0..60 {
        poll(&gateways, Some((1, second)), head(1, 1000), seconds(second));
    }
    assert_eq!(state_at(&gateways, head(1, 1000), seconds(60)), GatewayState::CatchingUp);
    // It was up to date for long, and then one logout came.
    poll(&gateways, Some((1, 1000)), head(1, 1000), seconds(90));
    assert_eq!(state_at(&gateways, head(1, 1001), seconds(91)), GatewayState::CatchingUp);
}

#[test]
fn a_worker_that_polls_and_takes_nothing_over_is_stuck() {
    for (held, log) in [(Some((1, 5)), head(1, 7)), (Some((1, 5)), head(2, 5)), (None, head(1, 7))] {
        let gateways = Gateways::default();
        (0..10).for_each(|second| poll(&gateways, held, log, seconds(second)));
        assert_ne!(state_at(&gateways, log, seconds(9)), GatewayState::Stuck, "{held:?}");
        poll(&gateways, held, log, seconds(10));
        assert_eq!(state_at(&gateways, log, seconds(10)), GatewayState::Stuck, "{held:?}");
    }
}

#[test]
fn a_worker_that_ended_is_gone_once_its_lease_is_over() {
    let gateways = Gateways::default();
    poll(&gateways, Some((1, 5)), head(1, 5), T);
    gateways.granted(worker(), seconds(8));
    assert_eq!(state_at(&gateways, head(1, 12), seconds(7)), GatewayState::CatchingUp);
    assert_eq!(state_at(&gateways, head(1, 12), seconds(8)), GatewayState::Gone);
    assert_eq!(gateways.list(head(1, 12), seconds(31)).workers, []);
}
