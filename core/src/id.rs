//! Sixteen-byte identifiers and their only spelling: 32 lower-case hexadecimal digits.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The text is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 lower-case hexadecimal digits")]
pub struct ParseIdError;

pub(crate) fn parse(text: &str) -> Result<[u8; 16], ParseIdError> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 32 || !text.bytes().all(is_digit) {
        return Err(ParseIdError);
    }
    u128::from_str_radix(text, 16).map(u128::to_be_bytes).map_err(|_| ParseIdError)
}

pub(crate) fn write(bytes: &[u8; 16], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(formatter, "{:032x}", u128::from_be_bytes(*bytes))
}

/// The first 16 bytes of a SHA-256 over a label and parts. Each part is preceded by its length, so that no two lists of
/// parts give the same bytes.
pub(crate) fn labelled(label: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(label.as_bytes());
    for part in parts {
        // usize to u64 widens on every platform that Curfew is built for.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    truncated(hash.finalize().into())
}

/// The first half of a digest.
pub(crate) fn truncated(digest: [u8; 32]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = from;
    }
    bytes
}

/// Declares a sixteen-byte identifier with its text and JSON forms, so that no two kinds can be mixed up.
macro_rules! sixteen_bytes {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Takes sixteen bytes that were computed or stored before.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The sixteen bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::id::write(&self.0, formatter)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::id::ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::id::parse(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use sixteen_bytes;

sixteen_bytes! {
    /// Names one history of the log of revocations. It is random, and new whenever a seq could mean something else than
    /// before.
    Epoch
}

sixteen_bytes! {
    /// Names an issuer, whose own name may be longer than an index of a database takes.
    IssuerId
}

impl IssuerId {
    /// The id of the issuer with this name; "" is the issuer without a name.
    pub fn of(issuer: &str) -> Self {
        Self(labelled("curfew:v1:issuer", &[issuer.as_bytes()]))
    }
}

sixteen_bytes! {
    /// Names a worker for as long as its copy of the log only grows: 128 random bits that are never used again.
    ///
    /// If two workers had one id, the acknowledgements of the first would count for the second, and a logout would not
    /// wait for it.
    WorkerId
}
