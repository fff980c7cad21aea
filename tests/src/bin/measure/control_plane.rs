//! The control plane by itself, without Envoy: logouts beside commits of the bare database, checks beside answers of
//! Redis, a logout of a user with many tokens, its memory, and the cost of the clean-up.
//!
//! Clients, control plane and databases share the machine's cores, so the figures compare with each other and not with
//! those of other set-ups. Both sides of a comparison are measured in the same run.

mod bare;
mod clean_up;
mod load;
mod logout_all;
mod place;
mod redis;
mod requests;
mod table;

use std::time::Duration;

use anyhow::{Result, ensure};
use curfew_testbed::control_plane::Profile;
use curfew_testbed::measure::{PAGE, description, resident_bytes};
use curfew_testbed::workspace;
use serde_json::{Value, json};

use load::{Load, run};
use place::{Place, Program};
use requests::Requests;

/// How many clients ask at the same time.
const CLIENTS: [usize; 3] = [1, 16, 128];

/// How much is measured.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Seconds for each figure.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Expired rows in the table for measuring the clean-up.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u32,
    /// Tokens of the user who is logged out of all devices.
    #[arg(long, default_value_t = 10_000)]
    tokens: usize,
    /// Takes less than a minute, to see that it works: short, few rows, and the control plane as tests build it.
    #[arg(long)]
    quick: bool,
    /// Also writes the table in docs/measurements.md.
    #[arg(long)]
    write: bool,
}

impl Arguments {
    fn each(&self) -> Duration {
        if self.quick { Duration::from_millis(700) } else { Duration::from_secs(self.seconds) }
    }

    fn rows(&self) -> u32 {
        if self.quick { self.rows.min(20_000) } else { self.rows }
    }

    fn tokens(&self) -> usize {
        if self.quick { self.tokens.min(1000) } else { self.tokens }
    }
}

/// Measures everything on SQLite, and on PostgreSQL with Redis.
pub(crate) fn measure(arguments: &Arguments) -> Result<Value> {
    ensure!(!arguments.write || !arguments.quick, "the page's figures are not those of --quick");
    let before = description();
    let program = Program::build(if arguments.quick { Profile::Test } else { Profile::Release })?;
    let places = [Place::sqlite()?, Place::postgres()?];
    let measured: Vec<Value> = places.iter().map(|place| on(place, &program, arguments)).collect::<Result<_>>()?;
    let numbers = json!({
        "command": format!(
            "cargo measure control-plane --seconds {} --rows {} --tokens {}{}",
            arguments.seconds, arguments.rows, arguments.tokens, if arguments.quick { " --quick" } else { "" }
        ),
        "profile": program.profile(), "machine_before": before, "machine_after": description(), "places": measured,
    });
    let table = table::rendered(&numbers)?;
    println!("\n{table}");
    if arguments.write {
        let page = workspace::root().join(PAGE);
        std::fs::write(&page, table::inserted(&std::fs::read_to_string(&page)?, &table)?)?;
    }
    Ok(numbers)
}

fn on(place: &Place, program: &Program, arguments: &Arguments) -> Result<Value> {
    println!("\n{}\n{:<44}{:>12}{:>10}{:>10}{:>10}", place.name(), "", "per second", "p50 ms", "p99 ms", "max ms");
    let database = place.database(program, "load")?;
    let server = place.start(program, &database, &[])?;
    let requests = Requests::new()?;
    let each = arguments.each();
    let memory_before = resident_bytes(server.process())?;

    let mut logouts = Vec::new();
    for clients in CLIENTS {
        let client = || requests.logouts(server.public());
        let curfew = run(clients, each, client)?;
        let bare = bare::run(place, program, clients, each)?;
        row(&format!("logouts, {clients} clients"), &curfew);
        row(&format!("bare commits, {clients} connections"), &bare);
        let ratio = curfew.per_second() / bare.per_second();
        println!("{:<44}{ratio:>12.2}", "  logouts for each bare commit");
        logouts.push(json!({"clients": clients, "logouts": curfew.json(), "bare": bare.json(), "ratio": ratio}));
    }
    let mut checks = Vec::new();
    for clients in CLIENTS {
        for (verdict, logged_out) in [("active", false), ("revoked", true)] {
            let question = requests.question(&server, logged_out)?;
            let load = run(clients, each, || requests::repeated(server.internal(), question.clone()))?;
            row(&format!("checks ({verdict}), {clients} clients"), &load);
            checks.push(json!({"clients": clients, "verdict": verdict, "checks": load.json()}));
        }
    }
    let gets = redis::gets(place, &CLIENTS)?;
    let all = logout_all::measure(&requests, &server, arguments.tokens())?;
    let memory_after = resident_bytes(server.process())?;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{:<44}{:>12.1}{:>10.1}",
        "memory before and after, MiB",
        mebibytes(memory_before),
        mebibytes(memory_after)
    );
    drop(server);
    let clean_up = clean_up::measure(place, program, arguments.rows(), each)?;
    Ok(json!({
        "place": place.name(), "logouts": logouts, "checks": checks, "redis_get": gets, "logout_all": all,
        "resident_bytes": {"before": memory_before, "after": memory_after}, "clean_up": clean_up,
    }))
}

fn row(name: &str, load: &Load) {
    let [p50, p99, most] = [load.percentile(50), load.percentile(99), load.percentile(100)];
    println!("{name:<44}{:>12.0}{p50:>10.2}{p99:>10.2}{most:>10.2}", load.per_second());
}
