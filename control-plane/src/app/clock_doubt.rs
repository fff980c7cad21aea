//! Tells operators that the wall clock differs from the time that the database knows.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::{Clock, Doubt, Moment};

/// The interval between two looks.
const INTERVAL: Duration = Duration::from_secs(5);

/// A doubt that stays is told again after this many looks: once an hour.
const AGAIN: u32 = 720;

/// What is shown of the wall clock.
#[derive(Debug, Clone, Default)]
pub struct ClockDoubt {
    ahead: Gauge,
}

/// The doubt that was told last, and for how many looks.
#[derive(Debug, Default)]
struct Told(Option<(Doubt, u32)>);

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Doubted(Doubt),
    Settled,
}

impl Told {
    fn look(&mut self, doubt: Option<Doubt>) -> Option<News> {
        match (doubt, self.0) {
            (Some(doubt), Some((told, looks))) if doubt == told && looks < AGAIN => {
                self.0 = Some((doubt, looks.saturating_add(1)));
                None
            }
            (Some(doubt), _) => {
                self.0 = Some((doubt, 1));
                Some(News::Doubted(doubt))
            }
            (None, told) => {
                self.0 = None;
                told.map(|_| News::Settled)
            }
        }
    }
}

impl ClockDoubt {
    /// Adds the gauge to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "clock_ahead",
            "By how much the wall clock is ahead of the time that the database knows",
            Unit::Seconds,
            self.ahead.clone(),
        );
    }

    /// Looks until it is told to stop.
    pub async fn watch(&self, clock: &Clock, stop: CancellationToken) {
        let mut told = Told::default();
        loop {
            let moment = clock.moment();
            self.ahead.set(moment.ahead());
            if let Some(news) = told.look(moment.doubt()) {
                tell(news, moment);
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

fn tell(news: News, moment: Moment) {
    let (now, known, ahead) = (moment.now, moment.reckoned, moment.ahead());
    match news {
        News::Doubted(Doubt::Ahead) => warn!(
            now,
            known,
            ahead,
            "the wall clock is far ahead of the time that the database knows, and nothing that expired meanwhile is purged: \
             set the clock right, or call curfew clock accept"
        ),
        News::Doubted(Doubt::Behind) => warn!(
            now,
            known,
            ahead,
            "the wall clock is behind the time that the database knows, and logouts of all devices may get 503: set the clock \
             right, or call curfew clock accept"
        ),
        News::Settled => info!("the wall clock agrees with the time that the database knows"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_is_told_at_once_and_once_an_hour_and_its_end_is_told_too() {
        let mut told = Told::default();
        assert_eq!(told.look(None), None);
        assert_eq!(told.look(Some(Doubt::Ahead)), Some(News::Doubted(Doubt::Ahead)));
        for _ in 1..AGAIN {
            assert_eq!(told.look(Some(Doubt::Ahead)), None);
        }
        assert_eq!(told.look(Some(Doubt::Ahead)), Some(News::Doubted(Doubt::Ahead)));
        assert_eq!(told.look(Some(Doubt::Behind)), Some(News::Doubted(Doubt::Behind)));
        assert_eq!(told.look(None), Some(News::Settled));
        assert_eq!(told.look(None), None);
    }
}
