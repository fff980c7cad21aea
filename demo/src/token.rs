//! Tokens of the demo's issuer: HS256 with the secret in `demo.env`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ct_codecs::{Base64UrlSafeNoPadding, Encoder as _};
use serde_json::{Value, json};

/// The issuer in `demo.env`.
pub const ISSUER: &str = "http://curfew.localhost";

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Seconds since 1970 by this machine's clock.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Claims of a token that the demo's issuer would make now, valid for an hour. The `jti` keeps two tokens of the same
/// second apart.
pub fn claims(user: &str) -> Value {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let now = now();
    let jti = format!("{}-{now}-{serial}", std::process::id());
    json!({"iss": ISSUER, "sub": user, "iat": now, "exp": now + 3600, "jti": jti})
}

/// A token with these claims, as the demo's issuer makes it.
pub fn sign(secret: &str, claims: &Value) -> String {
    hs256_bytes(secret, HEADER, claims.to_string().as_bytes())
}

/// A token with exactly this header and payload, signed with HMAC-SHA-256 even if the header names another algorithm.
pub fn hs256_bytes(secret: &str, header: &str, payload: &[u8]) -> String {
    let input = format!("{}.{}", base64(header.as_bytes()), base64(payload));
    let mac = hmac_sha256::HMAC::mac(input.as_bytes(), secret.as_bytes());
    format!("{input}.{}", base64(&mac))
}

/// Base64url without padding.
pub fn base64(bytes: &[u8]) -> String {
    Base64UrlSafeNoPadding::encode_to_string(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tokens_of_one_second_differ() {
        assert_ne!(claims("u"), claims("u"));
    }

    /// The example of RFC 7515, appendix A.1, whose key and texts are given there.
    #[test]
    fn the_signature_is_that_of_the_standard() {
        let header = "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}";
        let payload = b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
        let token = hs256_bytes("no text can be that key", header, payload);
        assert!(
            token.starts_with("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODA")
        );
        assert_eq!(token.split('.').map(str::len).collect::<Vec<_>>(), [40, 94, 43]);
    }
}
