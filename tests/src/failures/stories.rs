//! The stories.

mod databases;
mod planes;
mod redis;

use super::Story;

/// The only answer to a logout or a request where clients notice nothing.
const FINE: &[&str] = &["200"];

/// All stories, in the order of the table in docs/under-failure.md.
pub fn stories() -> Vec<Story> {
    [planes::STORIES, databases::STORIES, redis::STORIES].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_story_has_a_name_and_a_text_of_its_own_that_fit_into_the_table() {
        let stories = stories();
        let names: BTreeSet<&str> = stories.iter().map(|story| story.name).collect();
        let texts: BTreeSet<&str> = stories.iter().map(|story| story.fails).collect();
        assert_eq!((names.len(), texts.len()), (stories.len(), stories.len()));
        assert!(stories.iter().all(|story| ![story.fails, story.seen].concat().contains(['|', '\n'])));
    }
}
