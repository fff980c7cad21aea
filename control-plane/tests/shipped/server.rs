//! The database servers. A statement takes no time here; `store` decides how long it is under way. There is one present
//! server. One that it has replaced may go on answering for a while.

use std::collections::BTreeMap;

use curfew_control_plane::log::{Beat, ControlPlaneId, ControlPlaneRow, ControlPlanes, LogPage, LogPosition, Logged};
use curfew_core::{Epoch, Kind, RevocationKey};

#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) head: LogPosition,
    /// False until a control plane has given the history of this server a name of its own.
    pub(crate) is_named: bool,
    entries: BTreeMap<u64, Logged>,
    rows: BTreeMap<ControlPlaneId, ControlPlaneRow>,
}

impl Server {
    pub(crate) fn new(epoch: Epoch) -> Self {
        let head = LogPosition { epoch, seq: 0 };
        Self { head, is_named: true, entries: BTreeMap::new(), rows: BTreeMap::new() }
    }

    /// A standby that has the log up to `seq`, and some of the rows.
    pub(crate) fn copy(&self, seq: u64, mut lacks: impl FnMut() -> bool) -> Self {
        let mut copy = Self { is_named: false, ..self.clone() };
        copy.head.seq = seq;
        copy.entries.retain(|entry, _| *entry <= seq);
        copy.rows.retain(|_, _| !lacks());
        copy
    }

    /// A control plane takes the history over: a new epoch, and a row that stands for all that may be missing.
    pub(crate) fn name(&mut self, epoch: Epoch, nobody: Option<ControlPlaneId>) {
        self.head.epoch = epoch;
        self.is_named = true;
        self.rows.extend(nobody.map(|id| (id, ControlPlaneRow::nobody(id))));
    }

    pub(crate) fn page(&self, own: ControlPlaneId, after: u64, limit: usize) -> LogPage {
        let mut entries: Vec<_> = self.entries.range(after + 1..).map(|(_, entry)| *entry).take(limit + 1).collect();
        let more = entries.len() > limit;
        entries.truncate(limit);
        let own_beat = self.rows.get(&own).map(|row| row.beat);
        LogPage { head: self.head, keys_seq: 0, own_beat, entries, more }
    }

    pub(crate) fn planes(&self) -> ControlPlanes {
        ControlPlanes { head: self.head, rows: self.rows.values().copied().collect() }
    }

    /// The entry of this key; a token that was logged out before keeps its own.
    pub(crate) fn revoke(&mut self, key: RevocationKey) -> u64 {
        if let Some(known) = self.entries.values().find(|entry| entry.key == key) {
            return known.seq;
        }
        self.head.seq += 1;
        let (seq, kind, cutoff, expires_at) = (self.head.seq, Kind::Token, 1_700_000_000, 1_900_000_000);
        self.entries.insert(seq, Logged { seq, kind, key, cutoff, expires_at });
        seq
    }

    pub(crate) fn write_row(&mut self, id: ControlPlaneId, beat: Beat) {
        let row = ControlPlaneRow { id, beat: beat.beat, confirmed: beat.confirmed };
        let stored = self.rows.entry(id).or_insert(row);
        if stored.beat < row.beat {
            *stored = row;
        }
    }

    /// Turns a row into one of nobody.
    pub(crate) fn replace_row(&mut self, id: ControlPlaneId, beat: u64, nobody: ControlPlaneId) {
        if self.remove_row(id, beat) {
            self.rows.insert(nobody, ControlPlaneRow::nobody(nobody));
        }
    }

    /// True if there was such a row.
    pub(crate) fn remove_row(&mut self, id: ControlPlaneId, beat: u64) -> bool {
        let is = self.rows.get(&id).is_some_and(|row| row.beat == beat);
        is && self.rows.remove(&id).is_some()
    }

    /// For a mutant.
    pub(crate) fn forget_rows(&mut self) {
        self.rows.clear();
    }
}
