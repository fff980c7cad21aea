//! Statements on the rows of control planes, in the table `replicas`, and the one that reads the log together with the
//! caller's own row.

use sqlx::Error;

use super::connect::Opened;
use super::driver::{Row, Value, values};
use super::history::random;
use super::log_rows::{keys_seq, logged, present};
use super::reader::Reader;
use super::trusted::{Trusted, trusted};
use crate::log::{Beat, ControlPlaneId, ControlPlaneRow, ControlPlanes, Epoch, LogPage, LogPosition};

/// One statement, hence one snapshot: the head, the rows and the caller's own row are from the same moment. Two
/// statements would be wrong, see [`curfew_core::wire::FeedAnswer`].
const LOG_PAGE: Trusted = trusted!(
    "own.beat, entry.place, entry.kind, entry.\"key\", entry.cutoff, entry.expires_at",
    "LEFT JOIN replicas AS own ON own.id = $1
     LEFT JOIN (
       SELECT seq AS place, kind, \"key\", cutoff, expires_at
         FROM revocations WHERE seq > $2 ORDER BY seq LIMIT $3) AS entry ON 1 = 1
      ORDER BY entry.place"
);

const ROWS: Trusted = trusted!(
    "replica.id, replica.beat, replica.confirmed_epoch, replica.confirmed_seq",
    "LEFT JOIN replicas AS replica ON 1 = 1"
);

impl Reader {
    /// The head, at most `limit` entries after the seq `after`, and the beat in the caller's own row.
    pub(crate) async fn log_page(&self, own: ControlPlaneId, after: u64, limit: usize) -> Result<LogPage, Error> {
        // One row more than asked for shows whether there are more.
        let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let (head, rows) = self.trusted(&LOG_PAGE, values![own.as_bytes(), after, most]).await?;
        let mut entries = present(rows.iter().map(logged))?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let first = rows.first().ok_or(Error::RowNotFound)?;
        Ok(LogPage { head, keys_seq: keys_seq(first)?, own_beat: first.optional_count("beat")?, entries, more })
    }

    /// All rows.
    pub(crate) async fn control_planes(&self) -> Result<ControlPlanes, Error> {
        let (head, rows) = self.trusted(&ROWS, values![]).await?;
        Ok(ControlPlanes { head, rows: present(rows.iter().map(control_plane))? })
    }
}

/// The row's control plane; `None` if the join found none.
fn control_plane(row: &Row) -> Result<Option<ControlPlaneRow>, Error> {
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

/// The beat is assigned last, because the assignments before it still compare with the stored beat.
const WRITE_IN_MYSQL: &str = "\
INSERT INTO replicas (id, beat, confirmed_epoch, confirmed_seq) VALUES ($1, $2, $3, $4)
    ON DUPLICATE KEY UPDATE confirmed_epoch = IF(beat < VALUES(beat), VALUES(confirmed_epoch), confirmed_epoch),
                            confirmed_seq = IF(beat < VALUES(beat), VALUES(confirmed_seq), confirmed_seq),
                            beat = GREATEST(beat, VALUES(beat))";

impl Opened {
    /// Inserts a row, or raises its beat and sets what is confirmed if a lower beat is stored.
    pub(crate) async fn write_row(&mut self, id: ControlPlaneId, beat: Beat) -> Result<(), Error> {
        let mut link = self.connection.link();
        let statement = link.choose(WRITE, WRITE, WRITE_IN_MYSQL);
        let epoch = beat.confirmed.map(|head| *head.epoch.as_bytes());
        let epoch = Value::Bytes(epoch.as_ref().map(<[u8; 16]>::as_slice));
        let seq = beat.confirmed.map(|head| head.seq);
        link.execute(statement, values![id.as_bytes(), beat.beat, epoch, seq]).await.map(drop)
    }

    /// Turns a row into one that belongs to no control plane, if its beat is still this one. One statement does it, so no
    /// reading shows neither of the two rows.
    pub(crate) async fn replace_row(&mut self, id: ControlPlaneId, beat: u64) -> Result<(), Error> {
        const REPLACE: &str = "UPDATE replicas SET id = $1, beat = $2, confirmed_epoch = NULL, confirmed_seq = NULL \
            WHERE id = $3 AND beat = $4";
        let nobody = random()?;
        let values = values![&nobody, ControlPlaneRow::NOBODY, id.as_bytes(), beat];
        self.connection.link().execute(REPLACE, values).await.map(drop)
    }

    /// Removes a row, if its beat is still this one.
    pub(crate) async fn remove_row(&mut self, id: ControlPlaneId, beat: u64) -> Result<(), Error> {
        const REMOVE: &str = "DELETE FROM replicas WHERE id = $1 AND beat = $2";
        self.connection.link().execute(REMOVE, values![id.as_bytes(), beat]).await.map(drop)
    }
}
