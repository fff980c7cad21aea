//! The README's table of failures lists exactly the stories that are played.

use curfew_testbed::failures::{part, stable, stories};
use curfew_testbed::workspace;

#[test]
fn the_readme_tells_every_story_with_what_clients_see_and_two_zeros() {
    let readme = std::fs::read_to_string(workspace::root().join("README.md")).unwrap();
    let told = stable(part(&readme).unwrap());
    let expected: Vec<_> = stories().iter().map(|story| (story.fails, story.seen, "0", "0")).collect();
    assert_eq!(told, expected, "run `cargo measure failures --write`");
}
