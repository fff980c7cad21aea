//! A token among the subprotocols that a WebSocket client offers (RFC 6455 section 11.3.4). A page in a browser cannot
//! set any other header of the handshake.

use super::Problem;
use crate::names::alike;
use crate::request::Request;

/// The header.
pub(super) const HEADER: &str = "sec-websocket-protocol";

/// The entries, in the order in which they were offered. Several headers are one list, and empty entries are none (RFC 9110
/// section 5.6.1.2).
pub(super) fn entries<'a>(request: &Request<'a>) -> impl Iterator<Item = &'a [u8]> {
    request
        .values(HEADER)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

/// What an entry is to a source of this name.
pub(super) enum Entry<'a> {
    /// The next entry is the token.
    Announces,
    /// It carries the token behind the name and a dot.
    Carries(&'a [u8]),
    Other,
}

impl<'a> Entry<'a> {
    pub(super) fn read(entry: &'a [u8], name: &str) -> Self {
        match entry.split_at_checked(name.len()) {
            Some((start, _)) if start != name.as_bytes() => Self::Other,
            Some((_, [])) => Self::Announces,
            Some((_, [b'.', token @ ..])) => Self::Carries(token),
            _ => Self::Other,
        }
    }
}

/// The token of the source of this name.
pub(super) fn token<'a>(request: &Request<'a>, name: &str) -> Result<Option<&'a [u8]>, Problem> {
    let headers = request.headers().filter(|(own, _)| alike(own, HEADER.as_bytes())).count();
    if headers != request.values(HEADER).count() {
        return Err(Problem::Several);
    }
    let mut found = Vec::new();
    let mut entries = entries(request);
    // Names of subprotocols have no case to ignore, but a lenient program may do so.
    let mut alike_entries = 0_usize;
    while let Some(entry) = entries.next() {
        alike_entries = alike_entries.saturating_add(usize::from(begins_alike(entry, name)));
        match Entry::read(entry, name) {
            Entry::Other => {}
            Entry::Carries(token) => found.push(token),
            Entry::Announces => {
                let token = entries.next().unwrap_or_default();
                alike_entries = alike_entries.saturating_add(usize::from(begins_alike(token, name)));
                found.push(token);
            }
        }
    }
    match (found.as_slice(), alike_entries) {
        ([], 0) => Ok(None),
        // A program may find the token elsewhere in the list.
        ([[]], 1) => Err(Problem::NotOneToken),
        ([token], 1) => Ok(Some(*token)),
        _ => Err(Problem::Several),
    }
}

fn begins_alike(entry: &[u8], name: &str) -> bool {
    entry
        .split_at_checked(name.len())
        .is_some_and(|(start, rest)| start.eq_ignore_ascii_case(name.as_bytes()) && matches!(rest, [] | [b'.', ..]))
}
