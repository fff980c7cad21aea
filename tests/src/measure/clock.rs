//! The processor time of Envoy's worker thread.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::machine::Cores;

/// The name that Envoy gives its first worker thread.
const WORKER: &str = "wrk:worker_0";

/// Reads how long one thread has run, by the kernel's count, which does not include waiting for a core.
#[derive(Debug)]
pub struct WorkerClock {
    task: PathBuf,
}

impl WorkerClock {
    /// The clock of the only worker thread of this process.
    ///
    /// # Errors
    /// When the process has no such thread, or several workers, whose single times would mean little.
    pub fn of(process: u32) -> Result<Self> {
        let tasks = PathBuf::from(format!("/proc/{process}/task"));
        let tasks = fs::read_dir(&tasks).with_context(|| format!("cannot read {}", tasks.display()))?;
        let tasks: Vec<PathBuf> = tasks.flatten().map(|entry| entry.path()).collect();
        let named =
            |start: &str| tasks.iter().filter(|task| name(task).starts_with(start)).cloned().collect::<Vec<_>>();
        if named("wrk:worker_").len() > 1 {
            bail!("Envoy has several worker threads: start it with a concurrency of 1");
        }
        let task = named(WORKER).pop().with_context(|| format!("process {process} has no thread {WORKER}"))?;
        Ok(Self { task })
    }

    /// The thread id.
    ///
    /// # Errors
    /// If `/proc` changes its form.
    pub fn thread(&self) -> Result<u32> {
        let number = self.task.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        number.with_context(|| format!("{} names no thread", self.task.display()))
    }

    /// Gives the worker and the calling thread, the client, a core each if there are two. Other programs still run on
    /// both. False if there is only one core.
    ///
    /// # Errors
    /// When util-linux's `taskset` is missing or refused.
    pub fn pin(&self) -> Result<bool> {
        let cores = Cores::two();
        if let Some(cores) = cores {
            cores.pin(self.thread()?)?;
        }
        Ok(cores.is_some())
    }

    /// How long the thread has run since it began.
    ///
    /// # Errors
    /// When the thread is gone, or the kernel keeps no such count.
    pub fn read(&self) -> Result<Duration> {
        let path = self.task.join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let run = text.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse().ok());
        let run = run.filter(|nanoseconds| *nanoseconds > 0);
        Ok(Duration::from_nanos(run.with_context(|| format!("{}: {text:?}", path.display()))?))
    }
}

fn name(task: &Path) -> String {
    fs::read_to_string(task.join("comm")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn a_worker_is_found_by_its_name_and_its_work_is_counted() {
        let own = std::process::id();
        assert!(WorkerClock::of(own).unwrap_err().to_string().contains("no thread wrk:worker_0"));
        let ((work, told), (done, finished)) = (channel::<()>(), channel());
        let worker = thread::Builder::new().name(WORKER.to_owned()).spawn(move || {
            for () in told {
                // SHA-256 of some megabytes: work that the compiler cannot remove.
                done.send(crate::tokens::sha256(&vec![7; 1 << 22])).unwrap();
            }
        });
        work.send(()).unwrap();
        finished.recv().unwrap();
        let clock = WorkerClock::of(own).unwrap();
        let before = clock.read().unwrap();
        for _ in 0..8 {
            work.send(()).unwrap();
            finished.recv().unwrap();
        }
        assert!(clock.read().unwrap() > before);
        assert!(clock.thread().unwrap() > 0);
        drop(work);
        worker.unwrap().join().unwrap();
    }
}
