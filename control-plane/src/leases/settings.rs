//! What may differ between installations and tests.

use super::protocol::LeaseTimes;

/// The settings of the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The lengths of time. Operators cannot set them: two control planes with different ones would break the promise.
    pub times: LeaseTimes,
    /// The most polls that are held back at a time. A poll beyond that is answered 503, and its worker asks for each
    /// request instead.
    pub most_held: usize,
}

impl Settings {
    /// Settings for an internal listener with this many connections. Over HTTP/1.1 each held poll needs a connection of
    /// its own. A quarter of the connections is left for the checks of workers whose polls were answered 503.
    pub fn on_connections(internal: u32) -> Self {
        let internal = usize::try_from(internal).unwrap_or(usize::MAX);
        Self { times: LeaseTimes::default(), most_held: internal - internal / 4 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::on_connections(4_096)
    }
}
