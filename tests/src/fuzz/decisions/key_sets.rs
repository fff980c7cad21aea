//! Answers to calls for keys in scripts: words for how one differs from an answer with all keys of each issuer.
//!
//! | word | meaning |
//! |---|---|
//! | `qN`, `eN` | `keys_seq`, else 0; an epoch of these bytes, else of zeros |
//! | `n` | the sets are empty |
//! | `x` | there are no sets |
//! | `hN` | only every key whose place has this bit |
//! | `g` | the sets are no JWK Sets |
//! | `zN` | filled up with spaces to so many bytes |

use anyhow::Result;
use curfew_core::Epoch;
use curfew_core::wire::{IssuerKeys, KeysAnswer, KeysRequest};
use serde_json::{Value, json};

use crate::fuzz::script::number;

/// The largest size that an answer is filled up to.
const MOST_BYTES: usize = 1 << 20;

/// The body of an answer to this call. `issuers` are those of the configuration before their keys were taken out.
pub(super) fn body(words: &[u8], request: &KeysRequest, issuers: &[Value]) -> Result<Vec<u8>> {
    let (mut epoch, mut keys_seq, mut bytes) = (Epoch::from_bytes([0; 16]), 0, 0);
    let mut change: Box<dyn Fn(Option<Value>) -> Option<Value>> = Box::new(|jwks| jwks);
    for (kind, rest) in words.split(|&byte| byte == b' ').filter_map(|word| word.split_first()) {
        match kind {
            b'q' => keys_seq = number(rest),
            b'e' => epoch = Epoch::from_bytes([number(rest); 16]),
            b'n' => change = Box::new(|_| Some(json!({"keys": []}))),
            b'x' => change = Box::new(|_| None),
            b'g' => change = Box::new(|_| Some(json!({"keys": 7}))),
            b'h' => {
                let bit = number::<usize>(rest) % 8;
                change = Box::new(move |jwks| jwks.map(|jwks| some_of(&jwks, bit)));
            }
            b'z' => bytes = number::<usize>(rest).min(MOST_BYTES),
            _ => {}
        }
    }
    let set = |issuer: &String| IssuerKeys { issuer: issuer.clone(), jwks: change(jwks(issuer, issuers)) };
    let answer = KeysAnswer { epoch, keys_seq, sets: request.issuers.iter().map(set).collect() };
    let mut body = serde_json::to_vec(&answer)?;
    body.resize(body.len().max(bytes), b' ');
    Ok(body)
}

fn jwks(issuer: &str, issuers: &[Value]) -> Option<Value> {
    let named = |known: &&Value| known.get("issuer").and_then(Value::as_str).unwrap_or_default() == issuer;
    issuers.iter().find(named)?.get("jwks").cloned()
}

fn some_of(jwks: &Value, bit: usize) -> Value {
    let keys = jwks.get("keys").and_then(Value::as_array).into_iter().flatten().enumerate();
    let keys: Vec<_> = keys.filter(|(place, _)| place >> bit & 1 == 1).map(|(_, key)| key).collect();
    json!({ "keys": keys })
}
