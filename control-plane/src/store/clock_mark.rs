//! The mark of certain time: read at a start, and set by an operator. The purge moves it. See [`crate::clock`].

use super::Database;
use super::settings::Settings;
use super::sql::{Batch, Opened};
use super::start::{OpenFailure, refuse_without_log};
use crate::clock::{Clock, ClockMark};
use crate::log::retention::Retention;

/// The mark is the same under all settings.
fn no_settings() -> Settings {
    Settings { retention: Retention { clock_skew: 0, max_token_ttl: 0, audit: 0 }, rules: vec![] }
}

/// Lets the clock reckon from the mark of a migrated database.
///
/// # Errors
///
/// See [`OpenFailure`].
pub async fn reckon(database: &Database, clock: &Clock) -> Result<(), OpenFailure> {
    let (settings, mut opened) = (no_settings(), Opened::at_start(database).await?);
    let mut batch = Batch::begin(&mut opened, clock.moment(), &settings, None).await?;
    let learnt = (batch.first_clock_mark().await?, batch.clocks().1);
    batch.move_head().await?;
    batch.commit().await?;
    opened.connection.close().await?;
    clock.learn(learnt);
    Ok(())
}

/// Sets the mark to the present time, because an operator says that the clock is right; returns the earlier mark and the
/// new one. If the database's server has a clock, the one that is behind counts.
///
/// # Errors
///
/// See [`OpenFailure`].
pub async fn accept_clock(
    database: &Database,
    clock: &Clock,
) -> Result<(Option<ClockMark>, Option<ClockMark>), OpenFailure> {
    refuse_without_log(database).await?;
    let (settings, mut opened) = (no_settings(), Opened::at_start(database).await?);
    let mut batch = Batch::begin(&mut opened, clock.moment(), &settings, None).await?;
    let marks = batch.accept_clock().await?;
    batch.move_head().await?;
    batch.commit().await?;
    opened.connection.close().await?;
    Ok(marks)
}
