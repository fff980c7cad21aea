//! Other clients of a PostgreSQL, which hold every connection that the server has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Error, Executor as _};

/// How long it may take until no connection is free.
const FULL_LIMIT: Duration = Duration::from_secs(20);

/// Ends all sessions but those of the crowd.
const SEND_AWAY: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
    WHERE backend_type = 'client backend' AND application_name <> 'crowd'";

/// Holds connections until it disperses.
#[derive(Debug)]
pub(super) struct Crowd {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Crowd {
    /// Takes every free connection, ends the sessions of all other clients, and takes the connections that become free,
    /// again and again. Returns once the server has refused one.
    pub(super) fn gather(url: &str) -> Result<Self> {
        let (over, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let url = format!("{url}?application_name=crowd");
        let (ends, counts) = (over.clone(), refused.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(crowd(&url, &ends, &counts))
        });
        let crowd = Self { over, thread: Some(thread) };
        let began = Instant::now();
        while refused.load(Ordering::Relaxed) < 2 {
            ensure!(began.elapsed() < FULL_LIMIT, "the server still has connections");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(crowd)
    }

    /// Gives all connections back.
    pub(super) fn disperse(mut self) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or_else(|| anyhow!("the crowd disperses once"))?;
        thread.join().map_err(|_| anyhow!("the crowd panicked"))?
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

async fn crowd(url: &str, over: &AtomicBool, refused: &AtomicUsize) -> Result<()> {
    let mut held = vec![PgConnection::connect(url).await?];
    while !over.load(Ordering::Relaxed) {
        match PgConnection::connect(url).await {
            Ok(connection) => held.push(connection),
            Err(Error::Database(error)) if error.code().as_deref() == Some("53300") => {
                refused.fetch_add(1, Ordering::Relaxed);
                if let Some(first) = held.first_mut() {
                    first.execute(SEND_AWAY).await?;
                }
                // Short enough that other clients do not get back in, and no busy loop.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    for connection in held {
        connection.close().await?;
    }
    Ok(())
}
