//! The queue of messages to other control planes, for the task that sends them.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use super::message::PeerMessage;

/// The most messages that may wait to be sent.
const MOST_WAITING: usize = 16_384;

/// The queue, and whether messages arrive.
pub(in crate::leases) struct Outbox {
    sender: mpsc::Sender<PeerMessage>,
    /// The other end, until the task has taken it.
    receiver: Mutex<Option<mpsc::Receiver<PeerMessage>>>,
    /// True while messages arrive.
    heard: watch::Sender<bool>,
}

impl Outbox {
    /// An empty outbox. Nothing is sent before [`Self::set_heard`] says that messages arrive.
    pub(in crate::leases) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        Self { sender, receiver: Mutex::new(Some(receiver)), heard: watch::Sender::new(false) }
    }

    /// Queues a message if messages arrive. A lost message costs time and nothing else.
    pub(in crate::leases) fn tell(&self, message: PeerMessage) {
        if self.is_heard() {
            let _ = self.sender.try_send(message);
        }
    }

    /// True if messages reach the others quickly: this control plane receives its own messages.
    pub(in crate::leases) fn is_heard(&self) -> bool {
        *self.heard.borrow()
    }

    /// Sets whether messages arrive; returns the old value.
    pub(super) fn set_heard(&self, heard: bool) -> bool {
        self.heard.send_replace(heard)
    }

    /// The messages to send; `None` if they were taken before.
    pub(super) fn take_receiver(&self) -> Option<mpsc::Receiver<PeerMessage>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
