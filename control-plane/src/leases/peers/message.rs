//! The messages between control planes, as bytes. Pure.
//!
//! On the wire a message is a version, the sender, entries of one length, and a MAC over all of it. The key of the MAC
//! is derived from the internal secret. Without the MAC, anyone with write access to Redis could make a logout be
//! answered too early. A message that arrives twice or late does no harm, because its content stays true.

use curfew_core::{Epoch, WorkerId};
use hmac::digest::InvalidLength;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::leases::protocol::Ack;
use crate::log::{ControlPlaneId, LogPosition};
use crate::secret::Secret;

/// The first byte of each message. A control plane that does not know the version ignores the message, and works as if
/// it were lost.
const VERSION: u8 = 1;

/// The length of an entry: kind, id, epoch, seq.
const ENTRY: usize = 1 + 16 + 16 + 8;
const HEAD: usize = 1 + 16;
const MAC: usize = 32;

/// The most entries of one message.
pub(in crate::leases) const MOST_ENTRIES: usize = 1_000;

/// One entry of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::leases) enum PeerMessage {
    /// The log's head. This is a hint to read the log, and nothing relies on it.
    Head(LogPosition),
    /// A worker has acknowledged a position or has left.
    Ack(Ack),
    /// The sender confirms everything up to here.
    Confirmed(LogPosition),
}

/// Writes and reads the messages of all control planes with the same secret.
#[derive(Clone)]
pub(in crate::leases) struct MessageCode {
    /// The keyed state. Each message's MAC begins with a copy of it.
    mac: Hmac<Sha256>,
}

impl MessageCode {
    /// The code of the control planes with this secret.
    ///
    /// # Errors
    ///
    /// It does not fail: an HMAC takes a key of any length.
    pub(in crate::leases) fn of(secret: &Secret) -> Result<Self, InvalidLength> {
        let derive = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())?;
        let key = derive.chain_update(b"curfew: what control planes tell each other").finalize();
        Ok(Self { mac: Hmac::new_from_slice(&key.into_bytes())? })
    }

    pub(in crate::leases) fn write(&self, sender: ControlPlaneId, messages: &[PeerMessage]) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEAD + ENTRY * messages.len() + MAC);
        message.push(VERSION);
        message.extend(sender.as_bytes());
        messages.iter().for_each(|entry| write_entry(*entry, &mut message));
        let mac = self.mac.clone().chain_update(&message).finalize();
        message.extend(mac.into_bytes());
        message
    }

    /// `None` for a message that is not whole, or whose sender does not know the secret.
    pub(in crate::leases) fn read(&self, message: &[u8]) -> Option<(ControlPlaneId, Vec<PeerMessage>)> {
        let (signed, mac) = message.split_last_chunk::<MAC>()?;
        self.mac.clone().chain_update(signed).verify(mac.into()).ok()?;
        let (version, rest) = signed.split_first()?;
        let (sender, entries) = rest.split_first_chunk::<16>()?;
        if *version != VERSION || entries.len() % ENTRY != 0 {
            return None;
        }
        // A later release may have added kinds without a new version. Entries of unknown kinds are ignored.
        let messages = entries.chunks_exact(ENTRY).filter_map(read_entry).collect();
        Some((ControlPlaneId::from_bytes(*sender), messages))
    }
}

const NOBODY: [u8; 16] = [0; 16];
const NOWHERE: LogPosition = LogPosition { epoch: Epoch::from_bytes([0; 16]), seq: 0 };

fn write_entry(entry: PeerMessage, message: &mut Vec<u8>) {
    let (kind, name, head) = match entry {
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
    // No log has a higher seq than this, and the barrier takes the highest number to mean that the worker has left.
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

    fn code(secret: &str) -> MessageCode {
        MessageCode::of(&Secret::new(secret)).unwrap()
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
    fn a_message_is_read_by_control_planes_with_the_same_secret() {
        let message = code("secret").write(SENDER, &everything());
        assert_eq!(message.len(), 17 + 4 * 41 + 32);
        assert_eq!(code("secret").read(&message), Some((SENDER, everything())));
        assert_eq!(code("another").read(&message), None);
        let silence = code("secret").write(SENDER, &[]);
        assert_eq!(code("secret").read(&silence), Some((SENDER, vec![])));
    }

    #[test]
    fn a_message_that_was_changed_is_ignored() {
        let message = code("secret").write(SENDER, &everything());
        for place in 0..message.len() {
            let mut touched = message.clone();
            touched[place] ^= 1;
            assert_eq!(code("secret").read(&touched), None, "byte {place}");
            assert_eq!(code("secret").read(&message[..place]), None, "{place} bytes");
        }
    }

    #[test]
    fn other_versions_kinds_and_lengths_are_ignored() {
        let signed = |mut message: Vec<u8>| {
            let mac = code("secret").mac.chain_update(&message).finalize();
            message.extend(mac.into_bytes());
            code("secret").read(&message)
        };
        let mut message = [&[VERSION][..], &[7; 16], &[5], &[0; 40]].concat();
        assert_eq!(signed(message.clone()), Some((SENDER, vec![])), "an unknown kind");
        assert_eq!(signed(message[..57].to_vec()), None);
        message[0] = 2;
        assert_eq!(signed(message), None);
    }

    #[test]
    fn a_position_that_is_in_no_log_is_ignored() {
        let told =
            [PeerMessage::Confirmed(head(u64::MAX)), PeerMessage::Head(head(1 << 63)), PeerMessage::Confirmed(head(5))];
        let read = code("secret").read(&code("secret").write(SENDER, &told));
        assert_eq!(read, Some((SENDER, vec![PeerMessage::Confirmed(head(5))])));
    }
}
