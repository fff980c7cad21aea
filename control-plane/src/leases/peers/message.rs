//! What control planes tell each other, as bytes. Pure.
//!
//! A message is a version, the sender, entries of one length, and a MAC over all of it by a key that follows from the
//! internal secret. Redis carries other things, too, and whoever may write there could else make a logout be answered too
//! early. A message that is heard again, or late, does no harm: all that is told stays true.

use curfew_core::{Epoch, WorkerId};
use hmac_sha256::HMAC;
use subtle::ConstantTimeEq;

use crate::leases::protocol::Ack;
use crate::log::{ControlPlaneId, LogPosition};
use crate::secret::Secret;

/// The first byte of each message. A control plane that does not know it hears nothing, and finds out by the database.
const VERSION: u8 = 1;

/// Kind, name, epoch, seq.
const ENTRY: usize = 1 + 16 + 16 + 8;
const HEAD: usize = 1 + 16;
const MAC: usize = 32;

/// Entries of one message at most.
pub(in crate::leases) const MOST_ENTRIES: usize = 1_000;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::leases) enum PeerMessage {
    /// The log reaches so far. A hint to read it, and nothing that is counted on.
    Head(LogPosition),
    /// What a worker has said.
    Ack(Ack),
    /// What the sender confirms.
    Confirmed(LogPosition),
}

/// Writes and reads messages of those who know the same secret.
#[derive(Clone)]
pub(in crate::leases) struct Code {
    key: [u8; 32],
}

impl Code {
    pub(in crate::leases) fn of(secret: &Secret) -> Self {
        Self { key: HMAC::mac(b"curfew: what control planes tell each other", secret.reveal().as_bytes()) }
    }

    pub(in crate::leases) fn write(&self, sender: ControlPlaneId, told: &[PeerMessage]) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEAD + ENTRY * told.len() + MAC);
        message.push(VERSION);
        message.extend(sender.as_bytes());
        told.iter().for_each(|told| write_entry(*told, &mut message));
        let mac = HMAC::mac(&message, self.key);
        message.extend(mac);
        message
    }

    /// Nothing for a message that is not whole, or not of one who knows the secret.
    pub(in crate::leases) fn read(&self, message: &[u8]) -> Option<(ControlPlaneId, Vec<PeerMessage>)> {
        let (said, mac) = message.split_last_chunk::<MAC>()?;
        if !bool::from(HMAC::mac(said, self.key).ct_eq(mac)) {
            return None;
        }
        let (version, rest) = said.split_first()?;
        let (sender, entries) = rest.split_first_chunk::<16>()?;
        if *version != VERSION || entries.len() % ENTRY != 0 {
            return None;
        }
        // A kind that a later version has added under the same number says nothing here.
        let told = entries.chunks_exact(ENTRY).filter_map(read_entry).collect();
        Some((ControlPlaneId::from_bytes(*sender), told))
    }
}

const NOBODY: [u8; 16] = [0; 16];
const NOWHERE: LogPosition = LogPosition { epoch: Epoch::from_bytes([0; 16]), seq: 0 };

fn write_entry(told: PeerMessage, message: &mut Vec<u8>) {
    let (kind, name, head) = match told {
        PeerMessage::Head(head) => (1, NOBODY, head),
        PeerMessage::Ack(Ack { worker, held: Some(head) }) => (2, *worker.as_bytes(), head),
        PeerMessage::Ack(Ack { worker, held: None }) => (3, *worker.as_bytes(), NOWHERE),
        PeerMessage::Confirmed(head) => (4, NOBODY, head),
    };
    message.push(kind);
    message.extend(name);
    message.extend(head.epoch.as_bytes());
    message.extend(head.seq.to_be_bytes());
}

fn read_entry(entry: &[u8]) -> Option<PeerMessage> {
    let (kind, rest) = entry.split_first()?;
    let (name, rest) = rest.split_first_chunk::<16>()?;
    let (epoch, rest) = rest.split_first_chunk::<16>()?;
    let seq = u64::from_be_bytes(*rest.first_chunk::<8>()?);
    let (worker, head) = (WorkerId::from_bytes(*name), LogPosition { epoch: Epoch::from_bytes(*epoch), seq });
    // No log reaches so far; to the barrier it would mean that the worker has left.
    let held = (seq <= i64::MAX.unsigned_abs()).then_some(head);
    match kind {
        1 => held.map(PeerMessage::Head),
        2 => held.map(|head| PeerMessage::Ack(Ack { worker, held: Some(head) })),
        3 => Some(PeerMessage::Ack(Ack { worker, held: None })),
        4 => held.map(PeerMessage::Confirmed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: ControlPlaneId = ControlPlaneId::from_bytes([7; 16]);

    fn code(secret: &str) -> Code {
        Code::of(&Secret::new(secret))
    }

    fn head(seq: u64) -> LogPosition {
        LogPosition { epoch: Epoch::from_bytes([3; 16]), seq }
    }

    fn everything() -> Vec<PeerMessage> {
        let worker = WorkerId::from_bytes([9; 16]);
        vec![
            PeerMessage::Head(head(1)),
            PeerMessage::Ack(Ack { worker, held: Some(head(2)) }),
            PeerMessage::Ack(Ack { worker, held: None }),
            PeerMessage::Confirmed(head(3)),
        ]
    }

    #[test]
    fn what_is_written_is_read_by_those_who_know_the_secret() {
        let message = code("secret").write(SENDER, &everything());
        assert_eq!(message.len(), 17 + 4 * 41 + 32);
        assert_eq!(code("secret").read(&message), Some((SENDER, everything())));
        assert_eq!(code("another").read(&message), None);
        let silence = code("secret").write(SENDER, &[]);
        assert_eq!(code("secret").read(&silence), Some((SENDER, vec![])));
    }

    #[test]
    fn a_message_that_was_touched_says_nothing() {
        let message = code("secret").write(SENDER, &everything());
        for place in 0..message.len() {
            let mut touched = message.clone();
            touched[place] ^= 1;
            assert_eq!(code("secret").read(&touched), None, "byte {place}");
            assert_eq!(code("secret").read(&message[..place]), None, "{place} bytes");
        }
    }

    #[test]
    fn other_versions_kinds_and_lengths_say_nothing() {
        let signed = |mut message: Vec<u8>| {
            let mac = HMAC::mac(&message, code("secret").key);
            message.extend(mac);
            code("secret").read(&message)
        };
        let mut message = [&[VERSION][..], &[7; 16], &[5], &[0; 40]].concat();
        assert_eq!(signed(message.clone()), Some((SENDER, vec![])), "an unknown kind");
        assert_eq!(signed(message[..57].to_vec()), None);
        message[0] = 2;
        assert_eq!(signed(message), None);
    }

    #[test]
    fn a_place_that_is_in_no_log_is_not_believed() {
        let told =
            [PeerMessage::Confirmed(head(u64::MAX)), PeerMessage::Head(head(1 << 63)), PeerMessage::Confirmed(head(5))];
        let read = code("secret").read(&code("secret").write(SENDER, &told));
        assert_eq!(read, Some((SENDER, vec![PeerMessage::Confirmed(head(5))])));
    }
}
