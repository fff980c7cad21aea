//! Which rows `curfew adopt` could not read: the first of them on the screen, all of them in a file.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::adopt::UnreadableRow;

/// How many rows of a kind are named on the screen.
const SHOWN: usize = 20;

/// The rows of one pass over the table.
#[derive(Default)]
pub(super) struct Unreadable {
    /// Blocked, and not accepted: they keep the adoption from its end.
    blocked: Few,
    /// Not blocked.
    others: Few,
    file: Option<List>,
}

/// The first rows of a kind, and how many there are.
#[derive(Default)]
struct Few {
    first: Vec<(i64, &'static str)>,
    all: u64,
}

/// The file with all rows.
struct List {
    path: PathBuf,
    file: BufWriter<File>,
    /// The first failure. The run goes on: what it takes over is worth more than the list.
    written: io::Result<()>,
}

impl Unreadable {
    /// With the file for all rows, if one is asked for. A file that cannot be written is found before anything is done.
    pub(super) fn new(path: Option<&Path>) -> Result<Self, Failure> {
        let file = path.map(List::create).transpose()?;
        Ok(Self { file, ..Self::default() })
    }

    /// Begins anew: a further pass reads all rows again.
    pub(super) fn begin(&mut self) {
        (self.blocked, self.others) = (Few::default(), Few::default());
        if let Some(list) = &mut self.file {
            list.begin();
        }
    }

    /// Takes note of some rows.
    pub(super) fn add(&mut self, rows: &[UnreadableRow]) {
        for row in rows {
            match (row.blocked, row.accepted) {
                (true, false) => self.blocked.add(row),
                (true, true) => {}
                (false, _) => self.others.add(row),
            }
            if let Some(list) = &mut self.file {
                list.add(row);
            }
        }
    }

    /// Completes the file, and returns the lines for the screen.
    pub(super) fn finish(mut self) -> Result<String, Failure> {
        let mut lines = String::new();
        for (title, few) in [("blocked and unreadable ", &self.blocked), ("unreadable, not blocked", &self.others)] {
            if few.all > 0 {
                lines.push_str(&format!("{title} {few}\n"));
            }
        }
        match self.file.take() {
            Some(list) => lines.push_str(&list.finish()?),
            None if self.blocked.has_more() || self.others.has_more() => {
                lines.push_str("--unreadable-to FILE lists all of them\n");
            }
            None => {}
        }
        Ok(lines)
    }
}

impl Few {
    fn add(&mut self, row: &UnreadableRow) {
        self.all = self.all.saturating_add(1);
        if self.first.len() < SHOWN {
            self.first.push((row.id, row.reason));
        }
    }

    fn has_more(&self) -> bool {
        self.all > u64::try_from(SHOWN).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Few {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.first.iter().map(|(id, reason)| format!("{id} ({reason})")).collect();
        write!(formatter, "{}", rows.join(", "))?;
        match self.all.saturating_sub(u64::try_from(rows.len()).unwrap_or(u64::MAX)) {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

impl List {
    fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| {
            Failure::Usage(format!("--unreadable-to: {} cannot be written: {error}", path.display()))
        })?;
        let mut list = Self { path: path.to_owned(), file: BufWriter::new(file), written: Ok(()) };
        list.begin();
        Ok(list)
    }

    fn begin(&mut self) {
        self.attempt(|file| {
            file.rewind()?;
            file.get_mut().set_len(0)?;
            writeln!(file, "id,blocked,accepted,reason")
        });
    }

    fn add(&mut self, row: &UnreadableRow) {
        let said = |yes| if yes { "yes" } else { "no" };
        self.attempt(|file| writeln!(file, "{},{},{},{}", row.id, said(row.blocked), said(row.accepted), row.reason));
    }

    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if self.written.is_ok() {
            self.written = write(&mut self.file);
        }
    }

    fn finish(mut self) -> Result<String, Failure> {
        self.attempt(BufWriter::flush);
        let path = self.path.display();
        match self.written {
            Ok(()) => Ok(format!("all unreadable rows are listed in {path}\n")),
            Err(error) => Err(io::Error::new(error.kind(), format!("{path} is not complete: {error}")).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, blocked: bool, accepted: bool) -> UnreadableRow {
        UnreadableRow { id, reason: "claim", blocked, accepted }
    }

    fn lines(unreadable: Unreadable) -> String {
        unreadable.finish().map_err(|failure| failure.to_string()).unwrap()
    }

    #[test]
    fn the_first_rows_are_named_and_accepted_ones_are_not() {
        let mut unreadable = Unreadable::new(None).unwrap();
        assert_eq!(lines(Unreadable::default()), "");
        unreadable.begin();
        unreadable.add(&[row(1, true, true), row(7, true, false), row(8, false, false)]);
        assert_eq!(lines(unreadable), "blocked and unreadable  7 (claim)\nunreadable, not blocked 8 (claim)\n");
    }

    #[test]
    fn rows_beyond_the_twentieth_are_counted_and_stand_in_the_file() {
        let rows: Vec<_> = (1..=23).map(|id| row(id, true, false)).collect();
        let mut without = Unreadable::new(None).unwrap();
        without.add(&rows);
        let told = lines(without);
        assert!(told.ends_with(", 20 (claim) and 3 more\n--unreadable-to FILE lists all of them\n"), "{told}");

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows.csv");
        let mut with = Unreadable::new(Some(&path)).unwrap();
        with.add(&rows);
        // A further pass begins the file anew.
        with.begin();
        with.add(&[row(9, true, true), row(10, false, false)]);
        let told = lines(with);
        assert_eq!(
            told,
            format!("unreadable, not blocked 10 (claim)\nall unreadable rows are listed in {}\n", path.display())
        );
        let file = std::fs::read_to_string(&path).unwrap();
        assert_eq!(file, "id,blocked,accepted,reason\n9,yes,yes,claim\n10,no,no,claim\n");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_found_at_once() {
        let refused = Unreadable::new(Some(Path::new("/absent/rows.csv"))).err().unwrap();
        assert!(refused.to_string().starts_with("--unreadable-to: /absent/rows.csv cannot be written: "), "{refused}");
    }
}
