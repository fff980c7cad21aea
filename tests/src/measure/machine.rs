//! The machine that figures were measured on, and its cores.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// A core for the worker and another for the client, so that neither waits for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    worker: u32,
    client: u32,
}

impl Cores {
    /// Two of the cores that this process may use; `None` if it has only one.
    pub fn two() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        match *cores(list).as_slice() {
            [worker, client, ..] => Some(Self { worker, client }),
            _ => None,
        }
    }

    /// Keeps a thread, such as Envoy's worker, on the first core and the calling thread on the second.
    ///
    /// # Errors
    /// When util-linux's `taskset` is missing or refused.
    pub fn pin(self, worker_thread: u32) -> Result<()> {
        taskset(self.worker, worker_thread)?;
        let own = fs::read_link("/proc/thread-self")?;
        let own = own.file_name().and_then(|name| name.to_str()).context("/proc/thread-self names no thread")?;
        taskset(self.client, own.parse()?)
    }
}

/// The numbers in a list such as `0-2,5`.
fn cores(list: &str) -> Vec<u32> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
    });
    ranges.flatten().collect()
}

fn taskset(core: u32, thread: u32) -> Result<()> {
    let output = Command::new("taskset").args(["-cp", &core.to_string(), &thread.to_string()]).output();
    let output = output.context("taskset (util-linux) does not run")?;
    ensure!(output.status.success(), "taskset: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Processor, cores and load, for comparing figures.
pub fn description() -> Value {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = file("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = file("/proc/loadavg");
    let load: Vec<f64> = load.split(' ').take(3).filter_map(|number| number.parse().ok()).collect();
    json!({"processor": model.map(|(_, name)| name), "cores": cores, "load_average": load})
}

/// The resident memory of a process.
///
/// # Errors
/// When there is no such process.
pub fn resident_bytes(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.context("no VmRSS")?.parse()?;
    Ok(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::cores;

    #[test]
    fn a_list_of_cores_is_read() {
        assert_eq!(cores("\t0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(cores("3"), [3]);
        assert_eq!(cores(""), Vec::<u32>::new());
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(super::resident_bytes(std::process::id()).unwrap() > 1 << 20);
    }
}
