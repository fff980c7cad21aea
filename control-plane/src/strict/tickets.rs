//! Tickets: names for places in the log that clients take home, and bring to any control plane. Pure.
//!
//! They are the place itself, made unreadable and unforgeable: nothing has to be kept for them, and a client learns
//! nothing from them about how many others log out. The MAC over the place is also what hides it (a synthetic IV), so one
//! place has one ticket.

use ct_codecs::{Decoder, Encoder, Hex};
use curfew_core::Epoch;
use hmac_sha256::HMAC;
use subtle::ConstantTimeEq;

use crate::barrier::Head;
use crate::secret::Secret;

const TAG: usize = 16;
const PLACE: usize = 16 + 8;

/// Writes and reads tickets of all control planes with one secret.
pub(super) struct Tickets {
    proving: [u8; 32],
    hiding: [u8; 32],
}

impl Tickets {
    pub(super) fn of(secret: &Secret) -> Self {
        let key = |purpose: &str| HMAC::mac(purpose, secret.reveal().as_bytes());
        Self { proving: key("curfew: tickets, to prove"), hiding: key("curfew: tickets, to hide") }
    }

    pub(super) fn write(&self, head: Head) -> String {
        let place = [&head.epoch.as_bytes()[..], &head.seq.to_be_bytes()].concat();
        let tag = self.tag(&place);
        // Encoding into a String that grows does not fail.
        Hex::encode_to_string([&tag[..], &self.hidden(tag, &place)].concat()).unwrap_or_default()
    }

    pub(super) fn read(&self, ticket: &str) -> Option<Head> {
        let mut bytes = [0; TAG + PLACE];
        let bytes = Hex::decode(&mut bytes, ticket, None).ok()?;
        let (tag, hidden) = bytes.split_first_chunk::<TAG>()?;
        let place = self.hidden(*tag, hidden);
        let (epoch, seq) = place.split_first_chunk::<16>()?;
        let seq = u64::from_be_bytes(seq.try_into().ok()?);
        let genuine = bool::from(self.tag(&place).ct_eq(tag));
        genuine.then_some(Head { epoch: Epoch::from_bytes(*epoch), seq })
    }

    fn tag(&self, place: &[u8]) -> [u8; TAG] {
        let mac = HMAC::mac(place, self.proving);
        mac.first_chunk::<TAG>().copied().unwrap_or_default()
    }

    /// Hides what is shown, and shows what is hidden.
    fn hidden(&self, tag: [u8; TAG], place: &[u8]) -> Vec<u8> {
        let veil = HMAC::mac(tag, self.hiding);
        place.iter().zip(veil).map(|(byte, veil)| byte ^ veil).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(secret: &str) -> Tickets {
        Tickets::of(&Secret::new(secret))
    }

    fn head(seq: u64) -> Head {
        Head { epoch: Epoch::from_bytes([3; 16]), seq }
    }

    #[test]
    fn a_ticket_is_read_by_those_who_know_the_secret_and_says_nothing_to_others() {
        let ticket = tickets("secret").write(head(7));
        assert_eq!(ticket.len(), 80);
        assert_eq!(tickets("secret").read(&ticket), Some(head(7)));
        assert_eq!(tickets("another").read(&ticket), None);
        assert!(!ticket.contains("0303"), "{ticket}");
        let next = tickets("secret").write(head(8));
        let same = ticket.bytes().zip(next.bytes()).filter(|(one, other)| one == other).count();
        assert!(same < 30, "{same} of 80 digits are the same");
    }

    #[test]
    fn a_ticket_that_was_made_up_or_changed_is_none() {
        let ticket = tickets("secret").write(head(7));
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
