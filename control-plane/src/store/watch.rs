//! Looks every second, and whenever somebody has noticed something, whether the database is still the one that it was.
//!
//! Each read, each transaction and each new connection looks, too. This is for the time in which nobody asks, for what is
//! too costly to ask each time, and for the way back: it has the writer take another history over.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Error;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Store;
use super::sql::{HistoryProbe, Opened};
use super::trust::Distrust;

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long one look may take.
const LIMIT: Duration = Duration::from_secs(4);

/// Looks until it is told to stop.
pub async fn run(store: &Store, stop: CancellationToken) {
    // At once, too: the first reader finds a connection that is made, and the looks keep one.
    look(store).await;
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = store.health.trust.alarmed() => {}
            () = stop.cancelled() => return,
        }
        look(store).await;
    }
}

/// Looks once. A database that does not answer is no other database: its readers find out by themselves.
pub async fn look(store: &Store) {
    let trust = &store.health.trust;
    match judged(store).await {
        Err(_) => {}
        Ok(Ok(())) => {
            if trust.lift() {
                info!("the database is read again");
            }
            if store.health.unwritable.load(Ordering::Relaxed) {
                // Whether it can be written again is not left to the next logout to find out.
                let _ = store.writer.look().await;
            }
        }
        Ok(Err(distrust)) => {
            store.reads.discard();
            trust.fence(distrust);
            if store.writer.look().await.is_ok() && matches!(judged(store).await, Ok(Ok(()))) {
                trust.lift();
                info!("the database's history was taken over, and it is read again");
            }
        }
    }
}

async fn judged(store: &Store) -> Result<Result<(), Distrust>, Error> {
    let late = |_| Err(Error::PoolTimedOut);
    tokio::time::timeout(LIMIT, ask(store)).await.unwrap_or_else(late)
}

/// Asked over a reader's connection, or over a new one: a pool whose connections are all refused because of what they
/// lead to has none to ask over.
async fn ask(store: &Store) -> Result<Result<(), Distrust>, Error> {
    let (database, seen) = (store.reads.database(), store.health.trust.seen());
    let found = match store.reads.acquire().await {
        Ok(mut lent) => {
            let found = HistoryProbe::find(database, &mut lent.link()?).await;
            lent.answered(&found);
            found
        }
        Err(_) => HistoryProbe::find(database, &mut Opened::writer(database).await?.connection.link()).await,
    };
    let (_, history) = found?;
    let judged = history.judge(&seen);
    if judged.is_ok() {
        store.health.trust.observe(&seen, history.head);
    }
    Ok(judged)
}
