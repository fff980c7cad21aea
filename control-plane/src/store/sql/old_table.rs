//! The table of another application, `user_token_logs (id, user_id, user_token, is_block, created_at, updated_at)`: what is
//! read of it, and the one thing that is ever written to it, where that is asked for: blanks in the place of raw tokens.
//!
//! Its application may write to it all the while. It is gone through in the order of its ids, some rows at a time, and no
//! transaction of Curfew's has it open: neither waits for the other.

use curfew_core::RevocationKey;
use sqlx::Error;

use super::adoption::has_begun;
use super::connection::Link;
use super::placeholders::list;
use super::register::TOKENS;
use super::row::Row;
use super::tables::columns;
use super::value::{Value, values};
use crate::store::evidence::Known;

/// What a row of it is about must be readable with these.
const NEEDED: [&str; 3] = ["id", "user_token", "is_block"];

/// The table as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OldTable {
    /// It may have been gone through before, and there are Curfew's own tables.
    pub(crate) begun: bool,
    /// It says when a row was made.
    pub(crate) created: bool,
    /// It says when a row was last changed.
    pub(crate) updated: bool,
}

/// One of its rows.
pub(crate) struct OldRow {
    pub(crate) id: i64,
    /// `None` where it is no text; empty for NULL.
    pub(crate) text: Option<String>,
    /// What `is_block` holds, as a text.
    pub(crate) is_block: Option<String>,
    /// What was noted of it before.
    pub(crate) mark: Option<Mark>,
}

/// What was noted of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The token that was found there.
    pub(crate) token: RevocationKey,
    /// What Curfew's own table says of that.
    pub(crate) known: Known,
}

/// Longer ones are no tokens, and are cut off: a large document in the place of a token must not fill the memory.
macro_rules! text {
    ($column:literal) => {
        concat!("substr(CAST(", $column, " AS text), 1, 9000)")
    };
    (mysql $column:literal) => {
        concat!("substr(CONVERT(", $column, " USING utf8mb4), 1, 9000)")
    };
}

/// The rows first, and what is noted of them after that: no planner is led to go through all notes for some rows.
macro_rules! rows {
    ($text:expr, $block:literal, $marks:literal, $joined:literal) => {
        concat!(
            "SELECT old.id AS id, ",
            $text,
            " AS user_token, ",
            $block,
            " AS is_block, ",
            $marks,
            " FROM (SELECT id, user_token, is_block FROM user_token_logs WHERE id > $1 ORDER BY id LIMIT $2) AS old ",
            $joined,
            " ORDER BY old.id"
        )
    };
    ($text:expr, $block:literal) => {
        rows!($text, $block, "0 AS marked", "")
    };
    (marked $text:expr, $block:literal) => {
        rows!(
            $text,
            $block,
            "CASE WHEN mark.token_id IS NULL THEN 0 ELSE 1 END AS marked, mark.token_id AS token_id, \
             known.is_block AS known_block",
            "LEFT JOIN curfew_adopted AS mark ON mark.old_id = old.id AND mark.old_id > $1 \
             LEFT JOIN curfew_token_logs AS known ON known.token_id = mark.token_id"
        )
    };
}

impl OldTable {
    /// Looks at it; `None` where there is none.
    pub(crate) async fn find(link: &mut Link<'_>) -> Result<Option<Self>, Error> {
        let names = columns(link, "user_token_logs").await?;
        if names.is_empty() {
            return Ok(None);
        }
        let has = |name: &str| names.iter().any(|column| column == name);
        if let Some(missing) = NEEDED.iter().find(|name| !has(name)) {
            return Err(unusable(format!("its table user_token_logs has no column {missing}")));
        }
        numbers_its_rows(link).await?;
        Ok(Some(Self { begun: has_begun(link).await?, created: has("created_at"), updated: has("updated_at") }))
    }

    /// The id of its last row, to tell how far one has come.
    pub(crate) async fn last(link: &mut Link<'_>) -> Result<i64, Error> {
        let row = link.fetch_one("SELECT max(id) AS last FROM user_token_logs", values![]).await?;
        Ok(row.optional_integer("last")?.unwrap_or_default())
    }

    /// At most `limit` rows after the id `after`, in the order of their ids; none at the end.
    pub(crate) async fn rows(self, link: &mut Link<'_>, after: i64, limit: i64) -> Result<Vec<OldRow>, Error> {
        const ROWS: &str = rows!(text!("old.user_token"), "CAST(old.is_block AS text)");
        const MARKED: &str = rows!(marked text!("old.user_token"), "CAST(old.is_block AS text)");
        const ROWS_MYSQL: &str = rows!(text!(mysql "old.user_token"), "CAST(old.is_block AS CHAR)");
        const MARKED_MYSQL: &str = rows!(marked text!(mysql "old.user_token"), "CAST(old.is_block AS CHAR)");
        let statement = match self.begun {
            true => link.choose(MARKED, MARKED, MARKED_MYSQL),
            false => link.choose(ROWS, ROWS, ROWS_MYSQL),
        };
        link.fetch(statement, values![after, limit]).await?.iter().map(old_row).collect()
    }

    /// Blanks the texts of rows, of each only if it is still this one, to the byte; returns how many. Each blank is unlike
    /// any other, for the column may be one of a unique index.
    pub(crate) async fn blank(self, link: &mut Link<'_>, texts: &[(i64, &str)]) -> Result<u64, Error> {
        const EXACT: &str = "CAST(user_token AS text) COLLATE BINARY";
        const EXACT_POSTGRES: &str = "CAST(user_token AS text) COLLATE \"C\"";
        const EXACT_MYSQL: &str = "CAST(CONVERT(user_token USING utf8mb4) AS BINARY)";
        const BLANK: &str = "'curfew:' || CAST(id AS text)";
        const BLANK_MYSQL: &str = "CONCAT('curfew:', id)";
        let (exact, blank) = link.choose((EXACT, BLANK), (EXACT_POSTGRES, BLANK), (EXACT_MYSQL, BLANK_MYSQL));
        let mut blanked = 0_u64;
        for texts in texts.chunks(TOKENS) {
            let count = texts.len();
            let whens = (1..=count).map(|number| format!("WHEN ${number} THEN ${} ", number.saturating_add(count)));
            let statement = format!(
                "UPDATE user_token_logs SET user_token = {blank}{} WHERE id IN ({}) AND {exact} = CASE id {}END",
                self.unchanged_times(),
                list(count),
                whens.collect::<String>()
            );
            let ids = texts.iter().map(|(id, _)| Value::from(*id));
            let values: Vec<_> = ids.chain(texts.iter().map(|(_, text)| Value::from(*text))).collect();
            blanked = blanked.saturating_add(link.execute_made(statement, &values, count == TOKENS).await?);
        }
        Ok(blanked)
    }

    /// MySQL may keep either time by itself, the first one of a table even where nobody has asked for it.
    const fn unchanged_times(self) -> &'static str {
        match (self.created, self.updated) {
            (true, true) => ", created_at = created_at, updated_at = updated_at",
            (true, false) => ", created_at = created_at",
            (false, true) => ", updated_at = updated_at",
            (false, false) => "",
        }
    }
}

/// The text that stands in the place of a row's token once that is blanked.
pub(crate) fn is_blank(id: i64, text: &str) -> bool {
    text.strip_prefix("curfew:").is_some_and(|number| number == id.to_string())
}

fn old_row(row: &Row) -> Result<OldRow, Error> {
    let mark = match row.integer("marked")? {
        0 => None,
        _ => Some(Mark {
            token: RevocationKey::from_bytes(row.sixteen("token_id")?),
            known: match row.optional_integer("known_block")? {
                None => Known::No,
                Some(0) => Known::Alive,
                Some(_) => Known::Blocked,
            },
        }),
    };
    Ok(OldRow {
        id: row.integer("id")?,
        // Bytes that are no text are no token either.
        text: row.optional_text("user_token").ok().map(Option::unwrap_or_default),
        is_block: row.optional_text("is_block")?,
        mark,
    })
}

/// Why a table cannot be adopted, as an error that says so.
pub(crate) fn unusable(problem: String) -> Error {
    Error::Configuration(format!("{problem}, and so the table cannot be adopted").into())
}

/// Whoever goes through a table in the order of a column must meet each row once: whole numbers, none of them twice, none NULL.
async fn numbers_its_rows(link: &mut Link<'_>) -> Result<(), Error> {
    const SQLITE: &str = "SELECT count(*) AS found FROM pragma_table_info('user_token_logs') AS col \
        WHERE lower(col.name) = 'id' AND upper(col.type) LIKE '%INT%' AND (\
          (col.pk = 1 AND (SELECT count(*) FROM pragma_table_info('user_token_logs') WHERE pk > 0) = 1) \
          OR EXISTS (SELECT 1 FROM pragma_index_list('user_token_logs') AS idx \
                      WHERE idx.\"unique\" = 1 AND idx.partial = 0 \
                        AND (SELECT count(*) FROM pragma_index_info(idx.name)) = 1 \
                        AND (SELECT lower(name) FROM pragma_index_info(idx.name)) = 'id'))";
    const POSTGRES: &str = "SELECT count(*) AS found FROM pg_attribute AS col \
        JOIN pg_index AS idx ON idx.indrelid = col.attrelid AND idx.indisunique AND idx.indisvalid \
         AND idx.indnkeyatts = 1 AND idx.indkey[0] = col.attnum AND idx.indpred IS NULL \
        WHERE col.attrelid = to_regclass('user_token_logs') AND col.attname = 'id' \
          AND col.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)";
    const MYSQL: &str = "SELECT count(*) AS found FROM information_schema.columns AS col \
        JOIN information_schema.statistics AS idx ON idx.table_schema = col.table_schema \
         AND idx.table_name = col.table_name AND idx.column_name = col.column_name \
        WHERE col.table_schema = DATABASE() AND col.table_name = 'user_token_logs' AND col.column_name = 'id' \
          AND col.data_type IN ('tinyint', 'smallint', 'mediumint', 'int', 'bigint') \
          AND idx.non_unique = 0 AND idx.seq_in_index = 1 \
          AND NOT EXISTS (SELECT 1 FROM information_schema.statistics AS more \
            WHERE more.table_schema = col.table_schema AND more.table_name = col.table_name \
              AND more.index_name = idx.index_name AND more.seq_in_index = 2)";
    const WITHOUT: &str = "SELECT count(*) AS found FROM user_token_logs WHERE id IS NULL";
    const WITHOUT_MYSQL: &str =
        "SELECT count(*) AS found FROM user_token_logs WHERE id IS NULL OR id > 9223372036854775807";
    // Texts and bytes come after all numbers there.
    const WITHOUT_SQLITE: &str = "SELECT (SELECT count(*) FROM user_token_logs WHERE id IS NULL) + \
        (SELECT count(*) FROM user_token_logs WHERE id > 9223372036854775807) AS found";
    let unique = link.fetch_one(link.choose(SQLITE, POSTGRES, MYSQL), values![]).await?.integer("found")?;
    if unique == 0 {
        let problem = "the column id of its table user_token_logs is no whole number with a unique index of its own";
        return Err(unusable(problem.to_owned()));
    }
    let without =
        link.fetch_one(link.choose(WITHOUT_SQLITE, WITHOUT, WITHOUT_MYSQL), values![]).await?.integer("found")?;
    if without > 0 {
        return Err(unusable(format!("{without} rows of its table user_token_logs have no number in id")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_belongs_to_its_row() {
        assert!(is_blank(7, "curfew:7"));
        for text in ["curfew:8", "curfew:", "curfew: 7", "7", ""] {
            assert!(!is_blank(7, text), "{text}");
        }
    }
}
