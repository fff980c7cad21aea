//! Ed25519 signatures (RFC 8032 section 5.1.7), checked with tables of multiples of the key ([`comb`]).
//!
//! jwt-simple checks them with ed25519-compact, which takes 5.6 million instructions in WebAssembly: its arithmetic is on
//! 64-bit words, whose products are calls there, and it doubles its way through each number. curve25519-dalek has arithmetic
//! on 32-bit words too, and the tables save most of the doubling: 0.8 million.
//!
//! The rules are ed25519-compact's, to the bit, for a token that one side takes and the other does not is a bypass: S is
//! below the group's order L; R and the key are encoded canonically and have no small order; the equation is taken times
//! the cofactor. `core/tests/ed25519` holds the two against each other. A forged signature costs what a good one does.

mod comb;

use std::sync::LazyLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest as _, Sha512};

use comb::{Comb, sum_of_products};

/// The base point B, the same for all keys.
static BASE: LazyLock<Comb> = LazyLock::new(|| Comb::new(ED25519_BASEPOINT_POINT));

/// A public key, ready for use. Nothing here is secret: what a check takes depends on the bytes.
pub(crate) struct Key {
    encoding: [u8; 32],
    negated: Comb,
}

impl Key {
    /// `None` for a key that no signature is good with: not the canonical encoding of a point, or of small order.
    pub(crate) fn new(encoding: [u8; 32]) -> Option<Self> {
        let point = decode(&encoding)?;
        // Made with the first key, so that no token has to wait for it.
        LazyLock::force(&BASE);
        Some(Self { encoding, negated: Comb::new(-point) })
    }

    /// Whether the signature is this key's for the message.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.residue(message, signature).is_some_and(|residue| residue.is_small_order())
    }

    /// `S*B - k*A - R`, which has small order (is zero, times the cofactor) for a good signature. `None` where S or R is
    /// none, or the length is wrong.
    fn residue(&self, message: &[u8], signature: &[u8]) -> Option<EdwardsPoint> {
        let (r, s) = signature.split_first_chunk::<32>()?;
        let s = Option::from(Scalar::from_canonical_bytes(s.try_into().ok()?))?;
        let point = decode(r)?;
        let hash = Sha512::new().chain_update(r).chain_update(self.encoding).chain_update(message).finalize();
        let k = Scalar::from_bytes_mod_order_wide(&hash.into());
        Some(sum_of_products([(&BASE, &s), (&self.negated, &k)]) - point)
    }
}

/// The point of a canonical encoding, if it has no small order.
///
/// A sign on x = 0, which only the points of order 1 and 2 have, needs no check of its own.
fn decode(encoding: &[u8; 32]) -> Option<EdwardsPoint> {
    if !is_reduced(encoding) {
        return None;
    }
    let point = CompressedEdwardsY(*encoding).decompress()?;
    (!point.is_small_order()).then_some(point)
}

/// Whether y, which is all but the highest bit, is below p = 2^255 - 19.
fn is_reduced(encoding: &[u8; 32]) -> bool {
    let [lowest, middle @ .., highest] = encoding;
    *lowest < 0xed || highest & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a point may be R or a key. ed25519-compact judges both by the one function that this calls.
    fn both_decode(encoding: [u8; 32]) -> bool {
        let decoded = decode(&encoding).is_some();
        assert_eq!(decoded, ed25519_compact::PublicKey::new(encoding).validate().is_ok(), "{encoding:02x?}");
        decoded
    }

    fn with_sign(encoding: [u8; 32]) -> [[u8; 32]; 2] {
        let mut negative = encoding;
        negative[31] |= 0x80;
        [encoding, negative]
    }

    #[test]
    fn a_y_that_is_not_reduced_is_no_point() {
        let key = Key::new(ED25519_BASEPOINT_POINT.compress().to_bytes()).unwrap();
        let mut points = 0;
        for lowest in 0xed..=0xff {
            let mut encoding = [0xff; 32];
            (encoding[0], encoding[31]) = (lowest, 0x7f);
            for encoding in with_sign(encoding) {
                assert!(!both_decode(encoding));
                assert!(key.residue(b"", &[encoding, [0; 32]].concat()).is_none());
                // A reader that reduces finds points of large order among them.
                let lenient = CompressedEdwardsY(encoding).decompress();
                points += u32::from(lenient.is_some_and(|point| !point.is_small_order()));
            }
        }
        assert!(points > 10, "{points}");
    }

    #[test]
    fn the_highest_and_the_lowest_ys_are_read_alike() {
        let mut points = 0;
        for number in 0..=0xec {
            for (rest, highest) in [(0xff, 0x7f), (0, 0)] {
                let mut encoding = [rest; 32];
                (encoding[0], encoding[31]) = (number, highest);
                points += with_sign(encoding).into_iter().filter(|encoding| both_decode(*encoding)).count();
            }
        }
        assert!(points > 300, "{points}");
    }

    #[test]
    fn about_half_of_all_bytes_are_points_for_both() {
        let numbers = 0_u32..2_000;
        let encodings = numbers.map(|number| *Sha512::digest(number.to_be_bytes()).first_chunk().unwrap());
        let points = encodings.filter(|encoding| both_decode(*encoding)).count();
        assert!((900..1_100).contains(&points), "{points}");
    }

    #[test]
    fn points_of_small_order_are_none() {
        for point in curve25519_dalek::constants::EIGHT_TORSION {
            for encoding in with_sign(point.compress().to_bytes()) {
                assert!(!both_decode(encoding));
            }
        }
    }
}
