//! What one control plane's store believes of its database. The shipped store has this in `store/trust` and `store/watch`,
//! which have worlds of their own; here is as much of it as the room `leases` relies on.

use curfew_control_plane::log::{Epoch, LogPosition};
use tokio::sync::watch;

/// What has been seen so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    newest: Option<LogPosition>,
    ended: Vec<Epoch>,
}

#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) seen: Seen,
    pub(crate) fenced: bool,
    pub(crate) distrusts: watch::Sender<u64>,
}

impl Trust {
    pub(crate) fn new() -> Self {
        Self { seen: Seen::default(), fenced: false, distrusts: watch::Sender::new(0) }
    }

    /// Whether a statement's answer is believed, which was asked when this much had been seen.
    pub(crate) fn believes(before: &Seen, head: LogPosition, is_named: bool) -> bool {
        let shorter = |newest: LogPosition| newest.epoch == head.epoch && newest.seq > head.seq;
        is_named && !before.newest.is_some_and(shorter) && !before.ended.contains(&head.epoch)
    }

    pub(crate) fn observe(&mut self, before: &Seen, head: LogPosition) {
        match self.seen.newest {
            Some(newest) if newest.epoch == head.epoch && newest.seq >= head.seq => {}
            Some(other)
                if other.epoch != head.epoch && before.newest.is_none_or(|before| before.epoch != other.epoch) => {}
            other => {
                self.seen.ended.extend(other.filter(|other| other.epoch != head.epoch).map(|other| other.epoch));
                self.seen.newest = Some(head);
            }
        }
    }

    /// True if this is news.
    pub(crate) fn fence(&mut self, untold: bool) -> bool {
        let news = !std::mem::replace(&mut self.fenced, true);
        if news && !untold {
            self.distrusts.send_modify(|count| *count += 1);
        }
        news
    }
}
