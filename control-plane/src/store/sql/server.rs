//! What a start asks of a server: is it new enough, and does a commit survive a crash?

use sqlx::Error;

use super::connect::Opened;
use super::driver::{Link, values};
use super::history::HistoryProbe;

/// The oldest versions that have what Curfew needs: in PostgreSQL `gen_random_uuid` and further columns in an index, in
/// MySQL and MariaDB row constructors, CHECK and window functions.
const OLDEST_POSTGRES: i64 = 130_000;
const OLDEST_MYSQL: (u32, u32, u32) = (8, 0, 19);
const OLDEST_MARIADB: (u32, u32, u32) = (10, 6, 0);

/// The warnings about the server for an operator.
///
/// # Errors
///
/// The server is too old, or did not answer.
pub(crate) async fn server_warnings(opened: &mut Opened) -> Result<Vec<String>, Error> {
    let mut link = opened.connection.link();
    match &opened.probe {
        HistoryProbe::File(_) => Ok(Vec::new()),
        HistoryProbe::Postgres => postgres(&mut link, false).await,
        HistoryProbe::PostgresTable => postgres(&mut link, true).await,
        HistoryProbe::MySql => mysql(&mut link).await,
    }
}

async fn postgres(link: &mut Link<'_>, blind: bool) -> Result<Vec<String>, Error> {
    const ASK: &str = "SELECT CAST(current_setting('server_version_num') AS bigint) AS number, \
        current_setting('server_version') AS version, current_setting('fsync') AS fsync, \
        current_setting('full_page_writes') AS pages";
    let row = link.fetch_one(ASK, values![]).await?;
    if row.integer("number")? < OLDEST_POSTGRES {
        return Err(too_old("PostgreSQL", &row.text("version")?, "13"));
    }
    let mut warnings = Vec::new();
    for (setting, value) in [("fsync", row.text("fsync")?), ("full_page_writes", row.text("pages")?)] {
        if value != "on" {
            warnings
                .push(format!("PostgreSQL's {setting} is {value}: a logout answered with 200 may be lost in a crash"));
        }
    }
    if blind {
        warnings.push(
            "this account may not call pg_control_system and pg_walfile_name: after a failover or a restore call \
             `curfew epoch bump`"
                .to_owned(),
        );
    }
    Ok(warnings)
}

async fn mysql(link: &mut Link<'_>) -> Result<Vec<String>, Error> {
    const ASK: &str = "SELECT version() AS version, CAST(@@innodb_flush_log_at_trx_commit AS SIGNED) AS flush, \
        CAST(@@log_bin AS SIGNED) AS binlog, CAST(@@sync_binlog AS SIGNED) AS sync";
    let row = link.fetch_one(ASK, values![]).await?;
    let version = row.text("version")?;
    let (name, oldest) =
        if version.contains("MariaDB") { ("MariaDB", OLDEST_MARIADB) } else { ("MySQL", OLDEST_MYSQL) };
    if numbers(&version) < oldest {
        return Err(too_old(name, &version, &format!("{}.{}.{}", oldest.0, oldest.1, oldest.2)));
    }
    let mut warnings = Vec::new();
    let (flush, sync) = (row.integer("flush")?, row.integer("sync")?);
    if flush != 1 {
        warnings.push(format!(
            "{name}'s innodb_flush_log_at_trx_commit is {flush} and not 1: a logout answered with 200 may be lost in a crash"
        ));
    }
    if row.integer("binlog")? != 0 && sync != 1 {
        warnings.push(format!(
            "{name}'s sync_binlog is {sync} and not 1: a logout answered with 200 may be lost in a crash"
        ));
    }
    Ok(warnings)
}

fn too_old(name: &str, version: &str, oldest: &str) -> Error {
    Error::Configuration(format!("{name} {version} is too old: {oldest} or newer is needed").into())
}

/// The first three numbers of a version such as `10.11.6-MariaDB-0+deb12u1`.
fn numbers(version: &str) -> (u32, u32, u32) {
    // For the sake of replication, older versions of MariaDB put 5.5.5 before their own number.
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(numbers("8.0.36"), (8, 0, 36));
        assert_eq!(numbers("8.0.19-10+build"), (8, 0, 19));
        assert_eq!(numbers("10.11.6-MariaDB-0+deb12u1"), (10, 11, 6));
        assert_eq!(numbers("5.5.5-10.6.12-MariaDB"), (10, 6, 12));
        assert!(numbers("5.7.44") < OLDEST_MYSQL && numbers("8.4.0") > OLDEST_MYSQL);
        assert!(numbers("10.5.23-MariaDB") < OLDEST_MARIADB && numbers("11.4.2-MariaDB") > OLDEST_MARIADB);
    }
}
