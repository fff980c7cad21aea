//! The requests of a variant, as bytes that are made in advance, so that a burst does not pay for them.

use std::ops::Range;

/// Requests that are taken one after the other.
#[derive(Debug)]
pub struct Supply {
    requests: Vec<Vec<u8>>,
    next: usize,
    /// How many a burst may take; `None` for requests that may be repeated endlessly.
    per_burst: Option<usize>,
}

impl Supply {
    /// Requests that are repeated from the start after all were sent.
    pub fn repeated(requests: Vec<Vec<u8>>) -> Self {
        Self { requests, next: 0, per_burst: None }
    }

    /// Requests that are sent once, the same number in each of `bursts`.
    pub fn once(requests: Vec<Vec<u8>>, bursts: usize) -> Self {
        let per_burst = Some(requests.len() / bursts.max(1));
        Self { requests, next: 0, per_burst }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The requests of one burst. Those that it does not take are left for the next one.
    pub fn burst(&mut self) -> Burst<'_> {
        let end = self.per_burst.map_or(usize::MAX, |count| self.next.saturating_add(count).min(self.requests.len()));
        Burst { range: self.next..end, supply: self }
    }
}

/// The requests that one burst may send.
#[derive(Debug)]
pub struct Burst<'a> {
    range: Range<usize>,
    supply: &'a mut Supply,
}

impl Burst<'_> {
    /// The next request; `None` when the share of this burst is used up.
    pub fn take(&mut self) -> Option<&[u8]> {
        let place = self.range.next()?;
        self.supply.next = self.range.start;
        let place = place.checked_rem(self.supply.requests.len())?;
        self.supply.requests.get(place).map(Vec::as_slice)
    }
}

/// A `GET` with these header lines on a connection that stays open, as a script in a browser or a service would send
/// it.
pub fn get(target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!(
        "GET {target} HTTP/1.1\r\nhost: shop.example\r\nuser-agent: curl/8.5.0\r\naccept: */*\r\naccept-encoding: gzip\r\n"
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(supply: &mut Supply, most: usize) -> Vec<u8> {
        let mut burst = supply.burst();
        (0..most).map_while(|_| burst.take().map(|request| request[0])).collect()
    }

    #[test]
    fn repeated_requests_go_round() {
        let mut supply = Supply::repeated(vec![vec![1], vec![2], vec![3]]);
        assert_eq!(taken(&mut supply, 5), [1, 2, 3, 1, 2]);
        assert_eq!(taken(&mut supply, 2), [3, 1]);
    }

    #[test]
    fn requests_that_are_sent_once_are_shared_out_among_the_bursts() {
        let mut supply = Supply::once(vec![vec![1], vec![2], vec![3], vec![4], vec![5]], 2);
        assert_eq!(taken(&mut supply, 9), [1, 2]);
        assert_eq!(taken(&mut supply, 1), [3]);
        assert_eq!(taken(&mut supply, 9), [4, 5]);
        assert_eq!(taken(&mut supply, 9), Vec::<u8>::new());
    }
}
