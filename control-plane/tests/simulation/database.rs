//! The database: the head row, the revocations, the registered tokens, the control planes' rows. Statements take no
//! time here; the world decides how long a statement is under way and whether its result comes back.

use std::collections::{BTreeMap, BTreeSet};

use curfew_control_plane::log::{Beat, ControlPlaneId, ControlPlaneRow, LogPosition};
use curfew_core::wire::{CheckRequest, CheckVerdict, FeedRevocation};
use curfew_core::{Coverage, Epoch, Kind, RevocationKey, TokenKeys, covers};

use crate::keys::{Change, Stored};

pub(crate) struct Database {
    pub(crate) head: LogPosition,
    revocations: Revocations,
    /// Tokens that were registered, and whether each was logged out.
    registered: BTreeMap<RevocationKey, bool>,
    pub(crate) keys: Stored,
    replicas: BTreeMap<ControlPlaneId, ControlPlaneRow>,
    /// All tokens that a committed revocation has ever covered.
    revoked: BTreeSet<RevocationKey>,
    /// The revocations that a crash has undone. A worker refuses by them until it knows of the crash.
    undone: Vec<FeedRevocation>,
    /// The latest commits, which may not be durable. The latest is the last.
    recent: Vec<Recent>,
    /// For mutants: the last seq that was taken before its commit.
    numbers: u64,
    /// The mark of certain time, in seconds of Unix time.
    pub(crate) mark: Option<i64>,
}

/// A commit that a crash may undo.
struct Recent {
    logout: usize,
    /// What was stored before it.
    seq: u64,
    revocations: Revocations,
    registered: BTreeMap<RevocationKey, bool>,
    keys: Stored,
}

/// One row for each key. A newer revocation replaces the older one under a new seq, and the later cutoff of the two stays.
type Revocations = BTreeMap<(u8, RevocationKey), (u64, FeedRevocation)>;

/// The number of commits that one crash may undo.
const RECENT: usize = 3;

/// The result of one statement.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) head: LogPosition,
    /// In the order of seq.
    pub(crate) rows: Vec<(u64, FeedRevocation)>,
    /// The newest change of keys.
    pub(crate) keys_seq: u64,
    pub(crate) own_beat: Option<u64>,
}

impl Snapshot {
    /// At most `page` rows after a seq, the last seq that they cover, and whether there are more.
    pub(crate) fn page(&self, from: u64, page: usize) -> (Vec<FeedRevocation>, u64, bool) {
        let after = self.rows.iter().filter(|(seq, _)| *seq > from);
        let rows: Vec<_> = after.clone().take(page).collect();
        let more = after.count() > rows.len();
        let to = if more { rows.last().map_or(from, |(seq, _)| *seq) } else { self.head.seq };
        (rows.into_iter().map(|(_, row)| *row).collect(), to, more)
    }
}

impl Database {
    pub(crate) fn new(epoch: Epoch, keys: Stored) -> Self {
        Self {
            head: LogPosition { epoch, seq: 0 },
            revocations: BTreeMap::new(),
            registered: BTreeMap::new(),
            keys,
            replicas: BTreeMap::new(),
            revoked: BTreeSet::new(),
            undone: Vec::new(),
            recent: Vec::new(),
            numbers: 0,
            mark: None,
        }
    }

    pub(crate) fn snapshot(&self, asker: ControlPlaneId) -> Snapshot {
        let mut rows: Vec<_> = self.revocations.values().copied().collect();
        rows.sort_unstable_by_key(|(seq, _)| *seq);
        let own_beat = self.replicas.get(&asker).map(|row| row.beat);
        Snapshot { head: self.head, rows, keys_seq: self.keys.seq, own_beat }
    }

    /// Makes revocations visible under consecutive seqs from `first` on, or after the head.
    pub(crate) fn commit(&mut self, revocations: &[FeedRevocation], first: Option<u64>) -> LogPosition {
        let first = first.unwrap_or(self.head.seq + 1);
        for (seq, revocation) in (first..).zip(revocations) {
            let row = (number(revocation.kind), revocation.key);
            let mut kept = *revocation;
            if let Some((_, earlier)) = self.revocations.get(&row) {
                kept.cutoff = kept.cutoff.max(earlier.cutoff);
                kept.expires_at = kept.expires_at.max(earlier.expires_at);
            }
            self.revocations.insert(row, (seq, kept));
            self.registered.entry(revocation.key).and_modify(|blocked| *blocked = true);
            self.head.seq = self.head.seq.max(seq);
        }
        self.head
    }

    /// Makes a change of keys visible under the next seq, if it changes anything.
    pub(crate) fn commit_change(&mut self, change: Change) -> LogPosition {
        if self.keys.change(change) {
            self.head.seq += 1;
            self.keys.seq = self.head.seq;
        }
        self.head
    }

    /// The keys as they were before this, because the history that goes on lacks a change.
    pub(crate) fn lose_change(&mut self, before: Stored) {
        self.keys = before;
    }

    /// Notes what is stored before the commit of a logout.
    pub(crate) fn before_commit_of(&mut self, logout: usize) {
        if self.recent.len() >= RECENT {
            self.recent.remove(0);
        }
        let (revocations, registered, keys) = (self.revocations.clone(), self.registered.clone(), self.keys.clone());
        self.recent.push(Recent { logout, seq: self.head.seq, revocations, registered, keys });
    }

    /// Undoes the latest commit, if `may_be_lost` says so about its logout, and returns that logout.
    pub(crate) fn lose_latest(&mut self, may_be_lost: impl FnOnce(usize) -> bool) -> Option<usize> {
        let Recent { logout, seq, revocations, registered, keys } =
            self.recent.pop_if(|last| may_be_lost(last.logout))?;
        self.head.seq = seq;
        let undone = self.revocations.values().filter(|(committed, _)| *committed > seq);
        self.undone.extend(undone.map(|(_, revocation)| *revocation));
        self.revocations = revocations;
        self.keys = keys;
        // What was registered since stays.
        self.registered.extend(registered);
        Some(logout)
    }

    /// The same log in a new epoch. A row whose id belongs to no control plane takes the place of rows that are lost.
    pub(crate) fn begin_epoch(&mut self, epoch: Epoch, nobody: ControlPlaneId) {
        self.head.epoch = epoch;
        self.recent.clear();
        self.replicas.insert(nobody, ControlPlaneRow { id: nobody, beat: 0, confirmed: None });
    }

    /// For mutants: reserves `count` seqs and returns the first.
    pub(crate) fn take_numbers(&mut self, count: usize) -> u64 {
        let first = self.numbers.max(self.head.seq) + 1;
        self.numbers = first + count as u64 - 1;
        first
    }

    /// Takes back revocations that should never have been visible.
    pub(crate) fn roll_back(&mut self, revocations: &[FeedRevocation], first: u64) {
        for (seq, revocation) in (first..).zip(revocations) {
            let row = (number(revocation.kind), revocation.key);
            if self.revocations.get(&row).is_some_and(|(stored, _)| *stored == seq) {
                self.revocations.remove(&row);
            }
        }
    }

    pub(crate) fn register(&mut self, token: RevocationKey) {
        self.registered.insert(token, false);
    }

    pub(crate) fn is_registered(&self, token: &RevocationKey) -> bool {
        self.registered.contains_key(token)
    }

    /// The verdict by the control plane's own rule, with the tie of the cutoff's second.
    pub(crate) fn verdict(&self, token: &CheckRequest) -> CheckVerdict {
        let keys = TokenKeys { token: token.token, jti: token.jti, session: token.session, subject: token.subject };
        match keys.coverage(token.issued_at, |kind, key| self.cutoff(kind, key)) {
            Coverage::Clear => CheckVerdict::Active,
            Coverage::SameSecond if self.registered.get(&token.token) == Some(&false) => CheckVerdict::Active,
            Coverage::SameSecond | Coverage::Revoked => CheckVerdict::Revoked,
        }
    }

    /// The cutoff of the row of this kind and key.
    pub(crate) fn cutoff(&self, kind: Kind, key: &RevocationKey) -> Option<i64> {
        self.revocations.get(&(number(kind), *key)).map(|(_, row)| row.cutoff)
    }

    pub(crate) fn note_revoked(&mut self, token: RevocationKey) {
        self.revoked.insert(token);
    }

    pub(crate) fn was_ever_revoked(&self, token: &CheckRequest) -> bool {
        let keys = TokenKeys { token: token.token, jti: token.jti, session: token.session, subject: token.subject };
        let undone = |kind: Kind, key: RevocationKey| {
            let mut rows = self.undone.iter().filter(|row| (row.kind, row.key) == (kind, key));
            rows.any(|row| covers(kind, row.cutoff, token.issued_at) != Coverage::Clear)
        };
        self.revoked.contains(&token.token)
            || self.verdict(token) == CheckVerdict::Revoked
            || keys.iter().chain(keys.subject.map(|key| (Kind::Others, key))).any(|(kind, key)| undone(kind, key))
    }

    /// Purges the revocations that have to be kept until `now` at most, and moves the mark there.
    pub(crate) fn purge(&mut self, kept_until: impl Fn(&FeedRevocation) -> i64, now: i64) {
        self.mark = self.mark.max(Some(now));
        self.revocations.retain(|_, (_, revocation)| kept_until(revocation) > now);
    }

    /// A standby takes over: the same revocations in a new epoch. It may lack rows of control planes. A row whose id
    /// belongs to no control plane takes the place of all missing rows.
    pub(crate) fn fail_over(&mut self, epoch: Epoch, lost: impl FnMut() -> bool, nobody: Option<ControlPlaneId>) {
        let mut lost = lost;
        self.replicas.retain(|_, _| !lost());
        self.replicas.extend(nobody.map(|id| (id, ControlPlaneRow::nobody(id))));
        let mut rows: Vec<_> = self.revocations.values().copied().collect();
        rows.sort_unstable_by_key(|(seq, _)| *seq);
        let numbered = (1..).zip(rows);
        self.revocations = numbered.map(|(seq, (_, row))| ((number(row.kind), row.key), (seq, row))).collect();
        self.keys.seq = self.keys.seq.min(1);
        self.head = LogPosition { epoch, seq: (self.revocations.len() as u64).max(self.keys.seq) };
        self.recent.clear();
    }

    /// A server that takes over may lack the last commits: here, the logout of a token whose caller has no answer yet.
    pub(crate) fn lose(&mut self, token: RevocationKey) {
        self.revocations.remove(&(number(Kind::Token), token));
        self.registered.entry(token).and_modify(|blocked| *blocked = false);
    }

    pub(crate) fn write_row(&mut self, id: ControlPlaneId, beat: Beat) {
        let row = ControlPlaneRow { id, beat: beat.beat, confirmed: beat.confirmed };
        let stored = self.replicas.entry(id).or_insert(row);
        if stored.beat < row.beat {
            *stored = row;
        }
    }

    pub(crate) fn replace_row(&mut self, id: ControlPlaneId, beat: u64, nobody: ControlPlaneId) {
        if self.replicas.get(&id).is_some_and(|row| row.beat == beat) {
            self.replicas.remove(&id);
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

const fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Token => 0,
        Kind::Jti => 1,
        Kind::Session => 2,
        Kind::Subject => 3,
        Kind::Others => 4,
        Kind::Spared => 5,
    }
}
