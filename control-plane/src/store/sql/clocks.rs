//! The time by which rows count as expired.

use sqlx::Error;
use tracing::warn;

use super::driver::{Link, values};
use crate::clock::Moment;
use crate::log::retention::MARGIN_SECONDS;

/// The time by the clock that is furthest behind: the wall clock, the wall clock as if it had not been set since the
/// start, and the database's clock. By a clock that has jumped ahead, a valid token would count as long expired.
pub(crate) async fn surely_past(link: &mut Link<'_>, moment: Moment) -> Result<i64, Error> {
    const POSTGRES: &str = "SELECT CAST(floor(extract(epoch FROM clock_timestamp())) AS bigint) AS now";
    const MYSQL: &str = "SELECT UNIX_TIMESTAMP() AS now";
    let Moment { now, steady: Some(steady) } = moment else { return Ok(moment.now) };
    let server = match link.choose(None, Some(POSTGRES), Some(MYSQL)) {
        Some(statement) => link.fetch_one(statement, values![]).await?.integer("now")?,
        // SQLite has no clock of its own.
        None => now,
    };
    let earliest = now.min(steady).min(server);
    if now.max(server).max(steady).saturating_sub(earliest) > MARGIN_SECONDS {
        warn!(now, steady, server, "clocks differ: only what has expired by all of them is taken for expired");
    }
    Ok(earliest)
}
