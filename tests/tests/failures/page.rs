//! The table in docs/under-failure.md lists exactly the stories that are played.

use curfew_testbed::failures::{PAGE, part, stable, stories};
use curfew_testbed::workspace;

#[test]
fn the_page_tells_every_story_with_what_clients_see_and_two_zeros() {
    let page = std::fs::read_to_string(workspace::root().join(PAGE)).unwrap();
    let told = stable(part(&page).unwrap());
    let expected: Vec<_> = stories().iter().map(|story| (story.fails, story.seen, "0", "0")).collect();
    assert_eq!(told, expected, "run `cargo measure failures --write`");
}
