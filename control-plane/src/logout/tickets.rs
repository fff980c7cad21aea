//! Tickets: positions in the log, encoded so that any control plane can redeem them. Pure.
//!
//! A ticket is the position itself and a MAC over it, so a control plane stores nothing for it, and a client cannot
//! make one up. The seq in it tells its holder how many revocations there were before. That is not worth encrypting.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::log::{Epoch, LogPosition};
use crate::secret::Secret;

const POSITION: usize = 16 + 8;
/// Half of the MAC is enough: a guess succeeds with a probability of 2^-128.
const TAG: usize = 16;

/// Writes and reads the tickets of all control planes with one secret.
pub(super) struct Tickets {
    /// The keyed state. A clone of it makes one MAC.
    mac: Hmac<Sha256>,
}

impl Tickets {
    pub(super) fn of(secret: &Secret) -> Self {
        // The secret has other uses, too, so the key is derived from it for tickets alone.
        let key = keyed(&Sha256::digest(secret.reveal())).chain_update(b"curfew: tickets").finalize();
        Self { mac: keyed(&key.into_bytes()) }
    }

    pub(super) fn write(&self, position: LogPosition) -> String {
        let position = [&position.epoch.as_bytes()[..], &position.seq.to_be_bytes()].concat();
        let mac = self.mac.clone().chain_update(&position).finalize().into_bytes();
        let tag = mac.into_iter().take(TAG);
        URL_SAFE_NO_PAD.encode(position.into_iter().chain(tag).collect::<Vec<_>>())
    }

    pub(super) fn read(&self, ticket: &str) -> Option<LogPosition> {
        let bytes = URL_SAFE_NO_PAD.decode(ticket).ok().filter(|bytes| bytes.len() == POSITION + TAG)?;
        let (position, tag) = bytes.split_first_chunk::<POSITION>()?;
        self.mac.clone().chain_update(position).verify_truncated_left(tag).ok()?;
        let (epoch, seq) = position.split_first_chunk::<16>()?;
        Some(LogPosition { epoch: Epoch::from_bytes(*epoch), seq: u64::from_be_bytes(seq.try_into().ok()?) })
    }
}

/// HMAC with a key of this length, which RFC 2104 pads to a block.
fn keyed(key: &sha2::digest::Output<Sha256>) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(padded, byte)| *padded = *byte);
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(secret: &str) -> Tickets {
        Tickets::of(&Secret::new(secret))
    }

    fn position(seq: u64) -> LogPosition {
        LogPosition { epoch: Epoch::from_bytes([3; 16]), seq }
    }

    #[test]
    fn control_planes_with_the_same_secret_redeem_a_ticket() {
        let ticket = tickets("secret").write(position(7));
        assert_eq!(ticket.len(), 54);
        assert_eq!(tickets("secret").read(&ticket), Some(position(7)));
        assert_eq!(tickets("another").read(&ticket), None);
    }

    #[test]
    fn a_forged_or_changed_ticket_is_refused() {
        let ticket = tickets("secret").write(position(7));
        for place in 0..54 {
            let mut changed = ticket.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert_eq!(tickets("secret").read(std::str::from_utf8(&changed).unwrap()), None, "character {place}");
        }
        for wrong in ["", "00", "x", &ticket[..52], &format!("{ticket}00"), &format!("{ticket}="), "../../etc/passwd"] {
            assert_eq!(tickets("secret").read(wrong), None, "{wrong}");
        }
    }
}
