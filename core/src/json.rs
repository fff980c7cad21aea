//! A strict reader for the JSON inside tokens.
//!
//! If two parsers read one document differently, an attacker can show each of them another token. So everything that
//! parsers are known to disagree about is refused: a member named twice (also when one name is escaped), text that is
//! not UTF-8 or holds half a surrogate pair, numbers out of range, and bytes after the end. Deep nesting, which costs
//! stack, is refused too.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::Object;

/// How deep arrays and objects may nest, including the outermost object.
const MAX_DEPTH: usize = 32;

/// Reads `bytes` as one JSON object that starts at the first byte.
pub(crate) fn read_object(bytes: &[u8]) -> Option<Object> {
    if bytes.first() != Some(&b'{') {
        return None;
    }
    match read_value(bytes)? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn read_value(bytes: &[u8]) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(value)
}

/// Builds a [`Value`] and checks depth and member names on the way.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom("member named twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_object_is_read_as_it_is() {
        let object = read_object(br#"{"a":[1,-2,3.5,null,true,"x"],"b":{}}"#).unwrap();
        assert_eq!(Value::Object(object), serde_json::json!({"a":[1,-2,3.5,null,true,"x"],"b":{}}));
    }

    #[test]
    fn what_parsers_disagree_about_is_refused() {
        let documents: [&[u8]; 15] = [
            b"",
            b" {}",
            b"[]",
            b"null",
            b"{} ,",
            b"{}{}",
            b"\xef\xbb\xbf{}",
            br#"{"a":1,"a":1}"#,
            br#"{"jti":1,"\u006ati":2}"#,
            br#"{"x":{"a":1,"a":2}}"#,
            br#"{"a":1e400}"#,
            br#"{"a":NaN}"#,
            br#"{"a":"\ud800"}"#,
            b"{\"a\":\"\xff\"}",
            b"{\"a\xff\":1}",
        ];
        for document in documents {
            assert!(read_object(document).is_none(), "{document:?}");
        }
    }

    #[test]
    fn nesting_ends_at_the_bound() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(read_object(nested(MAX_DEPTH - 1).as_bytes()).is_some());
        assert!(read_object(nested(MAX_DEPTH).as_bytes()).is_none());
        assert!(read_object(nested(100_000).as_bytes()).is_none());
    }
}
