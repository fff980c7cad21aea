//! A configuration that was written as a `google.protobuf.Struct`, which the host hands over in its binary form.
//!
//! It means the same JSON, but for numbers: a Struct has only 64-bit floating point, so a whole number comes back as one.

use serde_json::{Map, Number, Value};

/// Deeper ones are refused, as in JSON.
const MAX_DEPTH: usize = 32;

/// Whole numbers up to this size are exact in 64-bit floating point.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

/// The object that the bytes mean. `None` if they are no Struct, or hold what JSON does not: a name twice, a number that
/// is none.
pub fn read(bytes: &[u8]) -> Option<Value> {
    object(bytes, 0).map(Value::Object)
}

/// `Struct`: 1 fields, a map, each entry a message of 1 key and 2 value.
fn object(bytes: &[u8], depth: usize) -> Option<Map<String, Value>> {
    let mut object = Map::new();
    for field in fields(bytes)? {
        let (1, Field::Bytes(entry)) = field else { return None };
        let (mut key, mut value) = (None, None);
        for part in fields(entry)? {
            match part {
                (1, Field::Bytes(text)) if key.is_none() => key = Some(std::str::from_utf8(text).ok()?),
                (2, Field::Bytes(message)) if value.is_none() => value = Some(self::value(message, depth)?),
                _ => return None,
            }
        }
        if object.insert(key.unwrap_or_default().to_owned(), value?).is_some() {
            return None;
        }
    }
    Some(object)
}

/// `Value`: exactly one of 1 null, 2 number, 3 string, 4 boolean, 5 Struct, 6 list.
fn value(bytes: &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_add(1).filter(|depth| *depth <= MAX_DEPTH)?;
    let fields = fields(bytes)?;
    let [field] = fields.as_slice() else { return None };
    Some(match field {
        (1, Field::Varint(_)) => Value::Null,
        (2, Field::Fixed(bytes)) => Value::Number(number(f64::from_le_bytes(*bytes))?),
        (3, Field::Bytes(text)) => Value::String(std::str::from_utf8(text).ok()?.to_owned()),
        (4, Field::Varint(value)) => Value::Bool(*value != 0),
        (5, Field::Bytes(message)) => Value::Object(object(message, depth)?),
        (6, Field::Bytes(message)) => Value::Array(list(message, depth)?),
        _ => return None,
    })
}

/// `ListValue`: 1 values.
fn list(bytes: &[u8], depth: usize) -> Option<Vec<Value>> {
    let member = |field| match field {
        (1, Field::Bytes(message)) => value(message, depth),
        _ => None,
    };
    fields(bytes)?.into_iter().map(member).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked on the same line")]
fn number(number: f64) -> Option<Number> {
    if number.fract() == 0.0 && number.abs() <= MOST_EXACT {
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

enum Field<'a> {
    Varint(u64),
    Fixed([u8; 8]),
    Bytes(&'a [u8]),
}

/// The fields of a message with their numbers.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (tag, rest) = varint(bytes)?;
        let (field, rest) = match tag & 7 {
            0 => varint(rest).map(|(value, rest)| (Field::Varint(value), rest))?,
            1 => rest.split_first_chunk::<8>().map(|(value, rest)| (Field::Fixed(*value), rest))?,
            2 => {
                let (length, rest) = varint(rest)?;
                let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Field::Bytes(value), rest)
            }
            _ => return None,
        };
        fields.push((tag >> 3, field));
        bytes = rest;
    }
    Some(fields)
}

/// Seven bits in each byte, the lowest first.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        let shift = u32::try_from(index).ok()?.checked_mul(7)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index.checked_add(1)?..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(field: u8, bytes: &[u8]) -> Vec<u8> {
        let mut message = vec![field << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap());
        [message, bytes.to_vec()].concat()
    }

    fn encoded(value: &Value) -> Vec<u8> {
        match value {
            Value::Null => vec![8, 0],
            Value::Bool(value) => vec![32, u8::from(*value)],
            Value::Number(number) => [&[17][..], &number.as_f64().unwrap().to_le_bytes()].concat(),
            Value::String(text) => message(3, text.as_bytes()),
            Value::Array(members) => {
                message(6, &members.iter().flat_map(|member| message(1, &encoded(member))).collect::<Vec<_>>())
            }
            Value::Object(_) => message(5, &whole(value)),
        }
    }

    fn whole(value: &Value) -> Vec<u8> {
        let entry = |(key, value): (&String, &Value)| {
            message(1, &[message(1, key.as_bytes()), message(2, &encoded(value))].concat())
        };
        value.as_object().unwrap().iter().flat_map(entry).collect()
    }

    #[test]
    fn a_struct_is_the_json_that_it_was_written_as() {
        let document = json!({
            "a": "text".repeat(100), "b": [1, -2, 3.5, true, false, null, {}, []], "c": {"d": {"e": 16_777_216}}, "": 0,
        });
        assert_eq!(read(&whole(&document)), Some(document));
        assert_eq!(read(b""), Some(json!({})));
    }

    #[test]
    fn what_is_no_struct_is_refused() {
        let good = whole(&json!({"a": [1, {"b": "c"}]}));
        for size in 1..good.len() {
            assert_eq!(read(&good[..size]), None, "{size}");
        }
        let twice = [whole(&json!({"a": 1})), whole(&json!({"a": 2}))].concat();
        let infinite =
            message(1, &[message(1, b"a"), message(2, &[&[17][..], &f64::INFINITY.to_le_bytes()].concat())].concat());
        let mut deep = json!(1);
        for _ in 0..=MAX_DEPTH {
            deep = json!([deep]);
        }
        let deep = whole(&json!({ "a": deep }));
        for bytes in [&twice[..], &infinite, &deep, b"{\"a\":1}", b"issuers", b"\x0a\x10\x0a\x07issuers", &[0xff; 40]] {
            assert_eq!(read(bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
