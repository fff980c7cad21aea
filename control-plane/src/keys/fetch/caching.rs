//! For how long an answer is fresh, and for how long a provider wants to be left alone (RFC 9111 and RFC 9110).
//!
//! The control plane is a private cache with one user, itself. It asks again whenever an answer is no longer fresh, so
//! `must-revalidate` changes nothing, and what forbids storing or reusing an answer means that it is fresh for no time. The
//! floor of the interval bounds that.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderName, RETRY_AFTER};

/// For how long an answer with these headers is fresh from now on; `None` if they do not say.
pub(super) fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let age = text(headers, AGE).and_then(seconds).unwrap_or_default();
    let lifetime =
        controlled(headers).or_else(|| text(headers, EXPIRES).and_then(|expires| until(expires, headers)))?;
    Some(lifetime.saturating_sub(age))
}

/// For how long the provider wants to be left alone: seconds, or a date (RFC 9110 section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = text(headers, RETRY_AFTER)?;
    seconds(text).or_else(|| until(text, headers).filter(|wait| !wait.is_zero()))
}

/// What `Cache-Control` says. `s-maxage` is for shared caches and counts only where nothing else is said.
fn controlled(headers: &HeaderMap) -> Option<Duration> {
    let (mut own, mut shared) = (None, None);
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    for directive in lines.flat_map(|line| line.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        // A lifetime that cannot be read is none at all (RFC 9111 section 4.2.1).
        let lifetime = || seconds(value.trim().trim_matches('"')).unwrap_or_default();
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "max-age" => own = own.or_else(|| Some(lifetime())),
            "s-maxage" => shared = shared.or_else(|| Some(lifetime())),
            _ => {}
        }
    }
    own.or(shared)
}

/// The time from the answer's own `Date` to this date. The two are by one clock, which may differ from ours. A date that
/// cannot be read, such as `0`, is past.
fn until(date: &str, headers: &HeaderMap) -> Option<Duration> {
    let Ok(date) = httpdate::parse_http_date(date) else { return Some(Duration::ZERO) };
    let now = httpdate::parse_http_date(text(headers, DATE)?).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A number of seconds; one that is too large means a very long time.
fn seconds(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(text.parse::<u32>().unwrap_or(u32::MAX).into()))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const NOW: &str = "Tue, 01 Dec 2026 12:00:00 GMT";

    fn headers(lines: &[&str]) -> HeaderMap {
        let header = |line: &&str| {
            let (name, value) = line.split_once(": ").unwrap();
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(header) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn freshness_is_what_the_headers_say() {
        let date = format!("date: {NOW}");
        let table: [(&[&str], Option<u64>); 22] = [
            (&[], None),
            (&["cache-control: public, max-age=300, must-revalidate"], Some(300)),
            (&["cache-control: Max-Age=\"300\""], Some(300)),
            (&["cache-control: public", "cache-control: max-age=300"], Some(300)),
            (&["cache-control: max-age=300, max-age=5"], Some(300)),
            (&["cache-control: max-age=300", "age: 100"], Some(200)),
            (&["cache-control: max-age=300", "age: 400"], Some(0)),
            (&["cache-control: max-age=300", "age: x"], Some(300)),
            (&["cache-control: max-age=99999999999999999999"], Some(u32::MAX as u64)),
            (&["cache-control: max-age=-1"], Some(0)),
            (&["cache-control: max-age"], Some(0)),
            (&["cache-control: s-maxage=600"], Some(600)),
            (&["cache-control: s-maxage=600, max-age=5"], Some(5)),
            (&["cache-control: no-store, max-age=300"], Some(0)),
            (&["cache-control: max-age=300, no-cache"], Some(0)),
            (&["cache-control: must-revalidate"], None),
            (&[&date, "expires: Tue, 01 Dec 2026 12:10:00 GMT"], Some(600)),
            (&[&date, "expires: Tue, 01 Dec 2026 11:00:00 GMT"], Some(0)),
            (&[&date, "expires: Tue, 01 Dec 2026 12:10:00 GMT", "cache-control: max-age=5"], Some(5)),
            (&[&date, "expires: 0"], Some(0)),
            (&["expires: -1"], Some(0)),
            (&["expires: Tue, 01 Dec 2026 12:10:00 GMT"], None),
        ];
        for (lines, expected) in table {
            assert_eq!(fresh_for(&headers(lines)), expected.map(Duration::from_secs), "{lines:?}");
        }
    }

    #[test]
    fn a_provider_may_ask_to_be_left_alone() {
        let date = format!("date: {NOW}");
        let table: [(&[&str], Option<u64>); 6] = [
            (&[], None),
            (&["retry-after: 120"], Some(120)),
            (&[&date, "retry-after: Tue, 01 Dec 2026 12:02:00 GMT"], Some(120)),
            (&["retry-after: Tue, 01 Dec 2026 12:02:00 GMT"], None),
            (&[&date, "retry-after: Tue, 01 Dec 2026 11:02:00 GMT"], None),
            (&["retry-after: soon"], None),
        ];
        for (lines, expected) in table {
            assert_eq!(retry_after(&headers(lines)), expected.map(Duration::from_secs), "{lines:?}");
        }
    }
}
