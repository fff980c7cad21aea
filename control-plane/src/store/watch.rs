//! Checks every second, and whenever reads were stopped, whether the database is still the same one.
//!
//! Each read, each transaction and each new connection checks this, too. The watch is for times without requests, for
//! questions that are too costly for each read, and for the recovery: it makes the writer take over another history.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Store;
use super::outage::Line;
use super::sql::{HistoryProbe, Opened};
use super::trust::Distrust;

/// The interval between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long one look may take.
const LIMIT: Duration = Duration::from_secs(4);

/// Looks until it is told to stop.
pub async fn run(store: &Store, stop: CancellationToken) {
    // It looks at once, too: the first reader then finds an open connection, and further looks keep one open.
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

/// Looks once. A database that does not answer may still be the same one, so this is no reason to stop reads.
pub async fn look(store: &Store) {
    let trust = &store.health.trust;
    let (began, falls) = (Instant::now(), trust.falls());
    let judged = judged(store).await;
    tell(store, judged.as_ref().err(), began);
    match judged {
        Err(_) => {}
        Ok(Ok(())) => {
            if trust.lift(falls) && trust.was_told() {
                info!("the database is read again");
            }
            if store.health.unwritable.load(Ordering::Relaxed) {
                // This finds out whether the database takes writes again, before the next logout depends on it.
                let _ = store.writer.look().await;
            }
        }
        Ok(Err(distrust)) => {
            store.reader.discard();
            trust.fence(distrust);
            if store.writer.look().await.is_err() {
                return;
            }
            let falls = trust.falls();
            if matches!(self::judged(store).await, Ok(Ok(()))) && trust.lift(falls) && trust.was_told() {
                info!("the database's history was taken over, and it is read again");
            }
        }
    }
}

/// Tells operators whether the database answers: in the metrics, and in the log if that has changed.
fn tell(store: &Store, failed: Option<&Error>, began: Instant) {
    let (now, health) = (Instant::now(), &store.health);
    health.counters.database_looked(failed.is_none().then(|| now.saturating_duration_since(began)));
    match health.outage.looked(failed, now) {
        None => {}
        Some(Line::Lost { cause }) => {
            error!(
                cause,
                "the database does not answer: logouts get 503, and requests with tokens do when leases are over"
            );
        }
        Some(Line::Back { after, failures }) => {
            info!(seconds = after.as_secs(), failures, "the database answers again");
        }
        Some(Line::Slow { cause, failures }) => {
            warn!(cause, failures, "the database did not answer everything in time: some calls got 503");
        }
    }
}

async fn judged(store: &Store) -> Result<Result<(), Distrust>, Error> {
    let late = |_| Err(Error::PoolTimedOut);
    tokio::time::timeout(LIMIT, ask(store)).await.unwrap_or_else(late)
}

/// Asks over a reader's connection, or over a new one: if the pool refuses all connections because of their database,
/// the pool has no connection to ask over.
async fn ask(store: &Store) -> Result<Result<(), Distrust>, Error> {
    let (database, seen) = (store.reader.database(), store.health.trust.seen());
    // While nothing is believed, the pool makes no connection, and it goes on trying for seconds.
    let pooled = async {
        match store.health.trust.is_fenced() {
            true => None,
            false => store.reader.acquire().await.ok(),
        }
    };
    let pooled = tokio::select! {
        pooled = pooled => pooled,
        () = store.health.trust.alarmed() => None,
    };
    let found = match pooled {
        Some(mut connection) => {
            let found = HistoryProbe::find(database, &mut connection.link()?).await;
            connection.answered(&found);
            found
        }
        None => HistoryProbe::find(database, &mut Opened::writer(database).await?.connection.link()).await,
    };
    let (_, history) = found?;
    Ok(store.health.trust.weigh(&seen, &history))
}
