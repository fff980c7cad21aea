//! The mark of certain time: what is written to the table `clock_mark`. See [`crate::clock`].

use sqlx::Error;

use super::batch::Batch;
use super::clocks::{earliest, server_clock};
use super::driver::values;
use crate::clock::{ClockMark, Moment};

impl Batch<'_> {
    /// The mark; `None` before the first start.
    pub(crate) async fn clock_mark(&mut self) -> Result<Option<ClockMark>, Error> {
        let row = self.link.fetch_one("SELECT marked_at, accepted FROM clock_mark", values![]).await?;
        let accepted = row.integer("accepted")?;
        Ok(row.optional_integer("marked_at")?.map(|at| ClockMark { at, accepted }))
    }

    /// The mark. A database without one gets one: the time of its newest revocation, which was certain, or the present
    /// time if there is no revocation that could be purged too early.
    pub(crate) async fn first_clock_mark(&mut self) -> Result<Option<ClockMark>, Error> {
        const NEWEST: &str = "SELECT created_at FROM revocations ORDER BY seq DESC LIMIT 1";
        const SET: &str = "UPDATE clock_mark SET marked_at = $1 WHERE marked_at IS NULL";
        if let Some(mark) = self.clock_mark().await? {
            self.server = server_clock(&mut self.link).await?;
            return Ok(Some(mark));
        }
        let now = self.certain_time(self.moment).await?;
        let newest = self.link.fetch(NEWEST, values![]).await?;
        let certain = newest.first().map(|row| row.integer("created_at")).transpose()?;
        self.link.execute(SET, values![certain.map_or(now, |certain| certain.min(now))]).await?;
        self.clock_mark().await
    }

    /// Reads the mark, and returns the time by which something has surely expired: by every clock, and by the mark.
    pub(super) async fn surely_past_by_mark(&mut self) -> Result<i64, Error> {
        let mark = self.clock_mark().await?;
        let reckoned = match self.moment {
            // A start reads the mark. A process that has not done so knows of no time that has passed since.
            Moment { reckoned: None, steady: Some(_), .. } => mark.map(|mark| mark.at),
            moment => moment.reckoned,
        };
        self.certain_time(Moment { reckoned, ..self.moment }).await
    }

    async fn certain_time(&mut self, moment: Moment) -> Result<i64, Error> {
        self.server = server_clock(&mut self.link).await?;
        Ok(earliest(moment, self.server))
    }

    /// Moves the mark forward to a time that is certain, unless an operator has set it since this process has read it.
    pub(super) async fn move_clock_mark(&mut self, certain: i64) -> Result<(), Error> {
        const MOVE: &str = "UPDATE clock_mark SET marked_at = $1 \
            WHERE (marked_at IS NULL OR marked_at < $1) AND accepted = $2";
        self.link.execute(MOVE, values![certain, self.moment.accepted]).await?;
        self.mark = self.clock_mark().await?;
        Ok(())
    }

    /// Sets the mark to the time of the wall clock and the server's clock, because an operator says that they are right.
    pub(crate) async fn accept_clock(&mut self) -> Result<(Option<ClockMark>, Option<ClockMark>), Error> {
        const SET: &str = "UPDATE clock_mark SET marked_at = $1, accepted = accepted + 1";
        let before = self.clock_mark().await?;
        let now = self.certain_time(Moment { reckoned: None, ..self.moment }).await?;
        self.link.execute(SET, values![now]).await?;
        Ok((before, self.clock_mark().await?))
    }
}
