//! Secrets that everybody knows or can guess, which are refused where other machines can reach a listener.
//!
//! Entropy cannot be measured by looking at a text. What is refused here is what people do type: the demo's secrets, and a key
//! that is held down.

/// How a good secret is made; the end of each message.
pub(super) const MAKE_ONE: &str = "make one with `openssl rand -hex 32`";

/// What each secret in `envoy/demo.env` begins with. They are in every copy of the repository.
const PUBLISHED: &[u8] = b"demo-only-";

/// Different bytes in a secret. Of 16 random hexadecimal digits, fewer than this are different once in two million times.
const FEWEST_BYTES: usize = 5;

/// Why the secret protects nothing, if it does not.
pub(super) fn weakness(secret: &[u8]) -> Option<&'static str> {
    if secret.starts_with(PUBLISHED) {
        return Some("is published with Curfew's demo");
    }
    let mut bytes = secret.to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    (bytes.len() < FEWEST_BYTES || is_repetition(secret)).then_some("is a repetition that can be guessed")
}

/// True if the text is a shorter one, written at least twice.
fn is_repetition(secret: &[u8]) -> bool {
    (1..=secret.len() / 2).any(|period| {
        let again = secret.get(period..).unwrap_or_default();
        secret.starts_with(again)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_of_the_demo_are_known_to_everybody() {
        let demo = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../envoy/demo.env")).unwrap();
        let secrets = demo
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter(|(name, _)| ["JWT_SECRET", "CURFEW_INTERNAL_SECRET", "APP_KEY"].contains(name));
        let secrets: Vec<_> = secrets.map(|(_, secret)| secret).collect();
        assert_eq!(secrets.len(), 3);
        for secret in secrets {
            assert_eq!(weakness(secret.as_bytes()), Some("is published with Curfew's demo"), "{secret}");
        }
    }

    #[test]
    fn a_key_that_was_held_down_is_no_secret() {
        let repetitions =
            ["aaaaaaaaaaaaaaaa", "changemechangeme", "0123456789abcdef0123456789abcdef", "aabbccddaabbddcc"];
        for secret in repetitions.into_iter().chain(["abcabcabcabcabcab", "00000000000000000000000000000012"]) {
            assert!(weakness(secret.as_bytes()).is_some(), "{secret}");
        }
        for secret in ["6f1b0a4e9c2d8b7a", "correct horse battery", "KEY-bookkeeper-99", "the secret of this server"] {
            assert_eq!(weakness(secret.as_bytes()), None, "{secret}");
        }
    }
}
