//! Sixteen-byte identifiers and their one spelling: 32 lower-case hexadecimal digits.

use std::fmt;

use ct_codecs::{Decoder, Hex};

/// A text that is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 lower-case hexadecimal digits")]
pub struct ParseIdError;

pub(crate) fn parse(text: &str) -> Result<[u8; 16], ParseIdError> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ParseIdError);
    }
    let mut bytes = [0; 16];
    match Hex::decode(&mut bytes, text, None) {
        Ok(decoded) if decoded.len() == 16 => Ok(bytes),
        _ => Err(ParseIdError),
    }
}

pub(crate) fn write(bytes: &[u8; 16], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
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
    /// Names one history of the log of revocations: random, made anew whenever a seq could mean something else than before.
    Epoch
}

sixteen_bytes! {
    /// Names a worker for as long as what it holds only grows: 128 random bits that are never used again.
    ///
    /// Were an id used by two, what is known of the first would be believed of the second, and a logout would not wait for
    /// it.
    WorkerId
}
