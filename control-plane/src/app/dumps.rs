//! No core dumps: an image of this process's memory on disk would hold every secret, and the tokens of the moment.
//!
//! The limit alone does not do: a kernel that pipes dumps to a program ignores it. A process that is not dumpable is not dumped at
//! all, and other processes of its user cannot read its memory, its environment or its open files either. Only root can trace it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tracing::warn;

/// Forbids them, for this process.
pub(super) fn forbid() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let forbidden = setrlimit(Resource::Core, none).and(set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = forbidden {
        warn!(%error, "core dumps could not be forbidden");
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn no_memory_of_this_process_is_written_to_disk() {
        forbid();
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
