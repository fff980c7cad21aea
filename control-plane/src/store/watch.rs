//! Looks every second whether the database is still the one that it was.
//!
//! Each transaction looks, too, and each new connection. This is for the time in which nobody logs out: a read must not
//! be answered from a restored copy whose history nobody has taken over, nor from a server that is no primary any more.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{error, info};

use super::sql::{Link, Opened, Witness};
use super::{Database, Store};
use crate::stop::Stop;

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks until it is told to stop.
pub async fn run(store: &Store, mut stop: Stop) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = stop.requested() => return,
        }
        look(store).await;
    }
}

/// Looks once. A database that does not answer is no other database: its readers find out by themselves.
pub async fn look(store: &Store) {
    let Ok(trusted) = is_trusted(store).await else { return };
    let before = store.health.fenced.swap(!trusted, Ordering::Relaxed);
    match (before, trusted) {
        (false, false) => error!("the database is another one, a restored copy or no primary: nothing is read from it"),
        (true, true) => info!("the database is read again"),
        _ => {}
    }
    if !trusted && store.writer.look().await.is_ok() && is_trusted(store).await.unwrap_or(false) {
        store.health.fenced.store(false, Ordering::Relaxed);
        info!("the database's history was taken over, and it is read again");
    }
}

/// Asked over a reader's connection, or over a new one: a pool whose connections are all refused because of what they
/// lead to has none to ask over.
async fn is_trusted(store: &Store) -> Result<bool, sqlx::Error> {
    let database = store.reads.database();
    match store.reads.acquire().await {
        Ok(mut connection) => judge(database, &mut connection.link()).await,
        Err(_) => judge(database, &mut Opened::writer(database).await?.connection.link()).await,
    }
}

async fn judge(database: &Database, link: &mut Link<'_>) -> Result<bool, sqlx::Error> {
    if !Witness::is_primary(link).await? {
        return Ok(false);
    }
    let history = Witness::find(database, link).await?.history(link, false).await?;
    Ok(!history.known.contradicts(&history.seen))
}
