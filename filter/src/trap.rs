//! Traps on command, so that the end-to-end stories can measure what a trap costs. The shipped module does not have
//! this: only the feature `trap` compiles it, and only the tests use that feature.
//!
//! A request names the place in a header: `headers` traps at once, the others in the VM's next callback of that kind,
//! of any stream.

use std::cell::Cell;

use crate::host;
use crate::request::Request;

/// The header that carries the command. The message below has it too, so that its text stands in the module: a test
/// looks for it in the shipped one.
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
    /// A VM has one thread, and a trap ends the VM.
    static ARMED: Cell<Option<Place>> = const { Cell::new(None) };
}

/// Reads a request's command. It asks for a tick, because the filter needs none while nothing is under way.
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

/// Traps if this is the armed place.
#[expect(clippy::panic, reason = "this is the trap: a panic, as a defect of ours would be")]
pub(crate) fn reach(place: Place) {
    if ARMED.get() == Some(place) {
        panic!("asked for by x-curfew-trap: {place:?}");
    }
}
