//! Runs a build with cargo and shows how far it is.
//!
//! A first build takes minutes. Cargo draws a progress bar, but the bars of two builds at the same time would overwrite
//! each other. So this module reads the bar and prints a plain line from time to time.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::workspace::progress;

/// Time between two lines about the same build.
const EVERY: Duration = Duration::from_secs(15);

/// Cargo aligns the first word of its status lines to this width.
const STATUS_WIDTH: usize = 12;

/// Runs a cargo command that builds `what`, such as "the filter".
///
/// # Errors
/// If it does not run, or if it fails; then the message carries the compiler's errors.
pub fn run(cargo: &mut Command, what: &str) -> Result<()> {
    // Without these, cargo draws its bar only on a terminal.
    cargo.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "80");
    cargo.env("CARGO_TERM_COLOR", "never");
    cargo.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = cargo.spawn().with_context(|| format!("{} does not run", cargo.get_program().display()))?;
    let output = child.stderr.take().context("cargo has no standard error")?;
    let (sender, lines) = channel();
    let reader = thread::spawn(move || read(output, &sender));
    let errors = follow(&lines, what);
    let _ = reader.join();
    if !child.wait()?.success() {
        bail!("building {what} fails:\n{errors}");
    }
    Ok(())
}

/// Sends each line. Cargo ends the lines of its bar with a carriage return.
fn read(output: impl Read, lines: &Sender<String>) {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while let Ok(1..) = output.read_until(b'\n', &mut bytes) {
        for line in String::from_utf8_lossy(&bytes).split(['\r', '\n']) {
            let _ = lines.send(line.replace("\u{1b}[K", ""));
        }
        bytes.clear();
    }
}

/// Shows the progress until the build ends, and returns what cargo said besides.
fn follow(lines: &Receiver<String>, what: &str) -> String {
    let begun = Instant::now();
    let (mut next, mut done, mut said) = (begun + EVERY, None, String::new());
    loop {
        match lines.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(line) if is_bar(&line) => done = crates(&line).or(done),
            Ok(line) if line.is_empty() || is_status(&line) => {}
            Ok(line) => said.extend([&line, "\n"]),
            Err(RecvTimeoutError::Disconnected) => return said,
            Err(RecvTimeoutError::Timeout) => {
                let crates = done.as_ref().map(|done| format!("{done} crates, ")).unwrap_or_default();
                progress(&format!("building {what}: {crates}{} s", begun.elapsed().as_secs()));
                next += EVERY;
            }
        }
    }
}

/// True for a line of cargo's progress bar, such as `   Building [====>   ] 12/140: serde, tokio`.
fn is_bar(line: &str) -> bool {
    line.split_once('[').is_some_and(|(before, _)| matches!(before.trim(), "Building" | "Downloading" | "Fetch"))
}

/// The counts in such a line: `12 of 140`.
fn crates(bar: &str) -> Option<String> {
    let (_, counts) = bar.split_once(']')?;
    let (done, all) = counts.split(':').next()?.trim().split_once('/')?;
    let (done, all): (u32, u32) = (done.parse().ok()?, all.parse().ok()?);
    Some(format!("{done} of {all}"))
}

/// True for cargo's own news, such as `   Compiling serde v1.0.0`. The compiler's messages look different.
fn is_status(line: &str) -> bool {
    let word = line.get(..STATUS_WIDTH).unwrap_or_default().trim_start();
    word.starts_with(char::is_uppercase) && word.chars().all(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<()> {
        run(Command::new("sh").args(["-c", script]), "the test")
    }

    #[test]
    fn the_bar_is_read() {
        let bar = "    Building [====>                     ] 12/140: serde, tokio(build)";
        assert!(is_bar(bar));
        assert_eq!(crates(bar).as_deref(), Some("12 of 140"));
        assert_eq!(crates("    Building [ ] nonsense"), None);
    }

    #[test]
    fn news_of_cargo_are_told_from_messages_of_the_compiler() {
        assert!(is_status("   Compiling serde v1.0.0"));
        assert!(is_status("    Finished `dev` profile"));
        for message in ["error[E0425]: cannot find value `x`", "  --> src/lib.rs:1:1", "   |", ""] {
            assert!(!is_status(message) && !is_bar(message), "{message}");
        }
    }

    #[test]
    fn a_failed_build_shows_the_errors_and_nothing_else() {
        let script =
            r"printf '   Compiling a v1\n    Building [=> ] 1/2: a\r\033[Kerror: no\n --> a.rs\n' >&2; exit 101";
        assert_eq!(shell(script).unwrap_err().to_string(), "building the test fails:\nerror: no\n --> a.rs\n");
        shell("echo 'warning: fine' >&2").unwrap();
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = run(&mut Command::new("/no/such/cargo"), "the test").unwrap_err();
        assert_eq!(error.to_string(), "/no/such/cargo does not run");
    }
}
