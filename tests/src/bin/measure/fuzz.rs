//! Fuzzing: libFuzzer on the targets of `curfew_testbed::fuzz`, for a given time each.
//!
//! Without a sanitizer, because stable Rust has none, and because a fuzzer reaches no unsafe code in these parts. Debug
//! assertions and overflow checks are on. A target stops at its first finding, and the input is kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use curfew_testbed::fuzz::{Seed, TARGETS, Target, corpus, target};
use curfew_testbed::{wasm, workspace};
use serde_json::{Value, json};

/// The version that is known to work.
const INSTALL: &str = "cargo install cargo-fuzz --version 0.13.2 --locked   (it also needs a C++ compiler)";

/// The prefix of inputs in a corpus that have no name of their own.
const FOUND: &str = "found-";

#[derive(Args)]
pub(crate) struct Arguments {
    /// How long each target runs.
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// Fuzzes this target alone.
    #[arg(long)]
    target: Option<String>,
    /// Does not fuzz, but minimises the inputs that were found before and writes them into `tests/fuzz/corpus/`.
    #[arg(long)]
    keep: bool,
}

/// Runs one target or all.
pub(crate) fn measure(arguments: &Arguments) -> Result<Value> {
    let targets = match &arguments.target {
        None => TARGETS.to_vec(),
        Some(name) => vec![target(name).with_context(|| format!("no target {name}; there are {TARGETS:?}"))?],
    };
    let module = wasm::build()?;
    let binaries = build()?;
    if !arguments.keep {
        println!(
            "{:<15}{:>14}{:>10}{:>10}{:>10}{:>10}",
            "target", "executions", "per s", "edges", "corpus", "findings"
        );
    }
    let mut rows = Vec::new();
    for target in targets {
        let run = Run::new(target, &binaries, &module)?;
        if arguments.keep {
            run.keep()?;
        } else {
            rows.push(run.fuzz(arguments.minutes.max(1))?);
        }
    }
    Ok(json!({"sanitizer": "none", "targets": with_others(rows)?}))
}

/// Keeps the earlier figures of the other targets.
fn with_others(mut rows: Vec<Value>) -> Result<Vec<Value>> {
    let path = workspace::generated("measure")?.join("fuzz.json");
    let before: Value =
        std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    for row in before.get("targets").and_then(Value::as_array).into_iter().flatten() {
        if rows.iter().all(|own| own.get("target") != row.get("target")) {
            rows.push(row.clone());
        }
    }
    Ok(rows)
}

/// Builds all targets; returns their directory.
fn build() -> Result<PathBuf> {
    let probe = workspace::cargo().args(["fuzz", "--version"]).output()?;
    ensure!(probe.status.success(), "cargo-fuzz is not installed: {INSTALL}");
    workspace::progress("building the fuzzing targets (many minutes, the first time) ...");
    let directory = workspace::generated("fuzz")?.join("build");
    let mut cargo = workspace::cargo();
    cargo.current_dir(workspace::root().join("tests"));
    cargo.args(["fuzz", "build", "--sanitizer", "none", "--target-dir"]).arg(&directory);
    let output = cargo.output().context("cargo fuzz does not run")?;
    ensure!(output.status.success(), "the targets do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    let mut hosts = std::fs::read_dir(&directory)?.flatten().map(|entry| entry.path().join("release"));
    hosts.find(|path| path.join("token").is_file()).context("cargo fuzz left no targets")
}

/// One target and its directories.
struct Run {
    target: Target,
    binary: PathBuf,
    module: PathBuf,
    directory: PathBuf,
}

impl Run {
    fn new(target: Target, binaries: &Path, module: &Path) -> Result<Self> {
        let directory = workspace::generated("fuzz")?.join(target.name);
        for name in ["found", "findings"] {
            std::fs::create_dir_all(directory.join(name))?;
        }
        Ok(Self { target, binary: binaries.join(target.name), module: module.to_path_buf(), directory })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Rows and corpus, in a directory of this name that holds nothing else.
    fn seeds(&self, name: &str, corpus: bool) -> Result<PathBuf> {
        let directory = self.at(name);
        if directory.exists() {
            std::fs::remove_dir_all(&directory)?;
        }
        corpus::unpack(&(self.target.rows)()?, &directory)?;
        if corpus {
            corpus::unpack(&corpus::read(self.target.name)?, &directory)?;
        }
        Ok(directory)
    }

    fn command(&self, log: &str) -> Result<Command> {
        let mut command = Command::new(&self.binary);
        command.env("CURFEW_FILTER_WASM", &self.module).current_dir(&self.directory);
        command.stderr(File::create(self.at(log))?);
        command.arg(format!("-max_len={}", self.target.longest)).args(["-timeout=30", "-rss_limit_mb=4096"]);
        Ok(command)
    }

    /// Fuzzes, and returns the figures.
    fn fuzz(&self, minutes: u32) -> Result<Value> {
        let seeds = self.seeds("seeds", true)?;
        let before = files(&self.at("findings"))?.len();
        let mut command = self.command("log")?;
        command.arg(format!("-max_total_time={}", minutes.saturating_mul(60))).arg("-print_final_stats=1");
        command.arg(format!("-artifact_prefix={}/", self.at("findings").display()));
        let dictionary = workspace::root().join("tests/fuzz/words.dict");
        command.arg(format!("-dict={}", dictionary.display())).arg(self.at("found")).arg(seeds);
        let status = command.status().with_context(|| format!("{} does not run", self.binary.display()))?;
        let log = String::from_utf8_lossy(&std::fs::read(self.at("log"))?).into_owned();
        let statistics = statistics(&log);
        let count = |name: &str| statistics.get(name).copied().unwrap_or(0);
        let found = files(&self.at("findings"))?;
        let findings = found.len().saturating_sub(before);
        let (runs, speed, edges, corpus) = (count("executed"), count("speed"), count("cov"), count("corp"));
        println!("{:<15}{runs:>14}{speed:>10}{edges:>10}{corpus:>10}{findings:>10}", self.target.name);
        if !status.success() {
            let words = log.lines().find(|line| line.contains("panicked")).unwrap_or("see the log");
            println!("    {words}\n    {}\n    {}", self.at("findings").display(), self.at("log").display());
            ensure!(findings > 0, "the target {} does not run:\n{log}", self.target.name);
        }
        Ok(json!({
            "target": self.target.name, "executions": runs, "executions_per_second": speed, "edges": edges,
            "corpus": corpus, "findings": findings, "minutes": minutes,
        }))
    }

    /// Writes the committed corpus again: all inputs with names, and of the others those that reach more than the rows
    /// do.
    fn keep(&self) -> Result<()> {
        let base = self.seeds("minimised", false)?;
        let named: Vec<Seed> = corpus::read(self.target.name)?;
        let (found, named): (Vec<_>, Vec<_>) = named.into_iter().partition(|seed| seed.name.starts_with(FOUND));
        corpus::unpack(&named, &base)?;
        corpus::unpack(&found, &self.at("found"))?;
        let known = files(&base)?;
        // By edges alone: with the counts of edges the corpus would be ten times the size, too large to commit.
        let mut merge = self.command("merge-log")?;
        let status = merge.args(["-merge=1", "-use_counters=0"]).arg(&base).arg(self.at("found")).status()?;
        if !status.success() {
            bail!("merging failed, see {}", self.at("merge-log").display());
        }
        let mut seeds = named;
        for path in files(&base)?.into_iter().filter(|path| !known.contains(path)) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let digits = name.strip_prefix(FOUND).unwrap_or(name);
            let name = format!("{FOUND}{}", digits.get(..12).unwrap_or(digits));
            seeds.push(Seed::new(name, std::fs::read(&path)?));
        }
        let path = corpus::path(self.target.name);
        let remarks = std::fs::read_to_string(&path)?;
        let remarks: String =
            remarks.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, remarks + &corpus::written(&seeds))?;
        println!("    {} inputs in {}", seeds.len(), path.display());
        Ok(())
    }
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<_> = std::fs::read_dir(directory)?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// The figures that libFuzzer prints at its end, and in its last line of progress (`#8 pulse cov: 5 ft: 6 corp: 3/9b
/// ...`).
fn statistics(log: &str) -> BTreeMap<&'static str, u64> {
    let mut statistics = BTreeMap::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let [name, value] = pair else { continue };
            let name = match *name {
                "cov:" => "cov",
                "corp:" => "corp",
                "stat::number_of_executed_units:" => "executed",
                "stat::average_exec_per_sec:" => "speed",
                _ => continue,
            };
            let digits = value.split('/').next().unwrap_or_default();
            statistics.extend(digits.parse().ok().map(|number| (name, number)));
        }
    }
    statistics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_figures_count() {
        let log = "#2 INITED cov: 5 ft: 6 corp: 1/2b exec/s: 0 rss: 40Mb\n\
                   #8\tDONE   cov: 50 ft: 60 corp: 3/9b lim: 4 exec/s: 0 rss: 40Mb\n\
                   stat::number_of_executed_units: 8\nstat::average_exec_per_sec:     4\n";
        let expected = [("corp", 3), ("cov", 50), ("executed", 8), ("speed", 4)];
        assert_eq!(statistics(log), BTreeMap::from(expected));
    }
}
