//! The commits of a bare database when each logout is a transaction of its own: the statements of Curfew's writer, from
//! as many connections as there are clients, and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use curfew_testbed::tokens::sha256;
use sqlx::{AnyConnection, Connection as _, Row as _};
use tokio::runtime::{Builder, Runtime};

use super::load::{Client, Load, run as run_load};
use super::place::{Place, Program};

/// The settings of Curfew's own connections to a file: a commit is on the disk, and writers wait for each other.
const SQLITE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 60000";

const EVIDENCE: &str = "SELECT head.epoch, head.seq, entry.kind, entry.\"key\", entry.cutoff, \
    (SELECT is_block FROM user_token_logs WHERE token_id = $1) AS is_block FROM feed_head AS head \
    LEFT JOIN revocations AS entry ON entry.\"key\" IN ($1, $2, $3)";

const TOKEN: &str = "INSERT INTO user_token_logs (token_id, issuer, user_id, issued_at, expires_at, is_block, blocked_at, \
    block_reason, created_at, updated_at) VALUES ($1, 'http://curfew.localhost', $2, $3, $4, 1, $3, 'logout', $3, $3)";

const REVOCATION: &str = "INSERT INTO revocations (seq, \"key\", kind, cutoff, expires_at, reason, actor, created_at) \
    VALUES ($1, $2, 'token', $3, $4, 'logout', 'user', $3)";

/// Commits for the given time, on a database of its own.
pub(super) fn run(place: &Place, program: &Program, clients: usize, limit: Duration) -> Result<Load> {
    sqlx::any::install_default_drivers();
    let url = place.database(program, "bare")?;
    run_load(clients, limit, || client(&url, place.is_postgres()))
}

fn client(url: &str, postgres: bool) -> Result<Client> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut connection = runtime.block_on(connected(url, postgres))?;
    Ok(Box::new(move || commit(&runtime, &mut connection, postgres)))
}

async fn connected(url: &str, postgres: bool) -> Result<AnyConnection> {
    let mut connection = AnyConnection::connect(url).await?;
    if !postgres {
        sqlx::raw_sql(SQLITE).execute(&mut connection).await?;
    }
    Ok(connection)
}

fn commit(runtime: &Runtime, connection: &mut AnyConnection, postgres: bool) -> Result<Duration> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let started = Instant::now();
    runtime.block_on(logout(connection, postgres, serial))?;
    Ok(started.elapsed())
}

async fn logout(connection: &mut AnyConnection, postgres: bool, serial: u64) -> Result<()> {
    let key = |kind: u8| -> Vec<u8> {
        let hash = sha256(&[&serial.to_be_bytes(), [kind].as_slice()].concat());
        hash.into_iter().take(16).collect()
    };
    let (begin, head) = match postgres {
        true => ("BEGIN", "SELECT epoch, seq, identity FROM feed_head FOR UPDATE"),
        false => ("BEGIN IMMEDIATE", "SELECT epoch, seq, identity FROM feed_head"),
    };
    let (token, now) = (key(0), curfew_testbed::tokens::now());
    sqlx::raw_sql(begin).execute(&mut *connection).await?;
    let seq: i64 = sqlx::query(head).fetch_one(&mut *connection).await?.try_get("seq")?;
    sqlx::query(EVIDENCE).bind(token.clone()).bind(key(1)).bind(key(2)).fetch_all(&mut *connection).await?;
    let user = format!("user-{serial}");
    sqlx::query(TOKEN).bind(token.clone()).bind(user).bind(now).bind(now + 3600).execute(&mut *connection).await?;
    sqlx::query(REVOCATION).bind(seq + 1).bind(token).bind(now).bind(now + 3667).execute(&mut *connection).await?;
    sqlx::query("UPDATE feed_head SET seq = seq + $1").bind(1_i64).execute(&mut *connection).await?;
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
    Ok(())
}
