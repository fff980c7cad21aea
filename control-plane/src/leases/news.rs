//! The newest head of the log that this control plane has heard of. It is a hint that there is news to read; no lease is granted
//! from it.

use std::time::Duration;

use curfew_core::wire::FeedRequest;
use tokio::sync::watch;

use crate::log::LogPosition;

/// The newest head that is known from this control plane's reads and commits, and the newest one that others report.
pub(super) struct News {
    known: watch::Sender<Option<Known>>,
    hinted: watch::Sender<Option<LogPosition>>,
}

/// A head, and the time since which readings show it.
#[derive(Debug, Clone, Copy)]
struct Known {
    head: LogPosition,
    since: Duration,
}

impl Default for News {
    fn default() -> Self {
        Self { known: watch::Sender::new(None), hinted: watch::Sender::new(None) }
    }
}

impl News {
    /// Records a head. Readings that begin at or after `since` show it.
    pub(super) fn hear(&self, head: LogPosition, since: Duration) {
        self.known.send_if_modified(|known| {
            let news = !known.is_some_and(|known| known.head.covers(head));
            if news {
                *known = Some(Known { head, since });
            }
            news
        });
    }

    /// The newest head that a commit or a reading has shown.
    pub(super) fn head(&self) -> Option<LogPosition> {
        self.known.borrow().map(|known| known.head)
    }

    /// Returns when there is news for the worker that polls, or when no head is known at all.
    pub(super) async fn for_worker(&self, request: &FeedRequest) {
        let mut known = self.known.subscribe();
        let _ = known.wait_for(|known| known.is_none_or(|known| is_news(request, known.head))).await;
    }

    /// If there is news for the worker, the time since which readings show it.
    pub(super) fn shown_since(&self, request: &FeedRequest) -> Option<Duration> {
        self.known.borrow().filter(|known| is_news(request, known.head)).map(|known| known.since)
    }

    /// Records a head that another control plane reports. It is not believed before a reading shows it.
    pub(super) fn hint(&self, head: LogPosition) {
        self.hinted.send_replace(Some(head));
    }

    /// The heads that other control planes report.
    pub(super) fn hints(&self) -> watch::Receiver<Option<LogPosition>> {
        self.hinted.subscribe()
    }
}

/// True if the worker does not hold everything up to this head.
fn is_news(request: &FeedRequest, head: LogPosition) -> bool {
    request.epoch != Some(head.epoch) || head.seq > request.applied
}
