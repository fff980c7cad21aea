//! The arenas of this binary, each started by the first story that needs it.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Result;
use curfew_testbed::attacks::{Arena, Mode};

/// As it is shipped.
pub(crate) fn arena() -> &'static Arena {
    arena_in(Mode::Strict)
}

pub(crate) fn arena_in(mode: Mode) -> &'static Arena {
    static ARENAS: [OnceLock<Result<Arena>>; 2] = [OnceLock::new(), OnceLock::new()];
    let [strict, bounded] = &ARENAS;
    let arena = if mode == Mode::Strict { strict } else { bounded };
    match arena.get_or_init(|| Arena::start(mode)) {
        Ok(arena) => arena,
        Err(error) => panic!("the arena does not start: {error:#}"),
    }
}

/// Holds the arena for one story, because the counters of Envoy and the control plane do not distinguish two stories.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}
