//! Ed25519 signatures (RFC 8032 section 5.1.7), checked with curve25519-dalek.
//!
//! jwt-simple checks them with ed25519-compact, whose arithmetic is on 64-bit words. Their products are calls in
//! WebAssembly, so a check takes three times as many instructions there as with curve25519-dalek, which has arithmetic
//! on 32-bit words too, and tables of multiples of a point. `tests/measure/NOTES.md` has the figures.
//!
//! The rules are exactly ed25519-compact's, because a token that one side accepts and the other refuses is a bypass: S
//! is below the group's order L; R and the key are encoded canonically and have no small order; the equation is
//! multiplied by the cofactor. `core/tests/ed25519` compares the two. Checking a forged signature costs what checking a
//! good one does, but for a key that has not verified anything yet: its table is made after its first good signature. So
//! the keys of a large set that sign nothing take neither the time nor the memory, and nobody without a private key can
//! change that.

use std::sync::OnceLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_TABLE;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsBasepointTable, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::BasepointTable as _;
use sha2::{Digest as _, Sha512};

/// A public key, ready for use.
pub(crate) struct Key {
    encoding: [u8; 32],
    negated: EdwardsPoint,
    /// Multiples of the negated key: 30 KiB in WebAssembly, and as many instructions as some dozens of checks.
    multiples: OnceLock<Box<EdwardsBasepointTable>>,
}

impl Key {
    /// `None` for a key under which no signature is good: it is not the canonical encoding of a point, or the point has
    /// small order.
    pub(crate) fn new(encoding: [u8; 32]) -> Option<Self> {
        let point = decode(&encoding)?;
        Some(Self { encoding, negated: -point, multiples: OnceLock::new() })
    }

    /// True if the signature is this key's for the message.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = self.residue(message, signature).is_some_and(|residue| residue.is_small_order());
        if verified {
            self.multiples.get_or_init(|| Box::new(EdwardsBasepointTable::create(&self.negated)));
        }
        verified
    }

    /// `S*B - k*A - R`, which has small order for a good signature: multiplied by the cofactor, it is zero. `None` if
    /// the length is wrong, or S is no canonical number, or R no canonical point of large order.
    fn residue(&self, message: &[u8], signature: &[u8]) -> Option<EdwardsPoint> {
        let (r, s) = signature.split_first_chunk::<32>()?;
        let s = Option::from(Scalar::from_canonical_bytes(s.try_into().ok()?))?;
        let point = decode(r)?;
        let hash = Sha512::new().chain_update(r).chain_update(self.encoding).chain_update(message).finalize();
        let k = Scalar::from_bytes_mod_order_wide(&hash.into());
        let sum = match self.multiples.get() {
            Some(multiples) => ED25519_BASEPOINT_TABLE * &s + &**multiples * &k,
            None => EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &self.negated, &s),
        };
        Some(sum - point)
    }
}

/// The point of a canonical encoding, unless it has small order.
///
/// A negative zero for x needs no check of its own: only the points of order 1 and 2 have x = 0, and they are refused.
fn decode(encoding: &[u8; 32]) -> Option<EdwardsPoint> {
    if !is_reduced(encoding) {
        return None;
    }
    let point = CompressedEdwardsY(*encoding).decompress()?;
    (!point.is_small_order()).then_some(point)
}

/// True if y, which is all but the highest bit, is below p = 2^255 - 19.
fn is_reduced(encoding: &[u8; 32]) -> bool {
    let [lowest, middle @ .., highest] = encoding;
    *lowest < 0xed || highest & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;

    use super::*;

    /// True if the encoding is accepted as R or as a key. Panics if the two implementations differ; ed25519-compact
    /// judges R and keys with the function that this calls.
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
