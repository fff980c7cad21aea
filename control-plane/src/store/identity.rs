//! The place where a history is kept, as far as the database shows it: the server, the file, the table, and the
//! server's run, which is the time from one start to the next. Pure.
//!
//! It is compared with the place where the epoch was made. A difference means another server or a restored copy, which
//! may lack the latest revocations. Readers must not take its seqs for those of the history that they know.
//!
//! The run is part of the place, because a server may show a commit before the commit is durable. If its machine
//! crashes then, a worker may have applied a revocation that the server has never had, and the seq of that revocation is
//! given to another one. A commit is lost in this way only if the server starts again.

use std::collections::BTreeMap;
use std::fmt;

/// The part that names the run of a server.
pub(crate) const RUN: &str = "run";

/// Named parts, such as `server`, `timeline` and `run`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity(BTreeMap<String, String>);

impl Identity {
    /// The parts that were seen. Parts that could not be seen are left out.
    pub(crate) fn seen<const N: usize>(parts: [(&str, Option<String>); N]) -> Self {
        let seen = parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), plain(&value?))));
        Self(seen.collect())
    }

    /// Reads the text that [`Display`](fmt::Display) has written.
    pub(crate) fn parse(text: &str) -> Self {
        let parts = text.split(' ').filter_map(|part| part.split_once('='));
        Self(parts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// True if these cannot be the same place: both have a part, and its values differ. A part that only one of them
    /// has says nothing, because an account may have lost or gained the right to see it.
    pub(crate) fn contradicts(&self, other: &Self) -> bool {
        self.0.iter().any(|(name, value)| other.0.get(name).is_some_and(|others| others != value))
    }

    /// True if `other` is the same place, and its server has started again since.
    pub(crate) fn is_an_earlier_run_of(&self, other: &Self) -> bool {
        let mut differing =
            self.0.iter().filter(|(name, value)| other.0.get(*name).is_some_and(|others| others != *value));
        differing.next().is_some_and(|(name, _)| name == RUN) && differing.next().is_none()
    }

    /// The parts of `newer`, and the parts that only this one has.
    pub(crate) fn updated_by(mut self, newer: &Self) -> Self {
        self.0.extend(newer.0.clone());
        self
    }
}

/// The value without the characters that separate parts.
fn plain(value: &str) -> String {
    value.replace([' ', '='], "_")
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        formatter.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(server: &str, timeline: Option<&str>) -> Identity {
        Identity::seen([("server", Some(server.to_owned())), ("timeline", timeline.map(str::to_owned))])
    }

    #[test]
    fn what_is_written_is_read_again() {
        let identity = seen("7711 at=home", Some("00000001"));
        assert_eq!(identity.to_string(), "server=7711_at_home timeline=00000001");
        assert_eq!(Identity::parse(&identity.to_string()), identity);
        assert_eq!(Identity::parse(""), Identity::default());
    }

    #[test]
    fn a_part_that_differs_is_another_place_and_one_that_is_missing_is_not() {
        let first = seen("1", Some("1"));
        assert!(first.contradicts(&seen("2", Some("1"))));
        assert!(first.contradicts(&seen("1", Some("2"))));
        assert!(!first.contradicts(&first));
        assert!(!first.contradicts(&seen("1", None)));
        assert!(!Identity::default().contradicts(&first));
        let run = |server: &str, run: &str| Identity::parse(&format!("run={run} server={server}"));
        assert!(run("1", "1").contradicts(&run("1", "2")) && run("1", "1").is_an_earlier_run_of(&run("1", "2")));
        assert!(!run("1", "1").is_an_earlier_run_of(&run("2", "2")) && !run("1", "1").is_an_earlier_run_of(&first));
        assert!(!seen("1", None).is_an_earlier_run_of(&seen("2", None)));
        assert!(seen("1", None).updated_by(&first) == first && first.clone().updated_by(&seen("1", None)) == first);
    }
}
