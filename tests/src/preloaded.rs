//! Clocks that run wrong: a small library that the dynamic linker loads before the C library, so that a real process reads
//! bent or wrongly set clocks.
//!
//! A kernel would bend its clocks for all processes of the machine. This bends them for one, so that the parts of a mesh on
//! one machine can differ. It works for programs that ask the C library for the time, as `curfew` and Envoy do.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, Result, ensure};

use crate::workspace;

/// How the clocks of a process run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// By how many millionths the monotonic clocks are too fast; negative if they are too slow.
    pub bent_ppm: i32,
    /// By how many seconds the wall clock is ahead; negative if it is behind.
    pub ahead_seconds: i64,
}

impl Clocks {
    /// True clocks.
    pub const TRUE: Self = Self { bent_ppm: 0, ahead_seconds: 0 };

    /// The variables that give a process these clocks.
    ///
    /// # Errors
    /// If the library cannot be compiled: a C compiler is needed, as for the control plane itself.
    pub fn variables(self) -> Result<Vec<(&'static str, String)>> {
        if self == Self::TRUE {
            return Ok(Vec::new());
        }
        let library = library()?.to_string_lossy().into_owned();
        let (bent, ahead) = (self.bent_ppm.to_string(), self.ahead_seconds.to_string());
        Ok(vec![("LD_PRELOAD", library), ("BENT_CLOCK_PPM", bent), ("SET_CLOCK_SECONDS", ahead)])
    }
}

/// Compiles the library; returns its path.
fn library() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut made = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(path) = made.as_ref() {
        return Ok(path.clone());
    }
    let directory = workspace::generated("preloaded")?;
    let (source, library) = (workspace::root().join("tests/src/preloaded/clock.c"), directory.join("clock.so"));
    // Other test programs may load the library at this moment.
    let next = directory.join(format!("clock.{}.so", std::process::id()));
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut compile = Command::new(compiler);
    compile.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&next).arg(&source);
    let output = compile.output().context("no C compiler")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&next, &library)?;
    *made = Some(library.clone());
    Ok(library)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;

    #[test]
    fn true_clocks_need_nothing() {
        assert_eq!(Clocks::TRUE.variables().unwrap(), []);
    }

    #[test]
    fn a_process_reads_the_wall_clock_that_it_was_given() {
        let clocks = Clocks { bent_ppm: 0, ahead_seconds: 40 * 24 * 3600 };
        let date = Command::new("date").arg("+%s").envs(clocks.variables().unwrap()).output().unwrap();
        let shown: u64 = String::from_utf8(date.stdout).unwrap().trim().parse().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!((40 * 24 * 3600..40 * 24 * 3600 + 5).contains(&(shown - now)), "{shown}, {now}");
    }

    /// Python reads the monotonic clock through the C library, and the harness needs a Python anyway.
    #[test]
    fn a_process_reads_the_bent_clock_that_it_was_given() {
        let clocks = Clocks { bent_ppm: 500_000, ahead_seconds: 0 };
        let program = "import time; a = time.monotonic(); time.sleep(0.3); print(time.monotonic() - a)";
        let (started, mut python) = (Instant::now(), Command::new("python3"));
        let output = python.args(["-c", program]).envs(clocks.variables().unwrap()).output().unwrap();
        let shown: f64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let most = started.elapsed().mul_f64(1.5);
        assert!(shown >= 0.449 && Duration::from_secs_f64(shown) <= most, "{shown} s, {most:?}");
    }
}
