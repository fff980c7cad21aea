//! The known name that a misspelt one was meant to be.

/// Longer names are not compared: a document may hold any text in the place of a name.
const LONGEST: usize = 40;

/// The most similar of the known names, if it is similar at all: one letter in four may differ, and neither case nor
/// punctuation counts.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let letters = letters(name);
    if letters.len() > LONGEST {
        return None;
    }
    let distances = known.iter().map(|known| (distance(&letters, &self::letters(known)), *known));
    let (distance, nearest) = distances.min()?;
    (distance <= letters.len().div_ceil(4)).then_some(nearest)
}

fn letters(name: &str) -> Vec<char> {
    name.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// How many letters must be added, taken away or replaced (Levenshtein).
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.iter().enumerate() {
        let mut next = vec![index.saturating_add(1)];
        for ((above, before), wanted) in row.iter().skip(1).zip(&row).zip(other) {
            let left = next.last().copied().unwrap_or_default();
            let replaced = before.saturating_add(usize::from(letter != wanted));
            next.push(replaced.min(above.saturating_add(1)).min(left.saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_name_is_found_and_no_other() {
        let known = ["rules", "sources", "max_staleness", "report_only"];
        for (name, expected) in [
            ("rule", Some("rules")),
            ("Sources", Some("sources")),
            ("source", Some("sources")),
            ("maxStaleness", Some("max_staleness")),
            ("report-olny", Some("report_only")),
            ("timeout", None),
            ("", None),
            (&"rules".repeat(1000), None),
        ] {
            assert_eq!(nearest(name, &known), expected, "{name}");
        }
        assert_eq!(nearest("x", &[]), None);
    }
}
