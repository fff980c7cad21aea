//! Statements for MySQL that hold their values as literals.
//!
//! A statement that runs once is not prepared. The driver would send "close this statement" after it, which MySQL does
//! not answer. The driver does not set `TCP_NODELAY`, so the kernel would hold the next statement back until the server
//! has acknowledged the closing, which it does 40 ms later. Also, one round trip takes the place of two.

use std::fmt::Write as _;

use super::placeholders::replaced;
use super::value::Value;

/// The statement with its values. Texts and bytes are written in hexadecimal digits, so no value can end its literal,
/// whatever the modes of the session are.
pub(super) fn with_literals(statement: &str, values: &[Value<'_>]) -> String {
    replaced(statement, |text, index| match values.get(index) {
        Some(value) => literal(text, *value),
        // The server refuses a placeholder without a value.
        None => text.push('?'),
    })
}

fn literal(text: &mut String, value: Value<'_>) {
    match value {
        Value::Integer(Some(number)) => text.push_str(&number.to_string()),
        Value::Bytes(Some(bytes)) => hexadecimal(text, "x'", bytes),
        Value::Text(Some(value)) => hexadecimal(text, "_utf8mb4 x'", value.as_bytes()),
        Value::Integer(None) | Value::Bytes(None) | Value::Text(None) => text.push_str("NULL"),
    }
}

fn hexadecimal(text: &mut String, opening: &str, bytes: &[u8]) {
    text.push_str(opening);
    for byte in bytes {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_end_its_literal() {
        let values = [Value::from(-7_i64), Value::from("a'$1\\ \u{e9}"), Value::Bytes(Some(b"'\0")), Value::Text(None)];
        assert_eq!(
            with_literals("($1, $2, $3), ($4, $1)", &values),
            "(-7, _utf8mb4 x'612724315c20c3a9', x'2700'), (NULL, -7)"
        );
        assert_eq!(with_literals("$1 $2", &[Value::from("")]), "_utf8mb4 x'' ?");
    }
}
