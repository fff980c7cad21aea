//! The part of the database that the promise depends on: the head row, the revocations, the control planes' rows.

use std::collections::{BTreeMap, BTreeSet};

use curfew_control_plane::log::{Beat, ControlPlaneId, ControlPlaneRow, LogPosition};
use curfew_core::Epoch;

use crate::scene::Token;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    epoch: u8,
    seq: u64,
    /// One row for each token. A newer revocation replaces the older one under a new seq.
    revoked: BTreeMap<Token, u64>,
    keys: Keys,
    replicas: BTreeMap<ControlPlaneId, ControlPlaneRow>,
}

/// The keys that are handed out, as far as they differ from those at the beginning: each token was proven by a key of
/// its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Keys {
    /// The newest change; 0 for none.
    pub(crate) seq: u64,
    removed: BTreeSet<Token>,
}

impl Keys {
    /// True if the key that proved the token is there.
    pub(crate) fn prove(&self, token: Token) -> bool {
        !self.removed.contains(&token)
    }
}

/// The result of one statement: the head, all rows in the order of seq, and the row of the control plane that asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Snapshot {
    pub(crate) head: LogPosition,
    pub(crate) revoked: Vec<(u64, Token)>,
    /// The newest change of keys.
    pub(crate) keys_seq: u64,
    pub(crate) own_beat: Option<u64>,
}

impl Snapshot {
    /// At most `page` rows after a seq, the last seq that they cover, and whether there are more.
    pub(crate) fn page(&self, from: u64, page: usize) -> (Vec<Token>, u64, bool) {
        let after: Vec<_> = self.revoked.iter().filter(|(seq, _)| *seq > from).collect();
        let rows = after.get(..page.min(after.len())).unwrap_or_default();
        let left = after.len() > rows.len();
        let to = if left { rows.last().map_or(from, |(seq, _)| *seq) } else { self.head.seq };
        (rows.iter().map(|(_, token)| *token).collect(), to, left)
    }
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { epoch: 1, seq: 0, revoked: BTreeMap::new(), keys: Keys::default(), replicas: BTreeMap::new() }
    }

    pub(crate) fn head(&self) -> LogPosition {
        LogPosition { epoch: Epoch::from_bytes([self.epoch; 16]), seq: self.seq }
    }

    /// Takes the next seq, which is not visible yet.
    pub(crate) fn next_seq(&self) -> u64 {
        self.seq + 1
    }

    /// Makes a revocation visible under its seq.
    pub(crate) fn commit(&mut self, token: Token, seq: u64) -> LogPosition {
        self.revoked.insert(token, seq);
        self.seq = self.seq.max(seq);
        self.head()
    }

    /// Makes the removal of the key that proved a token visible under its seq.
    pub(crate) fn commit_removal(&mut self, token: Token, seq: u64) -> LogPosition {
        self.keys.removed.insert(token);
        self.keys.seq = self.keys.seq.max(seq);
        self.seq = self.seq.max(seq);
        self.head()
    }

    /// The keys, and the history that their seq counts in.
    pub(crate) fn keys(&self) -> (Epoch, Keys) {
        (self.head().epoch, self.keys.clone())
    }

    pub(crate) fn is_revoked(&self, token: Token) -> bool {
        self.revoked.contains_key(&token)
    }

    pub(crate) fn snapshot(&self, asker: ControlPlaneId) -> Snapshot {
        let mut revoked: Vec<_> = self.revoked.iter().map(|(token, seq)| (*seq, *token)).collect();
        revoked.sort_unstable();
        Snapshot {
            head: self.head(),
            revoked,
            keys_seq: self.keys.seq,
            own_beat: self.replicas.get(&asker).map(|row| row.beat),
        }
    }

    /// The same revocations under another history.
    pub(crate) fn restore(&mut self) {
        self.epoch += 1;
        let mut revoked: Vec<_> = self.revoked.iter().map(|(token, seq)| (*seq, *token)).collect();
        revoked.sort_unstable();
        self.revoked = (1..).zip(revoked).map(|(seq, (_, token))| (token, seq)).collect();
        self.keys.seq = self.keys.seq.min(1);
        self.seq = (self.revoked.len() as u64).max(self.keys.seq);
    }

    pub(crate) fn purge(&mut self, token: Token) {
        self.revoked.remove(&token);
    }

    pub(crate) fn write_row(&mut self, id: ControlPlaneId, beat: Beat) {
        let row = ControlPlaneRow { id, beat: beat.beat, confirmed: beat.confirmed };
        let stored = self.replicas.entry(id).or_insert(row);
        if stored.beat < row.beat {
            *stored = row;
        }
    }

    pub(crate) fn replace_row(&mut self, id: ControlPlaneId, beat: u64) {
        if self.replicas.get(&id).is_some_and(|row| row.beat == beat) {
            self.replicas.remove(&id);
            let another = u8::try_from(beat % 100).unwrap_or(0);
            let nobody = ControlPlaneId::from_bytes(id.as_bytes().map(|byte| !byte ^ another));
            self.replicas.insert(nobody, ControlPlaneRow::nobody(nobody));
        }
    }

    pub(crate) fn remove_row(&mut self, id: ControlPlaneId, beat: u64) {
        if self.replicas.get(&id).is_some_and(|row| row.beat == beat) {
            self.replicas.remove(&id);
        }
    }

    pub(crate) fn rows(&self) -> Vec<ControlPlaneRow> {
        self.replicas.values().copied().collect()
    }
}
