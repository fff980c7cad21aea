//! Medians, for measurements beside other work.

use serde_json::{Value, json};

/// The median and the quartiles of some numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// A quarter of the numbers is smaller.
    pub low: f64,
    /// Half of the numbers are smaller.
    pub median: f64,
    /// A quarter of the numbers is larger.
    pub high: f64,
}

impl Spread {
    /// As JSON, to a thousandth.
    pub fn json(&self) -> Value {
        let [low, median, high] = [self.low, self.median, self.high].map(|number| (number * 1e3).round() / 1e3);
        json!({"median": median, "p25": low, "p75": high})
    }
}

/// Median and quartiles, by linear interpolation. All zero for no numbers.
pub fn spread(numbers: impl IntoIterator<Item = f64>) -> Spread {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    // Counted in quarters of a place, so that nothing has to be rounded.
    let at = |quarters: usize| {
        let place = numbers.len().saturating_sub(1) * quarters;
        let lower = numbers.get(place / 4).copied().unwrap_or_default();
        let upper = numbers.get(place / 4 + 1).copied().unwrap_or(lower);
        let share = [0.0, 0.25, 0.5, 0.75].get(place % 4).copied().unwrap_or_default();
        lower + (upper - lower) * share
    };
    Spread { low: at(1), median: at(2), high: at(3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_quartiles_of_few_numbers() {
        assert_eq!(spread([5.0, 1.0, 4.0, 2.0, 3.0]), Spread { low: 2.0, median: 3.0, high: 4.0 });
        assert_eq!(spread([4.0, 1.0]), Spread { low: 1.75, median: 2.5, high: 3.25 });
        assert_eq!(spread([7.0]), Spread { low: 7.0, median: 7.0, high: 7.0 });
        assert_eq!(spread([]), Spread::default());
    }

    #[test]
    fn one_outlier_does_not_move_the_median() {
        assert!((spread([1.0, 1.1, 0.9, 1.0, 50.0]).median - 1.0).abs() < 1e-9);
    }
}
