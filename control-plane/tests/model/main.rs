//! The promise of strict mode, checked over every order of events in small worlds.
//!
//! > Once a logout call has returned 200, no request that reaches any proxy afterwards is admitted with that token.
//!
//! The model runs the real strict mode of the filter and the real barrier of the control plane, with the model's time.
//! Around them (in `world`) the network delays, loses and reorders, processes pause, stop and start again, clocks
//! differ in speed, and the database is read, written and restored. Each scene (in `scenes`) leaves some of these out,
//! so that all orders of the others can be checked. No scene has all of them, because checking that many orders would
//! take too long.
//!
//! A model that finds nothing proves little. So the model also runs with mistakes (in `mutant`): each is made around
//! the real code, and each must be found. A system that does nothing keeps every promise. So each scene names what it
//! must reach (in `reached`).
//!
//! The model leaves out what adds nothing:
//! - Lost answers: an answer that is never delivered is lost.
//! - Two answers to one poll: a callout of the host ends once.
//! - Late confirmations between control planes: late news is weaker than early news, so a confirmation arrives at once
//!   or not at all.

#[path = "../mutants/mutant.rs"]
mod mutant;
mod reached;
mod scene;
mod scenes;
mod store;
mod world;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

use mutant::Mutant;
use scene::Scene;
use world::{Action, World};

/// The mistakes that the simulation alone makes. The model has no failover to a standby that lacks rows or commits, and no
/// crash that loses commits. It passes confirmations on at once or not at all. It gives workers neither a clock between two
/// events nor time to become idle. Its clocks never stand still, and bend as far as its terms say; there are no wall clocks
/// of control planes in it. A worker of the model has one call for keys under way, and its users log out tokens alone.
const IN_LARGER_WORLDS: [Mutant; 14] = [
    Mutant::TimeAloneConfirms,
    Mutant::OldReadingDatedByOwnClock,
    Mutant::DriftOfQuartz,
    Mutant::LostRowsForgotten,
    Mutant::EpochStaysOverCrash,
    Mutant::NewestCommitAwaited,
    Mutant::RowsOfAnyEpoch,
    Mutant::ClockReadBefore,
    Mutant::NobodyTellsTheOthers,
    Mutant::IdleOnesStay,
    Mutant::WallClockBelieved,
    Mutant::SetsOfOldCopy,
    Mutant::SparedAfterOthers,
    Mutant::EarlierOthersForgotten,
];

const PROMISE: &str = "no request that comes after the answer is admitted";

impl Model for Scene {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(self, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        world.after(self, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always(PROMISE, |_, world: &World| !world.broken)];
        properties.extend(self.reached.iter().map(|reached| reached.property()));
        properties
    }
}

/// Checks all orders of events. It goes depth first, which needs the least memory.
fn keeps_the_promise(name: &str, scene: Scene) {
    let started = Instant::now();
    let reached: Vec<_> = scene.reached.iter().map(|reached| reached.property().name).collect();
    let checker = scene.checker().spawn_dfs().join();
    let (unique, depth, took) = (checker.unique_state_count(), checker.max_depth(), started.elapsed());
    println!("{name}: {} states, {unique} of them different, depth {depth}, {took:.1?}", checker.state_count());
    let found = checker.discoveries();
    assert!(!found.contains_key(PROMISE), "{:#?}", found.get(PROMISE).map(|path| path.clone().into_actions()));
    assert!(checker.is_done(), "{name}: not all orders were checked");
    for reached in reached {
        assert!(found.contains_key(reached), "{name}: never reached: {reached}");
    }
}

/// Looks for a way to break the promise. It tries the shortest ways first.
fn finds(mutant: Mutant, scene: Scene) {
    let started = Instant::now();
    let scene = Scene { mutant: Some(mutant), reached: Vec::new(), ..scene };
    let checker = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discoveries();
    let steps = found.get(PROMISE).map(|path| path.clone().into_actions());
    let (length, took) = (steps.as_ref().map_or(0, Vec::len), started.elapsed());
    println!("{mutant:?}: {length} steps, after {} different states, {took:.1?}", checker.unique_state_count());
    assert!(steps.is_some(), "{mutant:?} was not found");
}

/// A test for each scene.
macro_rules! the_promise_is_kept_in {
    ($($scene:ident,)*) => { $(
        #[test]
        fn $scene() {
            crate::keeps_the_promise(stringify!($scene), crate::scenes::$scene());
        }
    )* };
}

/// A test for each mistake, with the scene in which it must be found.
macro_rules! a_mistake_is_found {
    ($($name:ident: $mutant:ident in $scene:expr,)*) => {
        $(#[test]
        fn $name() {
            crate::finds(crate::Mutant::$mutant, $scene);
        })*

        #[test]
        fn every_mistake_is_made_that_these_worlds_have_room_for() {
            let made = [$(crate::Mutant::$mutant),*];
            let all = crate::Mutant::ALL.into_iter().filter(|mutant| !crate::IN_LARGER_WORLDS.contains(mutant));
            assert_eq!(all.collect::<Vec<_>>(), made);
        }
    };
}

mod the_promise_is_kept_in {
    the_promise_is_kept_in! {
        quiet, shared, short_leases, lost_polls, workers, pages, planes, rows, dead_planes, names, epochs, answers, ties,
        expiry, leaving, keys, two_removals, keys_of_epochs,
    }
}

mod a_mistake_is_found {
    use crate::scenes::*;

    a_mistake_is_found! {
        a_lease_counted_from_the_answer: AnchorAtReply in clocks(),
        an_old_reading_taken_for_a_new_one: OldReadingTakenForNew in shared(),
        a_new_reading_on_a_slow_clock: FreshNotShrunk in clocks(),
        a_deadline_without_drift: DeadlineWithoutDrift in clocks(),
        ids_used_again: IdsUsedAgain in names(),
        a_revocation_shown_before_its_commit: PublishBeforeCommit in pages(),
        a_database_sequence: DatabaseSequence in two_writers(),
        head_and_rows_from_two_snapshots: HeadAndRowsFromTwoSnapshots in pages(),
        other_control_planes_ignored: OthersIgnored in planes(),
        silent_control_planes_taken_for_dead: SilentOnesIgnored in rows(),
        a_dead_control_planes_row_removed_without_trace: DeadOnesLeaveNoTrace in replaced_rows(),
        a_lease_before_the_row: GrantBeforeRow in rows(),
        rows_read_before_the_commit: RowsReadBeforeCommit in rows(),
        sent_taken_for_applied: AckBeforeApply in quiet(),
        a_lease_for_an_unfinished_page: LeaseForUnfinishedPages in pages(),
        a_lease_from_a_reading_under_way: GrantedFromReadingUnderWay in pages(),
        an_epoch_ignored_by_the_worker: EpochIgnored in epochs(),
        seqs_of_two_epochs_compared: SeqsOfTwoEpochsCompared in epochs(),
        a_worker_that_leaves_and_stays: LeftWithoutLeaving in leaving(),
        a_revocation_purged_too_early: RetentionTooShort in expiry(),
        an_answer_for_those_who_came_later: AnswerServesLaterOnes in answers(),
        an_answer_used_without_another_look: NoLookAfterAnswer in answers(),
        a_tie_kept_from_an_old_answer: TieKeptFromOldAnswer in ties(),
        a_proof_that_outlives_its_key: ProofsOutliveTheirKey in keys(),
        keys_that_come_after_the_acknowledgement: KeysAfterAck in keys(),
        an_answer_that_is_newer_than_the_keys: AnswerNewerThanKeys in keys(),
    }
}
