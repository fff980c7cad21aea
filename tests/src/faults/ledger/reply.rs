//! The part of an answer that is counted and judged.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use anyhow::Result;

use crate::http::Answer;

/// The answer to one request: its status, and the `code` of a problem document. Reads as `200`, `503 unavailable` or
/// `no answer`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reply {
    status: Option<u16>,
    code: String,
}

impl Reply {
    /// The connection was lost, or the answer did not come in time.
    pub const fn none() -> Self {
        Self { status: None, code: String::new() }
    }

    /// A status, and a code that may be empty.
    pub fn new(status: u16, code: &str) -> Self {
        Self { status: Some(status), code: code.to_owned() }
    }

    pub(crate) fn of(answer: &Result<Answer>) -> Self {
        match answer {
            Ok(answer) if answer.status == 200 => Self::new(200, ""),
            Ok(answer) => Self::new(answer.status, &answer.code()),
            Err(_) => Self::none(),
        }
    }

    /// The status; `None` without an answer.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.status == Some(200)
    }

    /// True for the refusal of a token that is logged out already.
    pub(crate) fn is_already_logged_out(&self) -> bool {
        self.status == Some(401) && self.code == "token_revoked"
    }
}

impl Display for Reply {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match (self.status, self.code.as_str()) {
            (None, _) => formatter.write_str("no answer"),
            (Some(status), "") => write!(formatter, "{status}"),
            (Some(status), code) => write!(formatter, "{status} {code}"),
        }
    }
}

/// The answers to one kind of request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// How many there were of each.
    pub by_reply: BTreeMap<Reply, u64>,
    /// The time that the slowest took.
    pub slowest: Duration,
}

impl Answers {
    pub(super) fn add(&mut self, reply: &Reply, took: Duration) {
        *self.by_reply.entry(reply.clone()).or_default() += 1;
        self.slowest = self.slowest.max(took);
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (reply, count) in other.by_reply {
            *self.by_reply.entry(reply).or_default() += count;
        }
        self.slowest = self.slowest.max(other.slowest);
    }

    /// How many there were in all.
    pub fn count(&self) -> u64 {
        self.by_reply.values().sum()
    }

    /// How many were 200.
    pub fn ok(&self) -> u64 {
        self.by_reply.iter().filter(|(reply, _)| reply.is_ok()).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_what_they_say() {
        let mut answers = Answers::default();
        for reply in [Reply::new(200, ""), Reply::new(503, "unavailable"), Reply::none(), Reply::new(200, "")] {
            answers.add(&reply, Duration::from_millis(7));
        }
        let texts: Vec<_> = answers.by_reply.iter().map(|(reply, count)| (reply.to_string(), *count)).collect();
        let expected = [("no answer", 1), ("200", 2), ("503 unavailable", 1)];
        assert_eq!(texts, expected.map(|(text, count)| (text.to_owned(), count)));
        assert_eq!((answers.count(), answers.ok(), answers.slowest), (4, 2, Duration::from_millis(7)));
    }
}
