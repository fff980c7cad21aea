//! The memory of a worker's copy of the revocations, the time of a look-up in it, and the cost of loading it.
//!
//! The memory is that of the shipped module's VM in a wasm host: its growth while it loads the log page by page, JSON
//! and moves included, divided by the number of revocations. A look-up is measured natively, on the same code, because
//! a host's clock is too coarse for one look-up inside a VM. It is of a token with all four keys, none of them revoked.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use curfew_core::wire::{CheckRequest, FEED_PATH, FeedAnswer, FeedRequest, FeedRevocation, PAGE_REVOCATIONS};
use curfew_core::{Epoch, Keyspace, Kind, RevocationKey};
use curfew_filter::copy::LogCopy;
use curfew_testbed::measure::{date, description, write_to_page};
use curfew_testbed::tokens::{ISSUER, Signer, jwks};
use curfew_testbed::wasm_host::{Host, START, Setup};
use serde_json::{Value, json};

const COMMAND: &str = "cargo measure replica";

const SIZES: [u32; 3] = [10_000, 100_000, 1_000_000];

/// The default of the filter's `replica_bytes`.
const BUDGET: u64 = 64 << 20;

const LOOKS: u32 = 200_000;

struct Row {
    revocations: u32,
    memory: usize,
    counted: u64,
    look: Duration,
    joining: Duration,
    pages: u64,
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "revocations": self.revocations, "vm_grew_by_bytes": self.memory, "replica_bytes": self.counted,
            "bytes_per_revocation": self.memory as f64 / f64::from(self.revocations),
            "look_ns": self.look.as_nanos() as f64, "joining_seconds": self.joining.as_secs_f64(), "pages": self.pages,
        })
    }

    fn line(&self) -> String {
        let memory = self.memory as f64;
        format!(
            "| {} | {:.1} MB | {:.1} | {} ns | {:.2} s, {} pages |",
            self.revocations,
            memory / 1e6,
            memory / f64::from(self.revocations),
            self.look.as_nanos(),
            self.joining.as_secs_f64(),
            self.pages
        )
    }
}

/// Measures, prints the table, and with `write` writes it into the page of measurements.
pub(crate) fn measure(write: bool) -> Result<Value> {
    let rows = SIZES.map(row).into_iter().collect::<Result<Vec<_>>>()?;
    let table = rendered(&rows);
    println!("{table}");
    if write {
        write_to_page(COMMAND, &table)?;
    }
    Ok(json!({"command": COMMAND, "machine": description(), "rows": rows.iter().map(Row::json).collect::<Vec<_>>()}))
}

fn rendered(rows: &[Row]) -> String {
    let lines: Vec<_> = rows.iter().map(Row::line).collect();
    let head =
        "| revocations | memory of a worker's VM | bytes each | a look | taking them all |\n|---|---|---|---|---|";
    let processor = description().get("processor").and_then(Value::as_str).unwrap_or("?").to_owned();
    format!("{head}\n{}\n\n{}, {processor}.", lines.join("\n"), date())
}

fn row(revocations: u32) -> Result<Row> {
    let signer = Signer::generate("HS256")?;
    let configuration = json!({
        "issuers": [{"issuer": ISSUER, "jwks": jwks([&signer])}],
        "control_plane": {"cluster": "curfew", "authority": "curfew", "secret": "0123456789abcdef0123456789abcdef"},
        "replica_bytes": BUDGET,
    });
    let mut host = Host::start(&Setup::new(&configuration))?;
    let token = signer.sign(&json!({"iss": ISSUER, "sub": "alice", "iat": START, "exp": START + 600}))?;
    let authorization = format!("Bearer {token}");
    host.request(&[(":method", b"GET"), (":path", b"/"), ("authorization", authorization.as_bytes())])?;
    let before = host.memory_size();
    let (joining, pages) = join(&mut host, revocations)?;
    let memory = host.memory_size() - before;
    let counted = host.metric("curfew_replica_bytes");
    ensure!(host.metric("curfew_replica_entries") == u64::from(revocations), "not all are held");
    Ok(Row { revocations, memory, counted, look: look(revocations), joining, pages })
}

/// Answers polls until the worker has the whole log. Returns the time inside the module, JSON included.
fn join(host: &mut Host, revocations: u32) -> Result<(Duration, u64)> {
    let (mut applied, mut pages, mut spent) = (0, 0, Duration::ZERO);
    while applied < revocations {
        let polls = host.callouts().into_iter().find(|call| call.headers.get(":path").as_deref() == Some(FEED_PATH));
        let poll = polls.context("no poll is under way")?;
        ensure!(serde_json::from_slice::<FeedRequest>(&poll.body)?.applied == u64::from(applied), "another position");
        let to = applied.saturating_add(u32::try_from(PAGE_REVOCATIONS)?).min(revocations);
        let page = serde_json::to_vec(&FeedAnswer {
            epoch: Epoch::from_bytes([0x11; 16]),
            from: applied.into(),
            to: to.into(),
            more: to < revocations,
            keys_seq: 0,
            revocations: (applied..to).map(revocation).collect(),
            lease_ms: 2_000,
            fresh_ms: 0,
        })?;
        let start = Instant::now();
        host.answer(poll.token, 200, &page)?;
        spent += start.elapsed();
        (applied, pages) = (to, pages + 1);
    }
    Ok((spent, pages))
}

fn revocation(number: u32) -> FeedRevocation {
    FeedRevocation { kind: Kind::Token, key: key(number), cutoff: START, expires_at: START + 3_600 }
}

fn key(number: u32) -> RevocationKey {
    RevocationKey::token(&number.to_be_bytes())
}

fn look(revocations: u32) -> Duration {
    let mut copy = LogCopy::new(BUDGET, [1, 2]);
    for first in (0..revocations).step_by(PAGE_REVOCATIONS) {
        let page: Vec<_> = (first..revocations).take(PAGE_REVOCATIONS).map(revocation).collect();
        copy.apply(&page, START);
    }
    let token = |number: u32| CheckRequest {
        keyspace: Keyspace::from_bytes([0; 16]),
        token: key(u32::MAX - number),
        jti: Some(key(u32::MAX / 2 - number)),
        session: Some(key(u32::MAX / 4 - number)),
        subject: Some(key(u32::MAX / 8 - number)),
        issued_at: Some(START),
    };
    let tokens: Vec<_> = (0..10_000).map(token).collect();
    let start = Instant::now();
    for token in tokens.iter().cycle().take(LOOKS as usize) {
        black_box(copy.coverage(black_box(token)));
    }
    start.elapsed() / LOOKS
}
