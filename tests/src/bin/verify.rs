//! `cargo verify`: all checks that a change must pass, in one command on any machine.
//!
//! The steps run one after the other, also after a step that failed, so one run shows everything that is wrong. A step
//! that cannot run has failed: nothing is skipped because something is missing. The exceptions end the run as warnings: the
//! database of known holes, and the clients in PHP and Java, where the machine has neither.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use curfew_testbed::control_plane::{self, Profile};
use curfew_testbed::dependencies::Advisories;
use curfew_testbed::{dependencies, envoy, rooms, servers, wasm, workspace};

/// Checks format, lints, builds and tests; ends with the number of tests, and with an error if anything failed.
#[derive(Parser)]
#[command(name = "cargo verify")]
struct Arguments {
    /// Also build the control plane as it ships, and run the tests that take minutes.
    #[arg(long)]
    long: bool,
    /// Fail, and do not only warn, if the database of known holes cannot be fetched.
    #[arg(long)]
    audit: bool,
}

/// Test counts, added up from the summary lines of all test programs.
#[derive(Clone, Copy, Default)]
struct Tests {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tests {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        let count = |word: &str| {
            let words: Vec<&str> = counts.split([' ', ';', '.']).filter(|part| !part.is_empty()).collect();
            let pair = words.windows(2).find(|pair| pair.get(1) == Some(&word));
            pair.and_then(|pair| pair.first()?.parse::<u64>().ok()).unwrap_or(0)
        };
        self.passed += count("passed");
        self.failed += count("failed");
        self.ignored += count("ignored");
    }
}

/// The run so far.
struct Verification {
    arguments: Arguments,
    tests: Tests,
    warnings: Vec<String>,
    results: Vec<(&'static str, Duration, Result<()>)>,
}

type Step = fn(&mut Verification) -> Result<()>;

/// Ordered so that the cheap and the frequent mistakes come first, and the tests last.
const STEPS: [(&str, Step); 11] = [
    ("format", |_| format()),
    ("rooms", |_| rooms::check()),
    ("lints", |_| lints()),
    ("dependencies", Verification::dependencies),
    ("filter (wasm)", |_| wasm::build().map(drop)),
    ("control plane", |_| control_plane::build(Profile::Test).map(drop)),
    // What ships is compiled in another way, and has failed to compile where everything else did.
    ("control plane (release)", |verification| verification.release()),
    ("Envoy", |_| envoy::find().map(drop)),
    ("servers", |_| servers::find()),
    ("demo story", |_| story()),
    ("tests", |verification| verification.test()),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut verification =
        Verification { arguments, tests: Tests::default(), warnings: Vec::new(), results: Vec::new() };
    for (name, step) in STEPS {
        verification.run(name, step);
    }
    verification.summarise()
}

impl Verification {
    fn run(&mut self, name: &'static str, step: Step) {
        println!("\n=== {name}");
        let start = Instant::now();
        let result = step(self);
        let took = start.elapsed();
        match &result {
            Ok(()) => println!("=== {name}: ok ({:.1} s)", took.as_secs_f64()),
            Err(error) => println!("=== {name}: FAILED ({:.1} s)\n{error:#}", took.as_secs_f64()),
        }
        self.results.push((name, took, result));
    }

    /// Builds what ships. It takes six minutes on two cores where nothing is built yet, so it is for long runs.
    fn release(&self) -> Result<()> {
        if self.arguments.long {
            return control_plane::build(Profile::Release).map(drop);
        }
        println!("only with --long");
        Ok(())
    }

    /// Checks licences, bans, sources and known holes of the dependencies.
    fn dependencies(&mut self) -> Result<()> {
        let Advisories::NotChecked(reason) = dependencies::check()? else { return Ok(()) };
        let warning =
            format!("known holes in dependencies were NOT CHECKED, for want of the RustSec database: {reason}");
        if self.arguments.audit {
            bail!(warning);
        }
        println!("WARNING: {warning}");
        self.warnings.push(warning);
        Ok(())
    }

    /// Runs all tests of the workspace, passing their output on and counting.
    fn test(&mut self) -> Result<()> {
        let mut command = workspace::cargo();
        command.args(["test", "--workspace", "--no-fail-fast"]).stdout(Stdio::piped());
        if self.arguments.long {
            command.args(["--", "--include-ignored"]);
        }
        let mut child = command.spawn().context("cargo test does not run")?;
        let output = child.stdout.take().context("cargo test has no output")?;
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            self.tests.add(&line);
            self.warnings.extend(warning(&line).filter(|warning| !self.warnings.contains(warning)));
        }
        succeed(child.wait()?.success(), "cargo test")
    }

    fn summarise(&self) -> ExitCode {
        println!("\n=== summary");
        for (name, took, result) in &self.results {
            let mark = if result.is_ok() { "ok    " } else { "FAILED" };
            println!("{mark} {name} ({:.0} s)", took.as_secs_f64());
        }
        for warning in &self.warnings {
            println!("WARNING {warning}");
        }
        let Tests { passed, failed, ignored } = self.tests;
        println!("\ntests: {passed} passed, {failed} failed, {ignored} skipped");
        let _ = std::io::stdout().flush();
        // A run without a single test proves nothing.
        let good = self.results.iter().all(|(.., result)| result.is_ok()) && passed > 0 && failed == 0;
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn format() -> Result<()> {
    require_component("fmt", "rustfmt")?;
    run(workspace::cargo().args(["fmt", "--all", "--check"]), "cargo fmt --check")
}

fn lints() -> Result<()> {
    require_component("clippy", "clippy")?;
    let mut clippy = workspace::cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
    run(&mut clippy, "cargo clippy")?;
    // The filter for tests has code of its own. Without --package, the dependencies keep the features that they have above.
    let mut trapping = workspace::cargo();
    trapping.args(["clippy", "--lib", "--features", "curfew-filter/trap", "--", "--deny", "warnings"]);
    run(&mut trapping, "cargo clippy --features curfew-filter/trap")
}

fn story() -> Result<()> {
    let mut demo = workspace::cargo();
    demo.args(["run", "--quiet", "--profile", "test", "--bin", "demo", "--", "--profile", "test"]);
    run(demo.arg("--story"), "cargo demo --story")
}

/// What a test has warned of. Tests print it past the harness, which shows only the output of those that failed.
fn warning(line: &str) -> Option<String> {
    line.split_once("WARNING: ").map(|(_, warning)| warning.to_owned())
}

/// Names the component to install, because cargo only says that it knows no such command.
fn require_component(subcommand: &str, component: &str) -> Result<()> {
    let probe = workspace::cargo().args([subcommand, "--version"]).output()?;
    if !probe.status.success() {
        bail!("cargo {subcommand} is not installed: rustup component add {component}");
    }
    Ok(())
}

fn run(command: &mut Command, name: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("{name} does not run"))?;
    succeed(status.success(), name)
}

fn succeed(success: bool, name: &str) -> Result<()> {
    if !success {
        bail!("{name} failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_of_tests_are_found_also_behind_the_name_of_a_test() {
        assert_eq!(warning("test clients::a ... WARNING: x was NOT RUN: no php").unwrap(), "x was NOT RUN: no php");
        assert_eq!(warning("test clients::a ... ok"), None);
    }

    #[test]
    fn summary_lines_are_added_up() {
        let mut tests = Tests::default();
        tests.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        tests.add("test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        tests.add("test other ... ok");
        assert_eq!((tests.passed, tests.failed, tests.ignored), (5, 4, 1));
    }
}
