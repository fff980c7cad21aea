//! The time by which rows count as expired.

use sqlx::Error;
use tracing::warn;

use super::driver::{Link, values};
use crate::clock::Moment;
use crate::log::retention::MARGIN_SECONDS;

/// The time by the clock that is furthest behind: the wall clock, the wall clock as if it had not been set since the
/// start, the time reckoned from the mark, and the database's clock. By a clock that has jumped ahead, a valid token would
/// count as long expired.
pub(crate) async fn surely_past(link: &mut Link<'_>, moment: Moment) -> Result<i64, Error> {
    let server = server_clock(link).await?;
    Ok(earliest(moment, server))
}

/// What the server's clock shows. SQLite has none.
pub(super) async fn server_clock(link: &mut Link<'_>) -> Result<Option<i64>, Error> {
    const POSTGRES: &str = "SELECT CAST(floor(extract(epoch FROM clock_timestamp())) AS bigint) AS now";
    const MYSQL: &str = "SELECT UNIX_TIMESTAMP() AS now";
    let Some(statement) = link.choose(None, Some(POSTGRES), Some(MYSQL)) else { return Ok(None) };
    Ok(Some(link.fetch_one(statement, values![]).await?.integer("now")?))
}

/// The time by the clock that is furthest behind.
pub(super) fn earliest(moment: Moment, server: Option<i64>) -> i64 {
    let Moment { now, steady: Some(steady), .. } = moment else { return moment.now };
    let server = server.unwrap_or(now);
    if now.max(server).max(steady).saturating_sub(now.min(steady).min(server)) > MARGIN_SECONDS {
        warn!(now, steady, server, "clocks differ: only what has expired by all of them is taken for expired");
    }
    moment.earliest().min(server)
}
