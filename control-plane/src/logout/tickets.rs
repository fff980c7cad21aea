//! Tickets: names for positions in the log that clients take home and bring to any control plane. Pure.
//!
//! A ticket is the position itself and a MAC over it, so nothing has to be kept for it, and nobody can make one up. The seq in
//! it tells its holder how many revocations there were before; that is no secret worth a cipher of our own.

use ct_codecs::{Decoder, Encoder, Hex};
use hmac_sha256::HMAC;
use subtle::ConstantTimeEq;

use crate::log::{Epoch, LogPosition};
use crate::secret::Secret;

const POSITION: usize = 16 + 8;
/// Half of the MAC is enough: a guess succeeds with a probability of 2^-128.
const TAG: usize = 16;

/// Writes and reads the tickets of all control planes with one secret.
pub(super) struct Tickets {
    key: [u8; 32],
}

impl Tickets {
    pub(super) fn of(secret: &Secret) -> Self {
        Self { key: HMAC::mac(b"curfew: tickets", secret.reveal().as_bytes()) }
    }

    pub(super) fn write(&self, position: LogPosition) -> String {
        let place = [&position.epoch.as_bytes()[..], &position.seq.to_be_bytes()].concat();
        // Encoding into a String that grows does not fail.
        Hex::encode_to_string([&place[..], &self.tag(&place)].concat()).unwrap_or_default()
    }

    pub(super) fn read(&self, ticket: &str) -> Option<LogPosition> {
        let mut bytes = [0; POSITION + TAG];
        let bytes = Hex::decode(&mut bytes, ticket, None).ok()?;
        let (place, tag) = bytes.split_first_chunk::<POSITION>()?;
        if !bool::from(self.tag(place).ct_eq(tag)) {
            return None;
        }
        let (epoch, seq) = place.split_first_chunk::<16>()?;
        Some(LogPosition { epoch: Epoch::from_bytes(*epoch), seq: u64::from_be_bytes(seq.try_into().ok()?) })
    }

    fn tag(&self, place: &[u8]) -> [u8; TAG] {
        let mac = HMAC::mac(place, self.key);
        mac.first_chunk::<TAG>().copied().unwrap_or_default()
    }
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
    fn a_ticket_is_redeemed_by_those_who_know_the_secret() {
        let ticket = tickets("secret").write(position(7));
        assert_eq!(ticket.len(), 80);
        assert_eq!(tickets("secret").read(&ticket), Some(position(7)));
        assert_eq!(tickets("another").read(&ticket), None);
    }

    #[test]
    fn a_ticket_that_was_made_up_or_changed_is_none() {
        let ticket = tickets("secret").write(position(7));
        for place in 0..80 {
            let mut changed = ticket.clone().into_bytes();
            changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
            assert_eq!(tickets("secret").read(std::str::from_utf8(&changed).unwrap()), None, "digit {place}");
        }
        for wrong in ["", "00", "x", &ticket[..78], &format!("{ticket}00"), "../../etc/passwd"] {
            assert_eq!(tickets("secret").read(wrong), None, "{wrong}");
        }
    }
}
