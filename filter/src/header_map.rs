//! The host's encoding of header maps (proxy-wasm ABI 0.2.1).
//!
//! The names and values are what a client sent. The host promises that the form of the map is right; it is checked all
//! the same.

/// The pairs of a header map: a count, then each pair's two sizes, then each name and value with a NUL behind it; all
/// numbers are 32 bits, little-endian. `None` if the bytes are not that.
pub fn pairs(map: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (count, rest) = number(map)?;
    let (mut sizes, mut texts) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (name_size, after) = number(sizes)?;
        let (value_size, after) = number(after)?;
        sizes = after;
        let (name, after) = texts.split_at_checked(name_size)?;
        let (value, after) = after.get(1..)?.split_at_checked(value_size)?;
        texts = after.get(1..)?;
        pairs.push((name, value));
    }
    Some(pairs)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// The encoding that [`pairs`] reads.
pub fn encode<T: AsRef<[u8]>>(headers: &[(T, T)]) -> Vec<u8> {
    let mut map = Vec::new();
    let mut push = |number: usize| map.extend(u32::try_from(number).unwrap_or(0).to_le_bytes());
    push(headers.len());
    for (name, value) in headers {
        push(name.as_ref().len());
        push(value.as_ref().len());
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        map.extend_from_slice(text.as_ref());
        map.push(0);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_maps_are_read_as_they_are_written() {
        let map = encode(&[(":path", "/"), ("x-empty", "")]);
        let expected: [(&[u8], &[u8]); 2] = [(b":path", b"/"), (b"x-empty", b"")];
        assert_eq!(pairs(&map).unwrap(), expected);
        assert_eq!(pairs(&encode::<&str>(&[])).unwrap(), []);
    }

    #[test]
    fn a_map_that_is_cut_short_is_none() {
        let map = encode(&[(":path", "/"), ("x", "y")]);
        for size in 0..map.len() {
            assert_eq!(pairs(&map[..size]), None, "{size}");
        }
        assert_eq!(pairs(&[0xff; 16]), None);
    }
}
