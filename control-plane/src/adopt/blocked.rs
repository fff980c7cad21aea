//! Whether a row's `is_block` means yes or no. Frameworks declare it as a boolean, a number, a text or an enumeration.
//! Pure.

/// Reads the column's value in the database's text form; `None` if it means neither yes nor no. NULL is no.
///
/// An unknown value never counts as a no: a token that was blocked would work again.
pub(super) fn is_blocked(text: Option<&str>) -> Option<bool> {
    let Some(text) = text else { return Some(false) };
    // MySQL returns a single bit as the character with that number.
    let text = text.trim_matches(|character: char| character.is_ascii_whitespace());
    match text.to_ascii_lowercase().as_str() {
        "" | "\0" | "f" | "false" | "n" | "no" | "off" => Some(false),
        "\u{1}" | "t" | "true" | "y" | "yes" | "on" => Some(true),
        number => number.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number != 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_way_to_say_yes_and_no_is_known() {
        for no in ["0", "false", "FALSE", "f", "no", "N", "off", "", " ", "\0", "0.00", "-0"] {
            assert_eq!(is_blocked(Some(no)), Some(false), "{no:?}");
        }
        for yes in ["1", "true", "True", "t", "yes", "Y", "on", "\u{1}", "-1", "2", "0.5", "1.00", " 1 "] {
            assert_eq!(is_blocked(Some(yes)), Some(true), "{yes:?}");
        }
        assert_eq!(is_blocked(None), Some(false));
    }

    #[test]
    fn a_value_that_is_neither_yes_nor_no_is_not_guessed() {
        for neither in ["blocked", "active", "2026-11-01 10:00:00", "nan", "inf", "0x1", "\0\0", "f1"] {
            assert_eq!(is_blocked(Some(neither)), None, "{neither:?}");
        }
    }
}
