//! The log of revocations as values: a position in it, a commit to it, an entry of it, why an entry was made, and how
//! long it is kept. No I/O. All other rooms use this one.

mod cause;
mod commit;
mod control_plane;
pub mod retention;
mod revocation;

pub use cause::Cause;
pub use commit::Commit;
pub use control_plane::{Beat, ControlPlaneId, ControlPlaneRow, ControlPlanes};
pub use curfew_core::{Epoch, LogPosition};
pub use revocation::{LogPage, Logged};
