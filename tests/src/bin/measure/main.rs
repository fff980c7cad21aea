//! `cargo measure`: numbers about Curfew, each from one command, with a table for people and JSON for comparing.

mod attacks;
#[cfg(feature = "servers")]
mod control_plane;
#[cfg(feature = "servers")]
mod failures;
#[cfg(feature = "servers")]
mod faults;
mod floods;
mod fuzz;
mod hot_path;
mod keys;
#[cfg(feature = "servers")]
mod logout;
mod replica;
mod sizes;
mod tokens;
mod wasm;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand};
use curfew_testbed::workspace;
use serde_json::Value;

/// Measures Curfew. Without a command, lists what can be measured.
#[derive(Parser)]
#[command(name = "cargo measure")]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Instructions that the filter takes per request, and the size of the module.
    Wasm {
        /// Also writes `tests/measure/fuel.json`, which `cargo verify` compares with.
        #[arg(long)]
        write: bool,
    },
    /// The answers of Curfew and of Envoy's own jwt_authn to every row of `tests/src/attacks/`, side by side.
    Attacks {
        /// Also writes `tests/attacks.md`.
        #[arg(long)]
        write: bool,
    },
    /// Logouts, checks, memory and clean-up of the control plane by itself, beside the bare database and Redis.
    #[cfg(feature = "servers")]
    ControlPlane(control_plane::Arguments),
    /// Processor time of Envoy's worker for each request of a flood, beside Envoy's own jwt_authn, and the caches after
    /// the flood.
    Floods {
        /// How long all bursts take together.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// How many new tokens pass through the caches.
        #[arg(long, default_value_t = 30_000)]
        flood: usize,
    },
    /// What clients see when a part fails, and that no logout is lost: every story of `tests/src/failures/`.
    #[cfg(feature = "servers")]
    Failures {
        /// How often control planes are killed in the stories of random moments.
        #[arg(long, default_value_t = 200)]
        rounds: u32,
        /// Also writes the table in docs/under-failure.md.
        #[arg(long)]
        write: bool,
        /// Plays only the stories with this in their names.
        story: Option<String>,
    },
    /// Plays faults in a mesh of two Envoys, two control planes, PostgreSQL and Redis, under load, and looks for
    /// requests that were admitted after the logout of their token had returned.
    #[cfg(feature = "servers")]
    Faults(faults::Arguments),
    /// Processor time of Envoy's worker for each request with Curfew, with Envoy's own filters, and with none.
    HotPath(hot_path::Arguments),
    /// How long a change of an issuer's keys takes to every worker, and the first request of an Envoy with many keys.
    Keys(keys::Arguments),
    /// Memory and speed of a worker's copy of the revocations, up to a million of them.
    Replica {
        /// Also writes the table in docs/measurements.md.
        #[arg(long)]
        write: bool,
    },
    /// The module's size, the start of its VM, and Envoy's memory before and after many tokens.
    Sizes {
        /// How many tokens.
        #[arg(long, default_value_t = 100_000)]
        tokens: usize,
        /// Also writes the table in docs/measurements.md.
        #[arg(long)]
        write: bool,
    },
    /// Fuzzes the targets of `tests/fuzz/`.
    Fuzz(fuzz::Arguments),
    #[cfg(feature = "servers")]
    /// Latency of logouts in a healthy mesh, and when the last request with a token was admitted.
    Logout(logout::Arguments),
}

fn main() -> Result<()> {
    match Arguments::parse().what {
        None => Ok(Arguments::command().print_help()?),
        Some(What::Wasm { write }) => save("wasm", &wasm::measure(write)?),
        Some(What::Attacks { write }) => save("attacks", &attacks::measure(write)?),
        #[cfg(feature = "servers")]
        Some(What::ControlPlane(arguments)) => save("control-plane", &control_plane::measure(&arguments)?),
        #[cfg(feature = "servers")]
        Some(What::Failures { rounds, write, story }) => {
            save("failures", &failures::measure(rounds, write, story.as_deref())?)
        }
        Some(What::Floods { seconds, flood }) => save("floods", &floods::measure(seconds, flood)?),
        #[cfg(feature = "servers")]
        Some(What::Faults(arguments)) => save("faults", &faults::measure(&arguments)?),
        Some(What::HotPath(arguments)) => save(arguments.name(), &hot_path::measure(&arguments)?),
        Some(What::Keys(arguments)) => save("keys", &keys::measure(&arguments)?),
        Some(What::Replica { write }) => save("replica", &replica::measure(write)?),
        Some(What::Sizes { tokens, write }) => save("sizes", &sizes::measure(tokens, write)?),
        Some(What::Fuzz(arguments)) => save("fuzz", &fuzz::measure(&arguments)?),
        #[cfg(feature = "servers")]
        Some(What::Logout(arguments)) => save("logout", &logout::measure(&arguments)?),
    }
}

/// Keeps the numbers as JSON below the target directory.
fn save(name: &str, numbers: &Value) -> Result<()> {
    let path: PathBuf = workspace::generated("measure")?.join(format!("{name}.json"));
    std::fs::write(&path, serde_json::to_vec_pretty(numbers)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("\n{}", path.display());
    Ok(())
}
