//! The other control planes: their rows in SQL, this one's row, and what they tell each other through Redis.

pub mod gossip;
pub(super) mod message;
pub(super) mod own_row;
pub(super) mod rows;

use tokio::sync::mpsc;

use message::PeerMessage;

/// Messages that may wait to be sent.
const OUTBOX: usize = 16_384;

/// Where messages to other control planes wait to be sent.
pub(super) type Outbox = mpsc::Sender<PeerMessage>;

/// Makes both ends.
pub(super) fn outbox() -> (Outbox, mpsc::Receiver<PeerMessage>) {
    mpsc::channel(OUTBOX)
}
