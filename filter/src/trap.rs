//! Traps on command, so that the end-to-end stories can measure what a trap costs. Not in the shipped module: only the
//! feature `trap` compiles this, and only the tests ask for it.
//!
//! A request names the place in a header: `headers` traps at once, the others in the VM's next callback of that kind,
//! whoever it is for.

use std::cell::Cell;

use crate::host;
use crate::request::Request;

/// The header that carries the command. The message below has it too: there it stands in the module as it is, where the
/// test that looks for it in the shipped module finds it.
const HEADER: &[u8] = b"x-curfew-trap";

/// Where to trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The headers callback of the request that carries the command.
    Headers,
    /// A body callback of a stream.
    Body,
    /// The callback with a callout's answer.
    Answer,
    /// The tick.
    Tick,
}

thread_local! {
    /// A VM has one thread. What survives a trap is nobody's: the VM is gone.
    static ARMED: Cell<Option<Place>> = const { Cell::new(None) };
}

/// Reads a request's command. A tick is asked for, because the filter wants none while nothing is under way.
pub(crate) fn arm(request: &Request<'_>) {
    let command = request.headers().find(|(name, _)| *name == HEADER).map(|(_, value)| value);
    let place = match command {
        Some(b"headers") => Place::Headers,
        Some(b"body") => Place::Body,
        Some(b"answer") => Place::Answer,
        Some(b"tick") => Place::Tick,
        _ => return,
    };
    ARMED.set(Some(place));
    if place == Place::Tick {
        host::tick(1);
    }
    reach(Place::Headers);
}

/// Traps, if this is the place.
#[expect(clippy::panic, reason = "this is the trap: a panic, as a defect of ours would be")]
pub(crate) fn reach(place: Place) {
    if ARMED.get() == Some(place) {
        panic!("asked for by x-curfew-trap: {place:?}");
    }
}
