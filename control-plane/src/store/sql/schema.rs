//! Which tables a database has, and whether they are Curfew's.

use sqlx::Error;

use super::driver::{Link, values};

/// Curfew's table of tokens, and the name that other applications give to theirs.
const TOKENS: &str = "user_token_logs";

/// True if the database has a table `user_token_logs` that is not Curfew's.
pub(crate) async fn has_foreign_tokens(link: &mut Link<'_>) -> Result<bool, Error> {
    let columns = columns(link, TOKENS).await?;
    Ok(!columns.is_empty() && !are_of_curfew(&columns))
}

/// True if a table `user_token_logs` with these columns is Curfew's own.
pub(crate) fn are_of_curfew(columns: &[String]) -> bool {
    let has = |name: &str| columns.iter().any(|column| column == name);
    has("issuer") && has("token_id") && !has("user_token")
}

/// True if a table of this name exists.
pub(crate) async fn has_table(link: &mut Link<'_>, table: &str) -> Result<bool, Error> {
    Ok(!columns(link, table).await?.is_empty())
}

/// The columns of a table; none if the table does not exist.
pub(crate) async fn columns(link: &mut Link<'_>, table: &str) -> Result<Vec<String>, Error> {
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
    fn a_table_of_tokens_is_curfews_by_its_columns() {
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(are_of_curfew(&columns(&["token_id", "issuer", "user_id"])));
        assert!(!are_of_curfew(&columns(&["id", "user_id", "user_token", "is_block"])));
        assert!(!are_of_curfew(&columns(&["token_id", "issuer", "user_token"])));
        assert!(!are_of_curfew(&[]));
    }
}
