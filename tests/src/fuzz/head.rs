//! A request's head as a fuzzer writes it: lines of `name:value`.

/// Names and values.
pub(super) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// More headers than any proxy accepts.
const MOST: usize = 100;

/// Reads a line for each header, with names in lower case as proxies deliver them. A pseudo-header's colon is part of
/// its name. Lines without a name are left out.
pub(super) fn read(lines: &[u8]) -> Pairs {
    lines.split(|&byte| byte == b'\n').filter_map(line).take(MOST).collect()
}

/// One line.
pub(super) fn line(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (first, rest) = line.split_first()?;
    let colon = rest.iter().position(|&byte| byte == b':')?;
    let (name, value) = rest.split_at_checked(colon)?;
    let name = [&[*first], name].concat().to_ascii_lowercase();
    Some((name, value.get(1..)?.to_vec()))
}

/// The same lines.
pub(super) fn written<N: AsRef<[u8]>, V: AsRef<[u8]>>(headers: impl IntoIterator<Item = (N, V)>) -> Vec<u8> {
    let lines = headers.into_iter().map(|(name, value)| [name.as_ref(), b":", value.as_ref()].concat());
    lines.collect::<Vec<_>>().join(&b'\n')
}

/// The headers borrowed, as the filter reads them.
pub(super) fn borrowed(pairs: &Pairs) -> Vec<(&[u8], &[u8])> {
    pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        let pairs = vec![(b":path".to_vec(), b"/a:b".to_vec()), (b"x".to_vec(), b"".to_vec())];
        assert_eq!(read(&written(pairs.clone())), pairs);
        assert_eq!(read(b":\n\nx\nX-A:1"), [(b"x-a".to_vec(), b"1".to_vec())]);
    }
}
