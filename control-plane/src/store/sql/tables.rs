//! What Curfew's table of tokens is called in a database.
//!
//! `user_token_logs`, unless another application had a table of that name first: that one keeps its name, its rows and
//! its application, and Curfew's own stands beside it as `curfew_token_logs`. Statements and migrations are written with
//! the first name, and renamed here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sqlx::Error;

use super::connection::Link;
use super::value::values;

const OWN: &str = "user_token_logs";
const BESIDE: &str = "curfew_token_logs";

/// The names of the tables in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tables {
    /// Those that the statements are written with.
    Own,
    /// Beside the table of another application.
    Beside,
}

impl Tables {
    /// The statement with the names that the tables have.
    pub(crate) fn of(self, statement: &'static str) -> &'static str {
        /// One for each statement of this program that names the table, made when it is first run.
        static RENAMED: Mutex<BTreeMap<&'static str, &'static str>> = Mutex::new(BTreeMap::new());
        if self == Self::Own || !statement.contains(OWN) {
            return statement;
        }
        let mut renamed = RENAMED.lock().unwrap_or_else(PoisonError::into_inner);
        renamed.entry(statement).or_insert_with(|| Box::leak(self.name_in(statement).into_boxed_str()))
    }

    /// A text with the names that the tables have.
    pub(super) fn name_in(self, text: &str) -> String {
        match self {
            Self::Own => text.to_owned(),
            Self::Beside => text.replace(OWN, BESIDE),
        }
    }
}

/// What a database looks like before anything is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Empty, or Curfew's own.
    Own,
    /// Another application has a table of the name.
    Foreign,
    /// That table is being adopted.
    Unfinished,
    /// It has been adopted.
    Adopted,
}

/// Finds that out.
pub(crate) async fn layout(link: &mut Link<'_>) -> Result<Layout, Error> {
    const FINISHED: &str = "SELECT count(*) AS finished FROM curfew_adoption WHERE finished_at IS NOT NULL";
    if !columns(link, "curfew_adoption").await?.is_empty() {
        let finished = link.fetch_one(FINISHED, values![]).await?.integer("finished")? > 0;
        return Ok(if finished { Layout::Adopted } else { Layout::Unfinished });
    }
    let columns = columns(link, OWN).await?;
    let has = |name: &str| columns.iter().any(|column| column == name);
    Ok(if columns.is_empty() || (has("issuer") && !has("user_token")) { Layout::Own } else { Layout::Foreign })
}

/// The columns of a table, none where there is no such table.
pub(super) async fn columns(link: &mut Link<'_>, table: &str) -> Result<Vec<String>, Error> {
    const SQLITE: &str = "SELECT name FROM pragma_table_info($1)";
    const POSTGRES: &str = "SELECT CAST(attname AS text) AS name FROM pg_attribute \
        WHERE attrelid = to_regclass(CAST($1 AS text)) AND attnum > 0 AND NOT attisdropped";
    const MYSQL: &str = "SELECT column_name AS name FROM information_schema.columns \
        WHERE table_schema = DATABASE() AND table_name = $1";
    let rows = link.fetch(link.choose(SQLITE, POSTGRES, MYSQL), values![table]).await?;
    rows.iter().map(|row| row.text("name")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_another_table_every_name_is_changed_and_nothing_else() {
        let statement = "DELETE FROM user_token_logs WHERE token_id IN (SELECT token_id FROM user_token_logs)";
        assert_eq!(Tables::Own.of(statement), statement);
        let renamed = "DELETE FROM curfew_token_logs WHERE token_id IN (SELECT token_id FROM curfew_token_logs)";
        assert_eq!(Tables::Beside.of(statement), renamed);
        assert_eq!(Tables::Beside.of("SELECT seq FROM feed_head"), "SELECT seq FROM feed_head");
        // Made once.
        assert!(std::ptr::eq(Tables::Beside.of(statement), Tables::Beside.of(statement)));
    }
}
