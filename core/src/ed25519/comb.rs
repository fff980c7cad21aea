//! Points multiplied by numbers with few additions, by tables of their multiples (Lim and Lee, CRYPTO '94: a comb).
//!
//! For public points and numbers alone: which multiples are read, and so the time, depends on the number. curve25519-dalek's
//! own tables are for secret numbers too; each look-up reads a table's whole row, which costs as much as adding what it finds.

use std::array::from_fn;

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;

/// How many bits of a number are a digit.
const TEETH: usize = 8;
/// How many bits apart in the number they are. All together are the number's 256.
const SPACING: usize = 32;
/// How many tables share the 32 digits of a number. Half the additions for doubling are saved with each doubling of this.
const BLOCKS: usize = 2;
/// How many digits are left to each table: it is doubled so often.
const COLUMNS: usize = SPACING / BLOCKS;

/// Multiples of a point: 80 KiB in WebAssembly.
pub(super) struct Comb([Table; BLOCKS]);

/// Which digit stands for which sum of the `2^(32 * tooth)`-fold of a point.
type Table = Box<[EdwardsPoint; 1 << TEETH]>;

impl Comb {
    pub(super) fn new(point: EdwardsPoint) -> Self {
        let mut shifted = point;
        Self(from_fn(|_| {
            let table = table(shifted);
            shifted = doubled(shifted, COLUMNS);
            table
        }))
    }
}

fn table(point: EdwardsPoint) -> Table {
    let mut sums = Box::new([EdwardsPoint::identity(); 1 << TEETH]);
    let mut shifted = point;
    for tooth in 0..TEETH {
        let (without, with) = sums.split_at_mut(1 << tooth);
        for (without, with) in without.iter().zip(with) {
            *with = without + shifted;
        }
        shifted = doubled(shifted, SPACING);
    }
    sums
}

fn doubled(point: EdwardsPoint, times: usize) -> EdwardsPoint {
    (0..times).fold(point, |point, _| point + point)
}

/// The sum of both points, each times its number.
pub(super) fn sum_of_products(terms: [(&Comb, &Scalar); 2]) -> EdwardsPoint {
    (0..COLUMNS).rev().fold(EdwardsPoint::identity(), |sum, column| {
        terms.iter().fold(sum + sum, |sum, (comb, number)| {
            let columns = (column..).step_by(COLUMNS);
            comb.0.iter().zip(columns).fold(sum, |sum, (table, column)| sum + multiple(table, digit(number, column)))
        })
    })
}

#[expect(clippy::indexing_slicing, reason = "a table has a sum for every digit of 8 bits")]
fn multiple(table: &Table, digit: u8) -> &EdwardsPoint {
    &table[usize::from(digit)]
}

/// The bits that are `column` bits above each tooth.
fn digit(number: &Scalar, column: usize) -> u8 {
    let bytes = number.as_bytes().iter().skip(column / 8).step_by(SPACING / 8);
    bytes.rev().fold(0, |digit, byte| digit << 1 | (byte >> (column % 8) & 1))
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as BASE, EIGHT_TORSION};
    use sha2::{Digest as _, Sha512};

    use super::*;

    fn number(seed: u32) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&Sha512::digest(seed.to_be_bytes()).into())
    }

    /// The same by curve25519-dalek itself.
    fn assert_same(points: [EdwardsPoint; 2], numbers: [Scalar; 2]) {
        let [first, second] = points.map(Comb::new);
        let sum = sum_of_products([(&first, &numbers[0]), (&second, &numbers[1])]);
        assert_eq!(sum, points[0] * numbers[0] + points[1] * numbers[1], "{points:?} {numbers:?}");
    }

    #[test]
    fn random_points_are_multiplied_by_random_numbers() {
        for seed in 0..40 {
            let torsion = EIGHT_TORSION[usize::try_from(seed % 8).unwrap()];
            let points = [BASE * number(100 + seed), BASE * number(200 + seed) + torsion];
            assert_same(points, [number(300 + seed), number(400 + seed)]);
        }
    }

    #[test]
    fn each_bit_of_a_number_counts_as_what_it_is() {
        let combs = [Comb::new(BASE), Comb::new(EIGHT_TORSION[1])];
        let mut power = Scalar::ONE;
        for bit in 0..253 {
            let sum = sum_of_products([(&combs[0], &power), (&combs[1], &Scalar::ZERO)]);
            assert_eq!(sum, BASE * power, "{bit}");
            let sum = sum_of_products([(&combs[0], &Scalar::ZERO), (&combs[1], &power)]);
            assert_eq!(sum, EIGHT_TORSION[1] * power, "{bit}");
            power += power;
        }
    }

    #[test]
    fn the_least_and_the_greatest_numbers_are_no_exceptions() {
        let extremes = [Scalar::ZERO, Scalar::ONE, -Scalar::ONE];
        for first in extremes {
            for second in extremes {
                assert_same([BASE, EIGHT_TORSION[1]], [first, second]);
                assert_same([BASE, -BASE], [first, second]);
                assert_same([EdwardsPoint::identity(), EIGHT_TORSION[4]], [first, second]);
            }
        }
    }
}
