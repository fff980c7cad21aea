//! Histograms in a control plane's `/metrics`, and their differences between two readings.

use std::ops::{AddAssign, Sub};

/// Upper bounds in seconds, ascending, each with the number of observations up to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    /// Reads the histogram of a name from a page in the text format of Prometheus or OpenMetrics.
    pub fn read(page: &str, name: &str) -> Self {
        let bucket = |line: &str| {
            let (bound, count) = line.strip_prefix(name)?.strip_prefix("_bucket{le=\"")?.split_once("\"} ")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            Some((bound, count.split(' ').next()?.parse().ok()?))
        };
        Self(page.lines().filter_map(bucket).collect())
    }

    /// How many observations there are.
    pub fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// The quantile, interpolated linearly within its bucket as by Prometheus' `histogram_quantile`; `None` without
    /// observations.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let wanted = part * self.count();
        let mut below = (0.0, 0.0);
        for &(bound, count) in &self.0 {
            if count >= wanted && count > 0.0 {
                let (from, before) = below;
                let share = if count > before { (wanted - before) / (count - before) } else { 1.0 };
                return Some(if bound.is_finite() { from + (bound - from) * share } else { from });
            }
            below = (bound, count);
        }
        None
    }
}

impl AddAssign for Histogram {
    /// Adds the observations of another histogram with the same bounds.
    fn add_assign(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
        } else {
            self.0.iter_mut().zip(other.0).for_each(|(own, other)| own.1 += other.1);
        }
    }
}

impl Sub for Histogram {
    type Output = Self;

    /// The observations since an earlier reading.
    fn sub(mut self, before: Self) -> Self {
        self.0.iter_mut().zip(before.0).for_each(|(own, before)| own.1 -= before.1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE curfew_propagation_seconds histogram\n\
        curfew_propagation_seconds_sum 1.5\n\
        curfew_propagation_seconds_bucket{le=\"0.001\"} 4\n\
        curfew_propagation_seconds_bucket{le=\"0.002\"} 8\n\
        curfew_propagation_seconds_bucket{le=\"+Inf\"} 10\n\
        curfew_other_bucket{le=\"0.001\"} 99\n";

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let read = Histogram::read(PAGE, "curfew_propagation_seconds");
        assert_eq!((read.count(), read.quantile(0.5)), (10.0, Some(0.001_25)));
        assert_eq!(read.quantile(0.99), Some(0.002), "of those beyond the last bound no more is known");
        assert_eq!(Histogram::read(PAGE, "curfew_nothing").quantile(0.5), None);
    }

    #[test]
    fn histograms_are_subtracted_and_added() {
        let read = Histogram::read(PAGE, "curfew_propagation_seconds");
        assert_eq!((read.clone() - read.clone()).quantile(0.5), None);
        let mut both = Histogram::default();
        both += read.clone();
        both += read;
        assert_eq!((both.count(), both.quantile(0.5)), (20.0, Some(0.001_25)));
    }
}
