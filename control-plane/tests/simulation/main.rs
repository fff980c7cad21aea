//! The promise of strict mode, in simulated worlds of several proxies and control planes.
//!
//! > Once a logout call has returned 200, no request that reaches any proxy afterwards is admitted with that token.
//!
//! The simulation runs the real strict mode of the filter and the real barrier of the control plane. Around them (in
//! `world`) everything is simulated: a network that delays, loses and doubles, a database whose commits come back late
//! or not at all, messages between control planes, processes that pause, stop and start again, clocks that run at
//! different speeds. A seed decides everything. The `model` beside this checks every order of a few events; the
//! simulation checks a few orders of very many.
//!
//! Some worlds have issuers whose keys the control plane hands out (in `keys`). A removed key is as good as a logout of all
//! that it signed, and is held to the same promise. Workers hold keys in the filter's own `HeldKeys`.
//!
//! The simulation checks at every step, and in `world::requests` and `world::logouts`, that the promise holds, that no
//! valid token is refused, and that facts about a worker's id stay true. After the faults have ended, it checks that
//! every worker decides without asking again and has the keys that are handed out, and that every logout returns soon
//! and by acknowledgements.
//!
//! A failure names its seed. `CURFEW_SIMULATION_SEED=7 cargo test --workspace --test simulation keeps -- --nocapture`
//! plays it again and prints every event; `CURFEW_SIMULATION_SEEDS=100000` tries that many seeds.

mod checks;
mod clocks;
mod database;
mod dice;
mod events;
mod keys;
#[path = "../mutants/mutant.rs"]
mod mutant;
mod network;
mod scene;
mod world;

use std::time::Instant;

use checks::Reached;
use mutant::Mutant;
use world::World;

/// How many worlds are searched for each mistake.
const SEEDS: u64 = 4000;

/// How many worlds have to keep the promise.
const WORLDS: u64 = 3000;

/// The search ends after this many broken worlds, which is enough to see what they have in common.
const FAILURES: usize = 10;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64, mutant: Option<Mutant>, trace: bool) -> (Option<String>, Reached) {
    let mut world = World::new(seed, mutant, trace);
    world.run();
    (world.checks.violation, world.checks.reached)
}

#[test]
fn keeps_the_promise_in_every_world() {
    let one = number("CURFEW_SIMULATION_SEED");
    let seeds = one.map_or(1..=number("CURFEW_SIMULATION_SEEDS").unwrap_or(WORLDS), |seed| seed..=seed);
    let (started, mut reached, mut broken) = (Instant::now(), Reached::default(), Vec::new());
    for seed in seeds.clone() {
        let (violation, of_seed) = run(seed, None, one.is_some());
        reached.add(of_seed);
        broken.extend(violation.map(|what| format!("CURFEW_SIMULATION_SEED={seed}: {what}")));
        if broken.len() >= FAILURES {
            break;
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    println!("seeds {seeds:?} in {:.1?}: {reached:?}", started.elapsed());
    assert!(one.is_some() || reached.is_all(), "something never happened in any world");
}

#[test]
fn a_seed_decides_everything() {
    let numbers = |seed| format!("{:?}", run(seed, None, false));
    assert_eq!(numbers(3), numbers(3));
    assert_ne!(numbers(3), numbers(4));
}

/// Looks for a world in which a mistake is found.
fn finds(mutant: Mutant) {
    let started = Instant::now();
    let shows = |seed: &u64| run(*seed, Some(mutant), false).0;
    let found = (1..=SEEDS).find_map(|seed| shows(&seed).map(|what| (seed, what)));
    println!("{mutant:?}: {found:?}, {:.1?}", started.elapsed());
    assert!(found.is_some(), "{mutant:?} was not found in {SEEDS} worlds");
}

/// A test for each mistake.
macro_rules! a_mistake_is_found {
    ($($name:ident: $mutant:ident,)*) => {
        $(#[test]
        fn $name() {
            crate::finds(crate::Mutant::$mutant);
        })*

        #[test]
        fn every_mistake_is_made() {
            assert_eq!([$(crate::Mutant::$mutant),*], crate::Mutant::ALL);
        }
    };
}

mod a_mistake_is_found {
    a_mistake_is_found! {
        a_lease_counted_from_the_answer: AnchorAtReply,
        an_old_reading_taken_for_a_new_one: OldReadingTakenForNew,
        an_old_reading_dated_by_a_clock_that_stood_still: OldReadingDatedByOwnClock,
        a_new_reading_on_a_slow_clock: FreshNotShrunk,
        a_deadline_without_drift: DeadlineWithoutDrift,
        clocks_that_bend_further_than_quartz: DriftOfQuartz,
        ids_used_again: IdsUsedAgain,
        a_revocation_shown_before_its_commit: PublishBeforeCommit,
        a_database_sequence: DatabaseSequence,
        head_and_rows_from_two_snapshots: HeadAndRowsFromTwoSnapshots,
        other_control_planes_ignored: OthersIgnored,
        silent_control_planes_taken_for_dead: SilentOnesIgnored,
        a_dead_control_planes_row_removed_without_trace: DeadOnesLeaveNoTrace,
        a_lease_before_the_row: GrantBeforeRow,
        rows_read_before_the_commit: RowsReadBeforeCommit,
        sent_taken_for_applied: AckBeforeApply,
        a_lease_for_an_unfinished_page: LeaseForUnfinishedPages,
        a_lease_from_a_reading_under_way: GrantedFromReadingUnderWay,
        an_epoch_ignored_by_the_worker: EpochIgnored,
        seqs_of_two_epochs_compared: SeqsOfTwoEpochsCompared,
        rows_that_a_copy_lacks_forgotten: LostRowsForgotten,
        an_epoch_that_stays_over_a_crash: EpochStaysOverCrash,
        the_newest_commit_awaited_instead_of_the_own_one: NewestCommitAwaited,
        rows_of_another_epoch_counted: RowsOfAnyEpoch,
        a_worker_that_leaves_and_stays: LeftWithoutLeaving,
        a_revocation_purged_too_early: RetentionTooShort,
        a_wall_clock_that_was_wrong_at_the_start: WallClockBelieved,
        an_answer_for_those_who_came_later: AnswerServesLaterOnes,
        an_answer_used_without_another_look: NoLookAfterAnswer,
        a_tie_kept_from_an_old_answer: TieKeptFromOldAnswer,
        a_clock_read_before_the_request: ClockReadBefore,
        others_who_are_told_nothing: NobodyTellsTheOthers,
        idle_workers_that_stay: IdleOnesStay,
        time_that_confirms_without_a_reading: TimeAloneConfirms,
        a_proof_that_outlives_its_key: ProofsOutliveTheirKey,
        keys_that_come_after_the_acknowledgement: KeysAfterAck,
        an_answer_that_is_newer_than_the_keys: AnswerNewerThanKeys,
        older_keys_that_take_the_place_of_newer_ones: SetsOfOldCopy,
        what_is_spared_after_what_covers_it: SparedAfterOthers,
        an_earlier_logout_of_others_forgotten: EarlierOthersForgotten,
    }
}
