//! The marker beside the entries. It names the copy, and says how far the copy is complete. Pure but for the random
//! name.

use std::fmt;

/// The content of the marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    /// Names one copy. A process that finds another name than it knows continues from the seq in that marker.
    pub(super) generation: String,
    /// Everything up to this seq has been copied.
    pub(super) through: u64,
}

impl Marker {
    /// The marker of a new copy.
    pub(super) fn new() -> Self {
        let mut bytes = [0; 8];
        // Without random numbers all copies have the same name. Then a copy that another process begins is not noticed.
        let _ = getrandom::fill(&mut bytes);
        Self { generation: format!("{:016x}", u64::from_be_bytes(bytes)), through: 0 }
    }

    /// Reads a value from Redis; `None` if it is not a marker.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (generation, through) = std::str::from_utf8(value).ok()?.split_once(':')?;
        let through = through.parse().ok()?;
        (generation.len() == 16).then(|| Self { generation: generation.to_owned(), through })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.generation, self.through)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        let marker = Marker { through: 42, ..Marker::new() };
        assert_eq!(Marker::parse(marker.to_string().as_bytes()), Some(marker));
        for wrong in ["", "42", "0123456789abcdef", "0123456789abcdef:-1", "0123456789abcdef:x", "short:1"] {
            assert_eq!(Marker::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
