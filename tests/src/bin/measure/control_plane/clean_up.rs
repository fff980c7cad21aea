//! The effect of the clean-up of a table with many expired rows on logouts: the same load without it, with it at its
//! default rate, and as fast as the database deletes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use curfew_testbed::control_plane::ControlPlane;
use curfew_testbed::http::Request;
use curfew_testbed::workspace::progress;
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use super::load::run;
use super::place::{Place, Program};
use super::requests::Requests;
use super::row;

const CLIENTS: usize = 16;

/// Settings of the clean-up, by their names in the table.
const PACES: [(&str, &[(&str, &str)]); 3] = [
    ("no clean-up", &[("CURFEW_PURGE_INTERVAL", "1d")]),
    ("clean-up, 5,000 rows/s", &[("CURFEW_PURGE_INTERVAL", "1s")]),
    ("clean-up, no limit", &[("CURFEW_PURGE_INTERVAL", "1s"), ("CURFEW_PURGE_RATE", "1000000")]),
];

/// Measures on a database of its own with this many expired rows.
pub(super) fn measure(place: &Place, program: &Program, rows: u32, each: Duration) -> Result<Vec<Value>> {
    let database = place.database(program, "clean_up")?;
    progress(&format!("filling a table with {rows} expired rows ..."));
    fill(&database, place.is_postgres(), rows)?;
    let requests = Requests::new()?;
    let mut measured = Vec::new();
    for (name, settings) in PACES {
        let server = place.start(program, &database, settings)?;
        // The first clean-up begins after one interval.
        std::thread::sleep(Duration::from_millis(1100));
        let (started, before) = (Instant::now(), purged(&server)?);
        let load = run(CLIENTS, each, || requests.logouts(server.public()))?;
        let rate = (purged(&server)? - before) / started.elapsed().as_secs_f64();
        row(&format!("logouts, {CLIENTS} clients, {name}"), &load);
        println!("{:<44}{rate:>12.0}", "  rows removed a second");
        measured.push(json!({"clean_up": name, "rows": rows, "rows_per_second": rate, "logouts": load.json()}));
    }
    Ok(measured)
}

/// How many rows of `user_token_logs` this process has removed.
fn purged(server: &ControlPlane) -> Result<f64> {
    let answer = server.ask(Request::get("/metrics"))?.text();
    let line =
        answer.lines().find_map(|line| line.strip_prefix("curfew_purged_rows_total{table=\"user_token_logs\"} "));
    // A counter may be missing until it is first raised.
    line.map_or(Ok(0.0), |number| number.trim().parse().context("curfew_purged_rows_total is no number"))
}

fn fill(url: &str, postgres: bool, rows: u32) -> Result<()> {
    sqlx::any::install_default_drivers();
    let id = if postgres { "uuid_send(gen_random_uuid())" } else { "randomblob(16)" };
    let statement = format!(
        "INSERT INTO user_token_logs (token_id, issuer, user_id, expires_at, created_at, updated_at)
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})
         SELECT {id}, 'http://curfew.localhost', 'gone', 1, 1, 1 FROM numbers"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = AnyConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    })
}
