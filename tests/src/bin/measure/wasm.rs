//! Instructions inside the module (see `curfew_testbed::fuel`), and the module's size.

use anyhow::{Context as _, Result};
use curfew_testbed::fuel::{self, kind};
use curfew_testbed::wasm;
use serde_json::{Value, json};

/// Measures every algorithm, with and without the host's help, and the refusals; `write` commits the figures.
pub(crate) fn measure(write: bool) -> Result<Value> {
    let size = std::fs::metadata(wasm::build()?)?.len();
    let figures = fuel::measure()?;
    let compiler = wasm::compiler();
    println!("{:<34}{:>14}", "module", format!("{size} bytes"));
    println!("{:<34}{:>14}{:>14}{:>14}", "instructions per request", "cold", "warm", "forged");
    let [cold, warm, forged] = ["cold", "warm", "forged"].map(|name| kind(&figures, name));
    for (name, cold) in &cold {
        let [warm, forged] = [&warm, &forged].map(|kind| kind.get(name).copied().unwrap_or_default());
        println!("{name:<34}{cold:>14}{warm:>14}{forged:>14}");
    }
    for (name, fuel) in
        figures.iter().filter(|(name, _)| ![" cold", " warm", " forged"].iter().any(|kind| name.ends_with(kind)))
    {
        println!("{name:<34}{fuel:>14}");
    }
    if write {
        let compiler = compiler.as_deref().context("a module that was built elsewhere has no figures of its own")?;
        fuel::write(compiler, &figures)?;
        println!("\nwritten: tests/measure/fuel.json");
    } else {
        for line in fuel::compare(&fuel::read()?, compiler.as_deref(), &figures) {
            println!("not as committed: {line}");
        }
    }
    Ok(json!({"module_bytes": size, "compiler": compiler, "instructions": figures}))
}
