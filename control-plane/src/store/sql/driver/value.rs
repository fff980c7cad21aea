//! The parameters of a statement.

use curfew_core::RevocationKey;

/// A parameter of a statement. NULL has a type, too, because PostgreSQL needs it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A number, a time or a boolean (0 or 1).
    Integer(Option<i64>),
    /// A key.
    Bytes(Option<&'a [u8]>),
    /// A text.
    Text(Option<&'a str>),
}

/// The parameters of a statement in their order: `$1` is the first one.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::adoption::Value::from($value)),*] };
}
pub(crate) use values;

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(Some(number))
    }
}

/// A seq or a count. No database holds more than a signed number can.
impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Integer(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<Option<u64>> for Value<'_> {
    fn from(number: Option<u64>) -> Self {
        Self::Integer(number.map(|number| i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(boolean: bool) -> Self {
        Self::Integer(Some(i64::from(boolean)))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Option<String>> for Value<'a> {
    fn from(text: &'a Option<String>) -> Self {
        Self::Text(text.as_deref())
    }
}

impl<'a> From<&'a [u8; 16]> for Value<'a> {
    fn from(bytes: &'a [u8; 16]) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl<'a> From<&'a RevocationKey> for Value<'a> {
    fn from(key: &'a RevocationKey) -> Self {
        Self::Bytes(Some(key.as_bytes()))
    }
}

impl<'a> From<&'a Option<RevocationKey>> for Value<'a> {
    fn from(key: &'a Option<RevocationKey>) -> Self {
        Self::Bytes(key.as_ref().map(|key| key.as_bytes().as_slice()))
    }
}
