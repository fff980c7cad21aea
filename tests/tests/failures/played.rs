//! The stories, one test each, so that two of them run at the same time.

use curfew_testbed::failures::{Conditions, stories};

/// Plays a story and checks its claims.
fn holds(name: &str, conditions: Conditions) {
    let story = *stories().iter().find(|story| story.name == name).unwrap();
    let report = story.play(conditions).unwrap_or_else(|error| panic!("{error:#}"));
    println!("{}", serde_json::to_string_pretty(&report.json()).unwrap());
    assert_eq!(report.broken(), Vec::<String>::new(), "{name}: {:#}", report.json());
}

macro_rules! played {
    ($($test:ident: $name:literal,)*) => {
        const PLAYED: &[&str] = &[$($name),*];

        $(#[test]
        fn $test() {
            holds($name, Conditions::SHORT);
        })*
    };
}

played! {
    a_control_plane_that_is_killed_again_and_again_forgets_no_logout: "plane-killed",
    a_logout_at_one_control_plane_is_known_to_the_other: "plane-crossed",
    nobody_notices_that_one_of_two_control_planes_is_killed: "plane-killed-of-two",
    nobody_notices_that_one_of_two_control_planes_is_restarted: "plane-restarted-of-two",
    postgres_is_killed: "postgres-killed",
    mariadb_is_killed: "mariadb-killed",
    postgres_says_nothing: "postgres-frozen",
    mariadb_says_nothing: "mariadb-frozen",
    others_take_all_connections: "postgres-crowded",
    the_disk_is_full: "sqlite-full",
    database_and_redis_are_killed: "both-killed",
    redis_is_killed: "redis-killed",
    redis_is_replaced_by_an_empty_one: "redis-replaced",
    redis_is_flushed: "redis-flushed",
    redis_evicts: "redis-evicting",
    redis_is_late: "redis-late",
}

#[test]
fn every_story_is_played() {
    assert_eq!(stories().iter().map(|story| story.name).collect::<Vec<_>>(), PLAYED);
}

#[test]
#[ignore = "takes minutes; cargo verify --long runs it"]
fn two_hundred_kills_forget_no_logout() {
    holds("plane-killed", Conditions { rounds: 200, ..Conditions::SHORT });
}
