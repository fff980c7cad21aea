//! Any bytes as a message between filter, control plane and host.
//!
//! No reader panics. An accepted message, written again, reads back equal; otherwise the two sides could understand it
//! differently.

use anyhow::{Context as _, Result, ensure};
use curfew_core::RevocationKey;
use curfew_core::wire::{CheckAnswer, CheckRequest, RegisterAnswer, RegisterRequest};
use curfew_filter::header_map::{encode, pairs};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::json::Tree;
use super::{Outcome, head};

/// Each kind of message, read and refused.
pub(super) const REACHES: [Outcome; 7] = ["check", "answer", "register", "registered", "map", "key", "refused"];

/// Judges a message; the first byte says which kind it is.
///
/// # Errors
/// The property that it breaks.
pub fn check(input: &[u8]) -> Result<Outcome> {
    let Some((kind, message)) = input.split_first() else { return Ok("refused") };
    let (read, outcome) = match kind {
        b'c' => (exact::<CheckRequest>(message)?, "check"),
        b'a' => (survives::<CheckAnswer>(message)?.is_some(), "answer"),
        b'r' => (exact::<RegisterRequest>(message)?, "register"),
        b'd' => (survives::<RegisterAnswer>(message)?.is_some(), "registered"),
        b'k' => (key(message)?, "key"),
        b'm' => (map(message)?, "map"),
        _ => (lines(message)?, "lines"),
    };
    Ok(if read { outcome } else { "refused" })
}

/// An accepted message reads back equal after it is written.
fn survives<T: DeserializeOwned + Serialize + PartialEq>(message: &[u8]) -> Result<Option<T>> {
    let Ok(read) = serde_json::from_slice::<T>(message) else { return Ok(None) };
    let written = serde_json::to_vec(&read)?;
    let again: T = serde_json::from_slice(&written).context("what was written is refused")?;
    ensure!(again == read, "what was written reads differently");
    Ok(Some(read))
}

/// As above, and nothing in the message was left out, added or repeated.
fn exact<T: DeserializeOwned + Serialize + PartialEq>(message: &[u8]) -> Result<bool> {
    let Some(read) = survives::<T>(message)? else { return Ok(false) };
    let tree = Tree::read(message).context("accepted, and no JSON")?;
    ensure!(!tree.names_twice(), "accepted with a member twice");
    ensure!(same(&serde_json::to_value(&read)?, &serde_json::from_slice(message)?), "something was left out");
    Ok(true)
}

/// True if a message means what was read from it. A member that is null counts as absent; and serde also accepts a list
/// of an object's values, in their order, for the object.
fn same(understood: &Value, said: &Value) -> bool {
    match (understood, said) {
        (Value::Object(_), Value::Array(_)) => true,
        (Value::Object(understood), Value::Object(said)) => {
            let said = || said.iter().filter(|(_, value)| !value.is_null());
            let known = |(name, value)| understood.get(name).is_some_and(|own| same(own, value));
            understood.len() == said().count() && said().all(known)
        }
        (Value::Array(understood), Value::Array(said)) => {
            understood.len() == said.len() && understood.iter().zip(said).all(|(own, value)| same(own, value))
        }
        (understood, said) => understood == said,
    }
}

/// An identifier has one spelling.
fn key(message: &[u8]) -> Result<bool> {
    let Ok(text) = std::str::from_utf8(message) else { return Ok(false) };
    let Ok(key) = text.parse::<RevocationKey>() else { return Ok(false) };
    ensure!(key.to_string() == text, "{text:?} is a second spelling of {key}");
    Ok(true)
}

/// A host's header map.
fn map(message: &[u8]) -> Result<bool> {
    let Some(read) = pairs(message) else { return Ok(false) };
    let written = encode(&read);
    ensure!(pairs(&written).as_ref() == Some(&read), "what was written reads differently");
    Ok(true)
}

/// Headers that are written as a map.
fn lines(message: &[u8]) -> Result<bool> {
    let headers = head::read(message);
    let written = encode(&headers);
    ensure!(pairs(&written) == Some(head::borrowed(&headers)), "what was written reads differently");
    Ok(true)
}
