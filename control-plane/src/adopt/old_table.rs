//! The statements on another application's table `user_token_logs (id, user_id, user_token, is_block, created_at,
//! updated_at)`.
//!
//! They read the table, some rows at a time and in the order of its ids. They write only one thing, blanks in the place
//! of raw tokens, and only if the operator asks for that. The application may write to the table at the same time. Each
//! statement is a transaction of its own, so that the application and Curfew do not wait for each other.

use sqlx::Error;

use super::failure::SourceFailure;
use crate::store::adoption::{LIST, Link, Row, Value, are_of_curfew, columns, list, values};

/// The columns that an adoption needs.
const NEEDED: [&str; 3] = ["id", "user_token", "is_block"];

/// The table as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OldTable {
    /// It has the column `created_at`.
    created: bool,
    /// It has the column `updated_at`.
    updated: bool,
}

/// One of its rows.
pub(super) struct OldRow {
    pub(super) id: i64,
    /// `None` if it is no text; empty for NULL.
    pub(super) text: Option<String>,
    /// What `is_block` holds, as a text.
    pub(super) is_block: Option<String>,
}

/// The statement for the rows after an id. Texts are cut off after 9,000 characters: longer ones are not tokens, and a
/// large document in the place of a token must not fill the memory.
macro_rules! rows {
    ($text:literal, $is_block:literal) => {
        concat!(
            "SELECT id, substr(",
            $text,
            ", 1, 9000) AS user_token, ",
            $is_block,
            " AS is_block FROM user_token_logs WHERE id > $1 ORDER BY id LIMIT $2"
        )
    };
}

impl OldTable {
    /// Looks at the table; `None` if there is none.
    pub(super) async fn find(link: &mut Link<'_>) -> Result<Option<Self>, SourceFailure> {
        let names = columns(link, "user_token_logs").await?;
        if names.is_empty() {
            return Ok(None);
        }
        if are_of_curfew(&names) {
            return Err(SourceFailure::Curfews);
        }
        let has = |name: &str| names.iter().any(|column| column == name);
        if let Some(missing) = NEEDED.iter().find(|name| !has(name)) {
            return Err(SourceFailure::Unusable(format!("its table user_token_logs has no column {missing}")));
        }
        numbers_its_rows(link).await?;
        Ok(Some(Self { created: has("created_at"), updated: has("updated_at") }))
    }

    /// The id of its last row. The progress of a run is measured by it.
    pub(super) async fn last(link: &mut Link<'_>) -> Result<i64, Error> {
        let row = link.fetch_one("SELECT max(id) AS last FROM user_token_logs", values![]).await?;
        Ok(row.optional_integer("last")?.unwrap_or_default())
    }

    /// At most `limit` rows after the id `after`, in the order of their ids; none at the end.
    pub(super) async fn rows(link: &mut Link<'_>, after: i64, limit: i64) -> Result<Vec<OldRow>, Error> {
        const ROWS: &str = rows!("CAST(user_token AS text)", "CAST(is_block AS text)");
        const ROWS_MYSQL: &str = rows!("CONVERT(user_token USING utf8mb4)", "CAST(is_block AS CHAR)");
        let statement = link.choose(ROWS, ROWS, ROWS_MYSQL);
        link.fetch(statement, values![after, limit]).await?.iter().map(old_row).collect()
    }

    /// Blanks the texts of rows, each only if the row still holds that text to the byte; returns the number of blanked
    /// rows. Every blank is different, because the column may be in a unique index.
    pub(super) async fn blank(self, link: &mut Link<'_>, texts: &[(i64, &str)]) -> Result<u64, Error> {
        const EXACT: &str = "CAST(user_token AS text) COLLATE BINARY";
        const EXACT_POSTGRES: &str = "CAST(user_token AS text) COLLATE \"C\"";
        const EXACT_MYSQL: &str = "CAST(CONVERT(user_token USING utf8mb4) AS BINARY)";
        const BLANK: &str = "'curfew:' || CAST(id AS text)";
        const BLANK_MYSQL: &str = "CONCAT('curfew:', id)";
        let (exact, blank) = link.choose((EXACT, BLANK), (EXACT_POSTGRES, BLANK), (EXACT_MYSQL, BLANK_MYSQL));
        let mut blanked = 0_u64;
        for texts in texts.chunks(LIST) {
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
            blanked = blanked.saturating_add(link.execute_built(statement, &values, count == LIST).await?);
        }
        Ok(blanked)
    }

    /// Keeps both times as they are. MySQL may update either by itself, and does so for the first timestamp of a table
    /// even where its definition does not ask for it.
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
pub(super) fn is_blank(id: i64, text: &str) -> bool {
    text.strip_prefix("curfew:").is_some_and(|number| number == id.to_string())
}

fn old_row(row: &Row) -> Result<OldRow, Error> {
    Ok(OldRow {
        id: row.integer("id")?,
        // Bytes that are not text are not a token either.
        text: row.optional_text("user_token").ok().map(Option::unwrap_or_default),
        is_block: row.optional_text("is_block")?,
    })
}

/// Refuses a table whose ids do not allow reading each row once, in order. Ids must be whole numbers, unique and not
/// NULL.
async fn numbers_its_rows(link: &mut Link<'_>) -> Result<(), SourceFailure> {
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
    // In SQLite's order, texts and bytes come after all numbers.
    const WITHOUT_SQLITE: &str = "SELECT (SELECT count(*) FROM user_token_logs WHERE id IS NULL) + \
        (SELECT count(*) FROM user_token_logs WHERE id > 9223372036854775807) AS found";
    let unique = link.fetch_one(link.choose(SQLITE, POSTGRES, MYSQL), values![]).await?.integer("found")?;
    if unique == 0 {
        let problem = "the column id of its table user_token_logs is no whole number with a unique index of its own";
        return Err(SourceFailure::Unusable(problem.to_owned()));
    }
    let without =
        link.fetch_one(link.choose(WITHOUT_SQLITE, WITHOUT, WITHOUT_MYSQL), values![]).await?.integer("found")?;
    if without > 0 {
        return Err(SourceFailure::Unusable(format!(
            "{without} rows of its table user_token_logs have no number in id"
        )));
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
