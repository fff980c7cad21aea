//! Placeholders. Our statements have `$1`, `$2` ..., which SQLite and PostgreSQL understand. MySQL knows only `?`, one
//! for each value, in the order of the values.

/// The statement with a `?` for each placeholder, and the index of the value for each of them.
///
/// Only for our own statements: a dollar sign in a literal or a comment would count as a placeholder.
pub(super) fn in_order(statement: &str) -> (String, Vec<usize>) {
    let mut order = Vec::new();
    let text = replaced(statement, |text, index| {
        order.push(index);
        text.push('?');
    });
    (text, order)
}

/// The statement with each placeholder replaced. `place` is given the text before it and the index of its value.
pub(super) fn replaced(statement: &str, mut place: impl FnMut(&mut String, usize)) -> String {
    let mut parts = statement.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|character: char| character.is_ascii_digit());
        let number = part.strip_suffix(rest).and_then(|number| number.parse::<usize>().ok());
        place(&mut text, number.unwrap_or_default().saturating_sub(1));
        text.push_str(rest);
    }
    text
}

/// `count` placeholders, such as `$1, $2, $3`.
pub(crate) fn list(count: usize) -> String {
    (1..=count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

/// `rows` tuples of `columns` placeholders, such as `($1, $2), ($3, $4)`.
pub(crate) fn tuples(columns: usize, rows: usize) -> String {
    let row = |row: usize| (1..=columns).map(move |column| format!("${}", row.saturating_mul(columns) + column));
    let rows = (0..rows).map(|number| format!("({})", row(number).collect::<Vec<_>>().join(", ")));
    rows.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_given_as_often_as_it_is_named() {
        let statement = "SELECT a FROM t WHERE b IN ($2, $1) AND ($10 IS NULL OR c = $2)";
        let expected = "SELECT a FROM t WHERE b IN (?, ?) AND (? IS NULL OR c = ?)";
        assert_eq!(in_order(statement), (expected.to_owned(), vec![1, 0, 9, 1]));
    }

    #[test]
    fn values_of_many_rows_are_numbered_through() {
        assert_eq!(list(3), "$1, $2, $3");
        assert_eq!(tuples(2, 3), "($1, $2), ($3, $4), ($5, $6)");
    }

    #[test]
    fn a_statement_without_values_stays_as_it_is() {
        assert_eq!(in_order("SELECT 1"), ("SELECT 1".to_owned(), vec![]));
        assert_eq!(in_order(""), (String::new(), vec![]));
    }
}
