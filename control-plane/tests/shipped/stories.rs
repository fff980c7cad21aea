//! The worlds that must keep the promise, and those that must not.

use std::time::Instant;

use crate::checks::Reached;
use crate::mutant::Mutant;
use crate::world::World;

/// How many worlds have to keep the promise.
const WORLDS: u64 = 100;

/// How many worlds are searched for each mistake. Most are found in the first few.
const SEEDS: u64 = 3000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64, mutant: Option<Mutant>) -> (Option<String>, Reached) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(World::play(seed, mutant))
}

#[test]
fn keeps_the_promise_in_every_world() {
    let one = number("CURFEW_SIMULATION_SEED");
    let seeds = one.map_or(1..=number("CURFEW_SIMULATION_SEEDS").unwrap_or(WORLDS), |seed| seed..=seed);
    let (started, mut reached, mut broken) = (Instant::now(), Reached::default(), Vec::new());
    for seed in seeds.clone() {
        let (violation, of_seed) = run(seed, None);
        reached.add(of_seed);
        broken.extend(violation.map(|what| format!("CURFEW_SIMULATION_SEED={seed}: {what}")));
        if broken.len() >= 10 {
            break;
        }
    }
    println!("seeds {seeds:?} in {:.1?}: {reached:?}", started.elapsed());
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    assert!(one.is_some() || reached.is_all(), "something never happened in any world");
}

/// Looks for a world in which a mistake shows in this way.
fn finds(mutant: Mutant, shows: &str) {
    let started = Instant::now();
    let shown = |seed| run(seed, Some(mutant)).0.filter(|what| what.contains(shows)).map(|what| (seed, what));
    let found = (1..=SEEDS).find_map(shown);
    println!("{mutant:?}: {found:?}, {:.1?}", started.elapsed());
    assert!(found.is_some(), "{mutant:?} was not found in {SEEDS} worlds");
}

/// A test for each mistake.
macro_rules! a_mistake_is_found {
    ($($name:ident: $mutant:ident, $shows:literal;)*) => {
        $(#[test]
        fn $name() {
            crate::stories::finds(crate::mutant::Mutant::$mutant, $shows);
        })*

        #[test]
        fn every_mistake_is_made() {
            assert_eq!([$(crate::mutant::Mutant::$mutant),*], crate::mutant::Mutant::ALL);
        }
    };
}

mod a_mistake_is_found {
    a_mistake_is_found! {
        rows_of_others_that_are_not_read: OthersHidden, "admits";
        a_row_removed_while_its_leases_run: RowRemovedEarly, "admits";
        a_lease_before_the_row: RowShownEarly, "admits";
        commits_of_others_behind_an_own_one: OwnCommitHidesOthers, "waited";
        a_distrust_that_is_not_followed: DistrustUntold, "is lost, its control plane knew";
        readings_of_a_server_that_lags: StaleReadings, "admits";
        an_old_primary_that_is_believed: OldPrimaryBelieved, "grants from";
        a_wait_that_counts_from_its_beginning: WaitCountsFromLater, "is lost";
        a_ticket_without_its_epoch: TicketOfAnyEpoch, "is lost";
        a_close_that_is_not_told: CloseUntold, "closes, and grants";
        lines_on_which_nothing_is_heard: LinesMute, "waited";
        acknowledgements_of_what_was_only_sent: AckBeforeApply, "admits";
        clocks_that_bend_more_than_is_allowed_for: DriftIgnored, "admits";
        rows_that_a_copy_lacks_forgotten: LostRowsForgotten, "admits";
    }
}
