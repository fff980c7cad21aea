//! Preflights: what a browser asks before it sends a request to another origin (Fetch Standard, "CORS-preflight fetch").
//!
//! A browser sends no token with a preflight, and sends the request itself only if the preflight is answered. So a
//! filter that refuses preflights refuses every page of another origin, whatever its token.

use crate::redirects::Redirects;
use crate::request::Request;

/// True if the request is a preflight and nothing else: `OPTIONS` with exactly one `Origin` and exactly one
/// `Access-Control-Request-Method` that is a method, without a body that it announces, and without anything from which a program takes
/// another path or method.
///
/// An attacker can send one to any path. So a preflight is as open as the upstream's answer to `OPTIONS`.
pub(crate) fn is_preflight(request: &Request<'_>, redirects: &Redirects) -> bool {
    request.method() == b"OPTIONS"
        && only(request, "origin").is_some_and(|origin| !origin.is_empty())
        && only(request, "access-control-request-method").is_some_and(is_method)
        && request.values("content-length").all(|length| length == b"0")
        && request.values("transfer-encoding").next().is_none()
        && !redirects.concern(request)
}

fn only<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    let mut values = request.values(name);
    values.next().filter(|_| values.next().is_none())
}

/// A method is a token (RFC 9110 section 9.1); all that browsers send are letters and `-`.
fn is_method(method: &[u8]) -> bool {
    !method.is_empty() && method.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFLIGHT: [(&str, &str); 4] = [
        (":method", "OPTIONS"),
        (":path", "/api/users/j%40e.com"),
        ("origin", "https://shop.example.com"),
        ("access-control-request-method", "DELETE"),
    ];

    fn is(headers: &[(&str, &str)]) -> bool {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        is_preflight(&Request::new(&headers), &Redirects::default())
    }

    #[test]
    fn what_browsers_send_is_a_preflight_whatever_its_path() {
        for path in ["/api/users/j%40e.com", "/", "/a/../b", "/x;y", "/a%2fb?c=d"] {
            let mut sent = PREFLIGHT;
            sent[1].1 = path;
            assert!(is(&sent), "{path}");
        }
        assert!(is(
            &[&PREFLIGHT[..], &[("access-control-request-headers", "authorization"), ("content-length", "0")]].concat()
        ));
        assert!(is(&[
            &PREFLIGHT[..3],
            &[("access-control-request-method", "M-SEARCH"), ("x-original-url", PREFLIGHT[1].1)]
        ]
        .concat()));
    }

    #[test]
    fn everything_else_is_none() {
        for method in ["GET", "options", "POST", "OPTIONS ", ""] {
            let mut sent = PREFLIGHT;
            sent[0].1 = method;
            assert!(!is(&sent), "{method}");
        }
        for missing in [2, 3] {
            let sent: Vec<_> =
                PREFLIGHT.iter().enumerate().filter(|(place, _)| *place != missing).map(|(_, pair)| *pair).collect();
            assert!(!is(&sent), "{missing}");
            for (place, value) in [(missing, ""), (3, "DELETE, GET"), (3, "a b")] {
                let mut sent = PREFLIGHT;
                sent[place].1 = value;
                assert!(!is(&sent), "{place} {value}");
            }
        }
        for more in [
            ("origin", "https://other.example.com"),
            ("access-control-request-method", "GET"),
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
            ("x-http-method-override", "DELETE"),
            ("x_original_url", "/admin"),
            ("script-name", "/api"),
        ] {
            assert!(!is(&[&PREFLIGHT[..], &[more]].concat()), "{more:?}");
        }
        let mut sent = PREFLIGHT;
        sent[1].1 = "/orders?_method=DELETE";
        assert!(!is(&sent));
    }
}
