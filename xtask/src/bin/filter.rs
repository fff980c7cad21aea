//! `cargo filter`: the module that Envoy loads.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use xtask::wasm;

/// Builds the filter for wasm32-wasip1 with a toolchain that this machine has or can get, removes the callbacks that do
/// nothing, and prints the module's path.
#[derive(Parser)]
#[command(name = "cargo filter")]
struct Arguments {
    /// Also writes the module to this file.
    #[arg(long)]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let module = wasm::build()?;
    if let Some(output) = &arguments.output {
        std::fs::copy(&module, output).with_context(|| format!("cannot write {}", output.display()))?;
    }
    println!("{}", module.display());
    Ok(())
}
