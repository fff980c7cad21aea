//! Statements on `replicas`, and the one that shows the log together with the asker's own row.

use sqlx::Error;

use super::connect::Opened;
use super::read::{logged, present};
use super::reads::Reads;
use super::row::Row;
use super::trusted::{Trusted, trusted};
use super::value::{Value, values};
use crate::log::{Beat, ControlPlaneId, ControlPlaneRow, ControlPlanes, Epoch, LogPage, LogPosition};

/// One statement, hence one snapshot: the head, the rows and the asker's own row belong to the same moment. Two would
/// be wrong, see [`curfew_core::wire::FeedAnswer`].
const LOG_PAGE: Trusted = trusted!(
    "own.beat, entry.place, entry.kind, entry.\"key\", entry.cutoff, entry.expires_at",
    "LEFT JOIN replicas AS own ON own.id = $1
     LEFT JOIN (
       SELECT seq AS place, kind, \"key\", cutoff, expires_at
         FROM revocations WHERE seq > $2 ORDER BY seq LIMIT $3) AS entry ON 1 = 1
      ORDER BY entry.place"
);

const REPLICAS: Trusted = trusted!(
    "replica.id, replica.beat, replica.confirmed_epoch, replica.confirmed_seq",
    "LEFT JOIN replicas AS replica ON 1 = 1"
);

impl Reads {
    /// The head, what follows `after` in the log, `limit` rows at most, and the number in the asker's own row.
    pub(crate) async fn log_page(&self, asker: ControlPlaneId, after: u64, limit: usize) -> Result<LogPage, Error> {
        // One more than asked for shows whether there are more.
        let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let (head, rows) = self.trusted(&LOG_PAGE, values![asker.as_bytes(), after, most]).await?;
        let mut entries = present(rows.iter().map(logged))?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let own_beat = rows.first().map(|row| row.optional_count("beat")).transpose()?.flatten();
        Ok(LogPage { head, own_beat, entries, more })
    }

    /// All rows.
    pub(crate) async fn control_planes(&self) -> Result<ControlPlanes, Error> {
        let (head, rows) = self.trusted(&REPLICAS, values![]).await?;
        Ok(ControlPlanes { head, rows: present(rows.iter().map(replica))? })
    }
}

/// The row's control plane; none where the join found none.
fn replica(row: &Row) -> Result<Option<ControlPlaneRow>, Error> {
    let Some(beat) = row.optional_count("beat")? else { return Ok(None) };
    let confirmed = match row.optional_count("confirmed_seq")? {
        None => None,
        Some(seq) => Some(LogPosition { epoch: Epoch::from_bytes(row.sixteen("confirmed_epoch")?), seq }),
    };
    let id = ControlPlaneId::from_bytes(row.sixteen("id")?);
    Ok(Some(ControlPlaneRow { id, beat, confirmed }))
}

const WRITE: &str = "\
INSERT INTO replicas (id, beat, confirmed_epoch, confirmed_seq) VALUES ($1, $2, $3, $4)
    ON CONFLICT (id) DO UPDATE SET beat = excluded.beat, confirmed_epoch = excluded.confirmed_epoch,
                                   confirmed_seq = excluded.confirmed_seq
 WHERE replicas.beat < excluded.beat";

/// The number last: what comes before still meets the stored one.
const WRITE_IN_MYSQL: &str = "\
INSERT INTO replicas (id, beat, confirmed_epoch, confirmed_seq) VALUES ($1, $2, $3, $4)
    ON DUPLICATE KEY UPDATE confirmed_epoch = IF(beat < VALUES(beat), VALUES(confirmed_epoch), confirmed_epoch),
                            confirmed_seq = IF(beat < VALUES(beat), VALUES(confirmed_seq), confirmed_seq),
                            beat = GREATEST(beat, VALUES(beat))";

impl Opened {
    /// Inserts a row, or raises its number and sets what is confirmed where a lower number is stored.
    pub(crate) async fn write_replica(&mut self, id: ControlPlaneId, beat: Beat) -> Result<(), Error> {
        let mut link = self.connection.link();
        let statement = link.choose(WRITE, WRITE, WRITE_IN_MYSQL);
        let epoch = beat.confirmed.map(|head| *head.epoch.as_bytes());
        let epoch = Value::Bytes(epoch.as_ref().map(<[u8; 16]>::as_slice));
        let seq = beat.confirmed.map(|head| head.seq);
        link.execute(statement, values![id.as_bytes(), beat.beat, epoch, seq]).await.map(drop)
    }

    /// Removes a row, if its number is still this one.
    pub(crate) async fn remove_replica(&mut self, id: ControlPlaneId, beat: u64) -> Result<(), Error> {
        const REMOVE: &str = "DELETE FROM replicas WHERE id = $1 AND beat = $2";
        self.connection.link().execute(REMOVE, values![id.as_bytes(), beat]).await.map(drop)
    }
}
