//! `tests/attacks.md` lists exactly the rows that are played.

use std::path::Path;

use curfew_testbed::attacks::{FIRST_LINE, STORIES, listed, rendered};
use curfew_testbed::workspace;

#[test]
fn the_page_lists_every_row_with_its_text_and_its_answer() {
    let page = std::fs::read_to_string(workspace::root().join("tests/attacks.md")).unwrap();
    assert_eq!(page.lines().next(), Some(FIRST_LINE));
    let fresh = rendered(&[]);
    assert_eq!(listed(&page), listed(&fresh), "run `cargo measure attacks --write`");
}

/// The text of all files in a directory.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
    text
}

#[test]
fn every_story_that_the_page_names_is_a_test() {
    let tests = ["core/tests", "filter/tests", "control-plane/tests", "tests/tests"];
    let sources: String = tests.iter().map(|tests| sources(&workspace::root().join(tests))).collect();
    let page = std::fs::read_to_string(workspace::root().join("tests/attacks.md")).unwrap();
    for (trick, story) in STORIES {
        assert!(sources.contains(&format!("fn {story}(")), "{story} is no test");
        assert!(page.contains(&format!("| {trick} | `{story}` |")), "run `cargo measure attacks --write`");
    }
}
