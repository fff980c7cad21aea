//! Header maps: bytes, in order, with repetitions; and the imports that read and change them.

use wasmtime::{Linker, Result, format_err};

use super::faults::HostCall;
use super::guest::{Call, broken, give, read, status};
use super::state::State;

const REQUEST_HEADERS: u32 = 0;
const REQUEST_TRAILERS: u32 = 1;
const CALL_RESPONSE_HEADERS: u32 = 6;

/// Headers as a host holds them. Values are bytes; names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMap(Vec<(Vec<u8>, Vec<u8>)>);

impl HeaderMap {
    /// Headers from a client: names in lower case, as codecs deliver them, values unchanged.
    pub fn from_client(headers: &[(&str, &[u8])]) -> Self {
        let lower = |name: &str| name.to_ascii_lowercase().into_bytes();
        Self(headers.iter().map(|(name, value)| (lower(name), value.to_vec())).collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All values of a header, as text.
    pub fn all(&self, name: &str) -> Vec<String> {
        let named = self.0.iter().filter(|(known, _)| known == name.as_bytes());
        named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The first value of a header, as text.
    pub fn get(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }

    fn first(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_slice())
    }

    fn add(&mut self, name: Vec<u8>, value: Vec<u8>) {
        self.0.push((name, value));
    }

    fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Replaces the first value and keeps others of the name. Hosts differ here; this is the less helpful behaviour.
    fn replace(&mut self, name: Vec<u8>, value: Vec<u8>) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.add(name, value),
        }
    }

    /// The ABI's form: count, pairs of lengths, then names and values, each followed by a NUL; little-endian.
    fn encode(&self) -> Result<Vec<u8>> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let mut bytes = u32::try_from(self.0.len())?.to_le_bytes().to_vec();
        for (name, value) in &self.0 {
            bytes.extend(u32::try_from(name.len())?.to_le_bytes());
            bytes.extend(u32::try_from(value.len())?.to_le_bytes());
        }
        for part in self.0.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend(part);
            bytes.push(0);
        }
        Ok(bytes)
    }

    /// Reads the ABI's form.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        Self::decode_parts(bytes).ok_or_else(|| format_err!("a header map of the module is malformed"))
    }

    fn decode_parts(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let number = |at: usize| {
            let four = bytes.get(at..at.checked_add(4)?)?;
            usize::try_from(u32::from_le_bytes(four.try_into().ok()?)).ok()
        };
        let count = number(0)?;
        let mut at = 4 + count.checked_mul(8)?;
        let mut take = |length: usize| {
            let part = bytes.get(at..at.checked_add(length)?)?.to_vec();
            at += length + 1;
            Some(part)
        };
        let mut pairs = Vec::new();
        for pair in 0..count {
            let (name, value) = (number(4 + pair * 8)?, number(8 + pair * 8)?);
            pairs.push((take(name)?, take(value)?));
        }
        Some(Self(pairs))
    }
}

/// The imports about header maps.
pub(super) fn install(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap("env", "proxy_get_header_map_pairs", get_pairs)?;
    linker.func_wrap("env", "proxy_get_header_map_value", get_value)?;
    linker.func_wrap(
        "env",
        "proxy_add_header_map_value",
        |c: Call<'_>, m: u32, n: u32, nl: u32, v: u32, vl: u32| change(c, m, (n, nl), (v, vl), HeaderMap::add),
    )?;
    linker.func_wrap(
        "env",
        "proxy_replace_header_map_value",
        |c: Call<'_>, m: u32, n: u32, nl: u32, v: u32, vl: u32| change(c, m, (n, nl), (v, vl), HeaderMap::replace),
    )?;
    linker.func_wrap("env", "proxy_remove_header_map_value", |c: Call<'_>, m: u32, n: u32, nl: u32| {
        change(c, m, (n, nl), (0, 0), |headers, name, _| headers.remove(&name))
    })?;
    Ok(())
}

/// The map that a call names, if it exists now: the headers of a decided request are gone.
fn map<'a>(call: &'a Call<'_>, kind: u32) -> Option<&'a HeaderMap> {
    let state = call.data();
    match kind {
        REQUEST_HEADERS => state.streams.get(state.context())?.headers(),
        REQUEST_TRAILERS => state.streams.get(state.context())?.trailers(),
        CALL_RESPONSE_HEADERS => state.call_response.as_ref().map(|(headers, _)| headers),
        _ => None,
    }
}

fn get_pairs(mut call: Call<'_>, kind: u32, at: u32, size_at: u32) -> Result<u32> {
    if let Some(fault) = call.data().fault(HostCall::HeaderPairs) {
        return broken(call, fault, at, size_at);
    }
    let encoded = map(&call, kind).cloned().unwrap_or_default().encode()?;
    give(&mut call, &encoded, at, size_at)?;
    Ok(status::OK)
}

fn get_value(mut call: Call<'_>, kind: u32, name: u32, length: u32, at: u32, size_at: u32) -> Result<u32> {
    if let Some(fault) = call.data().fault(HostCall::HeaderValue) {
        return broken(call, fault, at, size_at);
    }
    let name = read(&mut call, name, length)?;
    let Some(headers) = map(&call, kind) else {
        return Ok(status::BAD_ARGUMENT);
    };
    match headers.first(&name).map(<[u8]>::to_vec) {
        Some(value) => give(&mut call, &value, at, size_at).map(|()| status::OK),
        None => Ok(status::NOT_FOUND),
    }
}

/// Changes the request's headers. Envoy compares names in lower case whatever the module writes.
fn change(
    mut call: Call<'_>,
    kind: u32,
    name: (u32, u32),
    value: (u32, u32),
    apply: impl FnOnce(&mut HeaderMap, Vec<u8>, Vec<u8>),
) -> Result<u32> {
    let name = read(&mut call, name.0, name.1)?.to_ascii_lowercase();
    let value = read(&mut call, value.0, value.1)?;
    let context = call.data().context();
    if call.data().fails(HostCall::HeaderChange) {
        return Ok(status::INTERNAL_FAILURE);
    }
    let stream = call.data_mut().streams.get_mut(context);
    let map = match kind {
        REQUEST_HEADERS => stream.and_then(|stream| stream.headers_mut()),
        REQUEST_TRAILERS => stream.and_then(|stream| stream.trailers_mut()),
        _ => None,
    };
    match map {
        Some(map) => {
            apply(map, name, value);
            Ok(status::OK)
        }
        None => Ok(status::BAD_ARGUMENT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_abi_form_reads_back_with_repetitions_and_any_bytes() {
        let map = HeaderMap::from_client(&[("A", b"1"), ("a", b"\xff\0"), ("empty", b"")]);
        assert_eq!(HeaderMap::decode(&map.encode().unwrap()).unwrap(), map);
        assert_eq!(map.all("a").len(), 2);
    }

    #[test]
    fn a_truncated_map_is_refused() {
        let map = HeaderMap::from_client(&[("name", b"value")]).encode().unwrap();
        assert!(HeaderMap::decode(&map[..map.len() - 3]).is_err());
        assert!(HeaderMap::decode(&[255; 4]).is_err());
    }
}
