//! A process and everything it started, read from `/proc`.
//!
//! A server is often several processes. PostgreSQL even gives each of them a session of its own, so neither a signal to
//! the process group nor one to the parent reaches them all.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long the kernel may take to remove processes that were killed.
const GONE_LIMIT: Duration = Duration::from_secs(10);

/// The processes that `root` started, directly or not. Empty if there is no `/proc`.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let parents = std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, parent(pid)?))
    });
    let parents: Vec<(u32, u32)> = parents.collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| child));
        next += 1;
    }
    found.split_off(1)
}

/// Sends a signal to each; those that have ended meanwhile are no error.
pub(crate) fn signal(pids: &[u32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        let _ = kill_process(pid, signal);
    }
}

/// Waits until none of them runs any more: only then are their ports, locks and shared memory free.
pub(crate) fn wait_until_gone(pids: &[u32]) {
    let deadline = Instant::now() + GONE_LIMIT;
    while pids.iter().any(|pid| runs(*pid)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
}

fn runs(pid: u32) -> bool {
    fields(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

fn parent(pid: u32) -> Option<u32> {
    fields(pid).map(|(_, parent)| parent)
}

/// State and parent of a process: the two fields after its name, which is in parentheses and may hold anything.
fn fields(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_that_left_its_process_group_is_still_family() {
        let mut child = Command::new("setsid").args(["--fork", "--wait", "sleep", "600"]).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let family = loop {
            let family = descendants(child.id());
            if !family.is_empty() || Instant::now() > deadline {
                break family;
            }
        };
        signal(&family, Signal::KILL);
        wait_until_gone(&family);
        child.wait().unwrap();
        assert_eq!(family.len(), 1);
        assert!(!runs(family[0]));
    }
}
