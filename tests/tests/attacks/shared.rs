//! The one arena of this binary, started by the first story that asks.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Result;
use curfew_testbed::attacks::Arena;

pub(crate) fn arena() -> &'static Arena {
    static ARENA: OnceLock<Result<Arena>> = OnceLock::new();
    match ARENA.get_or_init(Arena::start) {
        Ok(arena) => arena,
        Err(error) => panic!("the arena does not start: {error:#}"),
    }
}

/// Holds the arena for one story: what Envoy and the control plane count could not be told apart for two.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}
