//! The host that a request is for, as rules match it.
//!
//! The client writes the host, and some programs take it from another header than Envoy. So a host opens something only
//! if no such header names another one; and a rule that asks for more applies if any of them may name its host.

use crate::names::alike;
use crate::request::Request;

/// Headers from which some program takes the host.
const NAMING: [&str; 6] =
    ["forwarded", "x-forwarded-host", "x-forwarded-server", "x-host", "x-http-host-override", "x-original-host"];

/// Reads `hosts`: names in lower case, `*.` before a name for all names below it.
pub(super) fn is_host(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte);
    !name.is_empty() && name.bytes().all(plain) && !name.ends_with('.') && !name.starts_with('.')
}

/// True if the request is for one of the hosts and nothing in it names another one.
pub(super) fn match_narrowly(hosts: &[String], request: &Request<'_>) -> bool {
    let host = without_port(request.value(":authority"));
    hosts.is_empty() || (is_plain(host) && !names_another(request) && hosts.iter().any(|own| covers(own, host)))
}

/// True if some program may take the request for one to these hosts.
pub(super) fn may_be(hosts: &[String], request: &Request<'_>) -> bool {
    let host = without_port(request.value(":authority")).to_ascii_lowercase();
    let host = host.strip_suffix(b".").unwrap_or(&host);
    let unclear = !is_plain(host) || names_another(request);
    hosts.is_empty() || unclear || hosts.iter().any(|own| covers(own, host))
}

/// True for a name, or an IPv6 address in brackets, that every program reads alike. Of `admin.example.com:x` some programs
/// take what stands before the colon, and Envoy takes no port away that is no number.
fn is_plain(host: &[u8]) -> bool {
    let bracketed = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    match bracketed {
        Some(address) => {
            !address.is_empty() && address.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte))
        }
        None => !host.is_empty() && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte)),
    }
}

fn covers(own: &str, host: &[u8]) -> bool {
    match own.strip_prefix('*') {
        Some(end) => host.strip_suffix(end.as_bytes()).is_some_and(|start| !start.is_empty()),
        None => own.as_bytes() == host,
    }
}

fn names_another(request: &Request<'_>) -> bool {
    let authority = request.value(":authority");
    request.headers().any(|(name, value)| {
        let same = value.eq_ignore_ascii_case(authority) || value.eq_ignore_ascii_case(without_port(authority));
        let naming = NAMING.iter().find(|own| alike(own.as_bytes(), name));
        match naming {
            Some(&"forwarded") => value.to_ascii_lowercase().windows(4).any(|part| part == b"host"),
            Some(_) => !same,
            None => false,
        }
    })
}

/// The host without its port; an IPv6 address keeps its brackets.
fn without_port(authority: &[u8]) -> &[u8] {
    let colon = authority.iter().rposition(|&byte| byte == b':');
    match colon.and_then(|colon| authority.split_at_checked(colon)) {
        Some((host, [b':', port @ ..])) if !host.is_empty() && port.iter().all(u8::is_ascii_digit) => host,
        _ => authority,
    }
}
