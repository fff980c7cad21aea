//! `tests/attacks.md` lists exactly the rows that are played.

use curfew_testbed::attacks::{FIRST_LINE, listed, rendered};
use curfew_testbed::workspace;

#[test]
fn the_page_lists_every_row_with_its_text_and_what_it_gets() {
    let page = std::fs::read_to_string(workspace::root().join("tests/attacks.md")).unwrap();
    assert_eq!(page.lines().next(), Some(FIRST_LINE));
    let fresh = rendered(&[]);
    assert_eq!(listed(&page), listed(&fresh), "run `cargo measure attacks --write`");
}
