//! The promise under faults, shortly: `cargo measure faults` plays more faults, for longer.
//!
//! `cfg(test)` is always true here; it tells clippy that this is test code, which may unwrap.

#[cfg(test)]
mod stories {
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use curfew_testbed::faults::scenes::{ALL, Outcome, Scene};
    use curfew_testbed::faults::{Load, Mesh, Promise, Setup};

    const CALM: Duration = Duration::from_secs(2);

    /// One mesh at a time.
    static ONE: Mutex<()> = Mutex::new(());

    fn played(mesh: &mut Mesh, scene: &Scene) -> Outcome {
        let outcome = scene.play(mesh, Load::MESH, CALM).unwrap_or_else(|error| panic!("{}: {error:#}", scene.name));
        let (slowest, _) = outcome.ledger.slowest_logouts();
        println!(
            "{}: {} logouts ({} failed), the slowest took {slowest:?}; {} changes of keys ({} failed), {} refusals by them; \
             {} requests, {:.1} s of 503",
            scene.name,
            outcome.ledger.logout_times.len(),
            outcome.ledger.failed_logouts(),
            outcome.ledger.key_change_times.len(),
            outcome.ledger.failed_key_changes,
            outcome.ledger.refusals_by_key,
            outcome.ledger.requests(),
            outcome.ledger.seconds_unavailable()
        );
        assert!(!outcome.ledger.logout_times.is_empty(), "{}: no token was logged out", scene.name);
        assert!(outcome.ledger.right_refusals > 0, "{}: no logged-out token was tried", scene.name);
        assert!(outcome.ledger.refusals_by_key > 0, "{}: no token of a key that was taken away was tried", scene.name);
        outcome
    }

    #[test]
    fn no_fault_makes_envoy_admit_a_logged_out_token_or_refuse_another() {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        for trapping in [false, true] {
            let mut mesh = Mesh::start(Setup { trapping, ..Setup::MESH }).unwrap();
            for scene in ALL.iter().filter(|scene| scene.short && scene.trapping == trapping) {
                let Outcome { ledger, wrong_refusals, .. } = played(&mut mesh, scene);
                assert_eq!((ledger.stale_admits, wrong_refusals, ledger.strange), (0, 0, 0), "{}", scene.name);
            }
        }
    }

    #[test]
    fn clocks_that_time_daemons_bend_make_envoy_admit_no_logged_out_token() {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        for setup in [Setup::SLOW_ENVOYS, Setup::FAST_ENVOYS] {
            let mut mesh = Mesh::start(setup).unwrap();
            let names = ["nothing", "an Envoy stopped for 2 L", "an Envoy cut off, its answers"];
            for scene in ALL.iter().filter(|scene| names.contains(&scene.name)) {
                let Outcome { ledger, wrong_refusals, .. } = played(&mut mesh, scene);
                assert_eq!((ledger.stale_admits, wrong_refusals, ledger.strange), (0, 0, 0), "{}", scene.name);
            }
        }
    }

    #[test]
    fn the_checker_finds_stale_admits_in_bounded_mode() {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mesh = Mesh::start(Setup { promise: Promise::BOUNDED_2S, ..Setup::MESH }).unwrap();
        let nothing = ALL.iter().find(|scene| scene.name == "nothing").unwrap();
        let ledger = played(&mut mesh, nothing).ledger;
        assert!(ledger.stale_by_key > 0, "none by a key that was taken away");
        assert!(ledger.stale_admits > ledger.stale_by_key, "none of a token that was logged out");
    }
}
