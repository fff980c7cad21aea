//! What an adoption found and did, in numbers.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of the rows of the application's table, and of what became of them; for a dry run, of what would become of
/// them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// All rows.
    pub rows: u64,
    /// Rows that need nothing more.
    pub before: u64,
    /// Tokens that are new to Curfew.
    pub taken: u64,
    /// Rows with a token that another row has, too.
    pub duplicates: u64,
    /// Rows with a token that has expired by every clock. They are marked, and nothing else.
    pub expired: u64,
    /// Revocations made for blocked rows.
    pub revoked: u64,
    /// Rows that hold no acceptable token, by the reason's stable name. They stay as they are.
    pub unreadable: BTreeMap<&'static str, u64>,
    /// The blocked rows among them.
    pub unreadable_blocked: u64,
    /// Those of the blocked ones of which an operator has accepted that nothing is revoked for them.
    pub accepted: u64,
    /// Rows whose raw token was blanked.
    pub forgotten: u64,
    /// What the last pass over the table still had to do: zero unless the application changes rows all the while.
    pub late: u64,
}

/// Why an adoption has not ended, although a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    /// So many blocked rows hold no token that could be revoked.
    #[error(
        "{0} blocked rows hold no token that these settings accept, and nothing of them is revoked: mend the settings, or \
         say --accept-unreadable"
    )]
    Unreadable(u64),
    /// The last pass over the table still had so much to do, and more may have followed it.
    #[error(
        "the application still changes its table: the last pass over it found more to take over ({0}), and still more \
         may have followed. Run it again while the application is quiet, or stop the application for the time of a run"
    )]
    Changing(u64),
}

impl Tally {
    /// How much was done.
    pub(super) fn changes(&self) -> u64 {
        self.taken + self.duplicates + self.expired + self.revoked + self.forgotten
    }

    /// Why the adoption has not ended; none if it has. An operator may accept that blocked rows without a token stay as
    /// they are.
    pub fn unfinished(&self) -> Option<Unfinished> {
        let left = self.unreadable_blocked.saturating_sub(self.accepted);
        if left > 0 {
            return Some(Unfinished::Unreadable(left));
        }
        (self.late > 0).then_some(Unfinished::Changing(self.late))
    }

    /// Counts a row that holds no token.
    pub(super) fn unreadable(&mut self, reason: &'static str, blocked: bool) {
        *self.unreadable.entry(reason).or_default() += 1;
        self.unreadable_blocked += u64::from(blocked);
    }

    /// The sum of the counts of different rows.
    pub(super) fn and(mut self, others: Self) -> Self {
        self.rows += others.rows;
        self.before += others.before;
        self.taken += others.taken;
        self.duplicates += others.duplicates;
        self.expired += others.expired;
        self.revoked += others.revoked;
        self.forgotten += others.forgotten;
        self.unreadable_blocked += others.unreadable_blocked;
        self.accepted += others.accepted;
        for (reason, count) in others.unreadable {
            *self.unreadable.entry(reason).or_default() += count;
        }
        self
    }

    /// Two passes over the same table in one tally: the rows as the later pass found them, and what both passes did.
    pub(super) fn followed_by(self, later: Self) -> Self {
        let (rows, before, unreadable_blocked, accepted) =
            (later.rows, self.before, later.unreadable_blocked, later.accepted);
        let unreadable = later.unreadable.clone();
        Self { rows, before, unreadable, unreadable_blocked, accepted, ..self.and(later) }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "rows                    {}", self.rows)?;
        writeln!(formatter, "nothing left to do      {}", self.before)?;
        writeln!(formatter, "tokens taken over       {}", self.taken)?;
        writeln!(formatter, "duplicates              {}", self.duplicates)?;
        writeln!(formatter, "expired, only marked    {}", self.expired)?;
        writeln!(formatter, "blocked, now revoked    {}", self.revoked)?;
        let unreadable: u64 = self.unreadable.values().sum();
        write!(formatter, "unreadable, left alone  {unreadable}")?;
        if unreadable > 0 {
            let reasons: Vec<_> = self.unreadable.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            write!(formatter, " ({}; {} of them blocked", reasons.join(", "), self.unreadable_blocked)?;
            if self.accepted > 0 {
                write!(formatter, ", {} of these accepted", self.accepted)?;
            }
            formatter.write_str(")")?;
        }
        write!(formatter, "\nraw tokens blanked      {}", self.forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_line_by_line() {
        let mut tally = Tally { rows: 9, taken: 4, duplicates: 1, expired: 2, revoked: 3, ..Tally::default() };
        tally.unreadable("empty", false);
        tally.unreadable("claim", true);
        assert_eq!(
            tally.to_string(),
            "rows                    9\n\
             nothing left to do      0\n\
             tokens taken over       4\n\
             duplicates              1\n\
             expired, only marked    2\n\
             blocked, now revoked    3\n\
             unreadable, left alone  2 (claim 1, empty 1; 1 of them blocked)\n\
             raw tokens blanked      0"
        );
    }

    #[test]
    fn an_adoption_ends_with_a_pass_that_finds_nothing_and_with_no_blocked_row_left_over() {
        let mut tally = Tally { rows: 9, taken: 9, ..Tally::default() };
        assert_eq!(tally.unfinished(), None);
        tally.late = 2;
        assert_eq!(tally.unfinished(), Some(Unfinished::Changing(2)));
        tally.unreadable("claim", true);
        tally.unreadable("claim", true);
        assert_eq!(tally.unfinished(), Some(Unfinished::Unreadable(2)));
        tally.accepted = 1;
        assert_eq!(tally.unfinished(), Some(Unfinished::Unreadable(1)));
        tally.accepted = 2;
        assert_eq!(tally.unfinished(), Some(Unfinished::Changing(2)));
    }

    #[test]
    fn a_second_pass_adds_what_it_did_and_tells_what_is_there() {
        let first = Tally { rows: 5, before: 1, taken: 3, ..Tally::default() };
        let mut second = Tally { rows: 6, before: 4, taken: 1, ..Tally::default() };
        second.unreadable("empty", false);
        let both = first.followed_by(second.clone());
        assert_eq!(both, Tally { rows: 6, before: 1, taken: 4, unreadable: second.unreadable, ..Tally::default() });
    }
}
