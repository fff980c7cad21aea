//! Gets everything ready that the demo starts: builds the control plane and the filter, and finds or fetches Envoy.
//!
//! The three have nothing to do with each other, so they run at the same time. A person sees which step is done and how
//! long it took.

use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};
use xtask::wasm;
use xtask::workspace::progress;

use crate::control_plane::{self, Profile};
use crate::envoy;

/// The steps of the demo. The last one is the start of all parts, after the ones here.
pub const STEPS: usize = 4;

/// How much nicer the less urgent build is.
const LESS_URGENT: i32 = 2;

struct Part {
    step: usize,
    task: &'static str,
    get: fn(Profile) -> Result<PathBuf>,
}

const PARTS: [Part; STEPS - 1] = [
    Part { step: 1, task: "building the control plane", get: control_plane::build },
    Part { step: 2, task: "building the filter", get: |_| build_filter() },
    Part { step: 3, task: "finding Envoy", get: |_| envoy::find() },
];

/// Builds the filter with what the control plane leaves of the processor. The end of the control plane's build keeps one core
/// busy and no more, and then both builds are ready sooner if the filter's still has work for the others.
fn build_filter() -> Result<PathBuf> {
    // On Linux a priority is that of a thread, and of the processes that it starts. Without it the build only takes longer.
    let _ = rustix::process::nice(LESS_URGENT);
    wasm::build()
}

/// Returns when all parts are there, the control plane built in this profile.
///
/// # Errors
/// If some of them cannot be built or found; the message names the reasons.
pub fn prepare(profile: Profile) -> Result<()> {
    let results = thread::scope(|scope| {
        let running = PARTS.map(|part| scope.spawn(move || part.prepare(profile)));
        running.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let errors: Vec<String> = results.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    if errors.is_empty() { Ok(()) } else { bail!(errors.join("\n")) }
}

impl Part {
    /// A step that fails says so at once, while others may take minutes more.
    fn prepare(&self, profile: Profile) -> Result<()> {
        show(self.step, self.task, "...");
        let begun = Instant::now();
        let result = (self.get)(profile);
        let seconds = begun.elapsed().as_secs();
        let outcome = if result.is_ok() { "done" } else { "FAILED" };
        show(self.step, self.task, &format!("{outcome} after {seconds} s"));
        result.map(drop)
    }
}

/// Prints a line about a step, such as `building the filter, 2 of 4: done after 80 s`.
pub fn show(step: usize, task: &str, state: &str) {
    progress(&format!("{task}, {step} of {STEPS}: {state}"));
}
