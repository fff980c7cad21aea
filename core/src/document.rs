//! Reads a configuration document field by field and collects every mistake, so that an operator can correct all of
//! them at once.
//!
//! An unknown field is a mistake too: a misspelt `audience` that is silently ignored is a hole.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde_json::Value;
use serde_json::error::Category;

use crate::nearest::nearest;
use crate::{Object, json};

/// Reads a configuration's text. A member that is named twice is a mistake, because it is unclear which of the two
/// counts.
///
/// # Errors
/// What is wrong with the text. The error does not quote the text, which may hold secrets.
pub fn read_document(text: &[u8]) -> Result<Value, String> {
    let text = text.trim_ascii();
    if let Some(object) = json::read_object(text) {
        return Ok(Value::Object(object));
    }
    match serde_json::from_slice::<Value>(text) {
        Ok(Value::Object(_)) => Err("names a member twice, or is nested too deeply".to_owned()),
        Ok(other) => Ok(other),
        Err(error) => {
            let problem = match error.classify() {
                Category::Eof => "ends too early",
                _ => "is not valid JSON",
            };
            Err(format!("{problem} (line {}, column {})", error.line(), error.column()))
        }
    }
}

/// One thing that is wrong with a configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The path of the field, such as `issuers[0].secret`; empty for the document itself.
    pub field: String,
    /// What is wrong, and what would be right. Never holds a secret's value.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => formatter.write_str(&self.problem),
            field => write!(formatter, "{field}: {}", self.problem),
        }
    }
}

/// How many mistakes are kept: more than an operator corrects at once. A document may be of any size, but not the
/// report about it in the log.
const MOST_MISTAKES: usize = 100;

/// The longest path of a field that is shown whole, in characters.
const LONGEST_FIELD: usize = 100;

/// Everything that is wrong with a configuration, up to a hundred mistakes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Notes a mistake in `field`.
    pub fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        if self.0.len() < MOST_MISTAKES {
            self.0.push(Mistake { field: shown(field.into()), problem: problem.into() });
        }
    }

    /// True if nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes in the order in which they were noted.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The fields of one JSON object.
///
/// Each getter returns `None` both for an absent field and for a wrong one, and notes a wrong one. Callers can
/// therefore use defaults freely, and give up at the end if [`Mistakes`] is not empty.
pub struct Fields<'a, 'm> {
    path: String,
    object: &'a Object,
    asked: BTreeSet<&'static str>,
    mistakes: &'m mut Mistakes,
}

impl<'a, 'm> Fields<'a, 'm> {
    /// Reads the value at `path` with `read`, and then notes each field that `read` did not ask for.
    pub fn read<T>(
        path: impl Into<String>,
        value: &'a Value,
        mistakes: &'m mut Mistakes,
        read: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        let path = path.into();
        let Value::Object(object) = value else {
            mistakes.add(path, "must be an object");
            return None;
        };
        let asked = BTreeSet::new();
        let mut fields = Fields { path, object, asked, mistakes };
        let result = read(&mut fields);
        fields.note_unknown();
        Some(result)
    }

    fn note_unknown(&mut self) {
        for name in self.object.keys() {
            if !self.asked.contains(name.as_str()) {
                let known: Vec<_> = self.asked.iter().copied().collect();
                let meant = nearest(name, &known).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
                let list = format!(" (known: {})", known.join(", "));
                // The same list once: a report with ten of them hides what it says.
                let is_told = self.mistakes.iter().any(|mistake| mistake.problem.ends_with(&list));
                let list = if is_told { "" } else { &list };
                self.mistakes.add(join(&self.path, name), format!("is not a known field here{meant}{list}"));
            }
        }
    }

    /// The path of a field, for nested reads and messages.
    pub fn at(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Notes a mistake in the field `name`.
    pub fn wrong(&mut self, name: &str, problem: impl Into<String>) {
        self.mistakes.add(join(&self.path, name), problem);
    }

    /// Notes, under the field `name`, the mistakes of its value, which was read by itself.
    pub fn all_wrong(&mut self, name: &str, inner: &Mistakes) {
        for mistake in inner.iter() {
            self.mistakes.add(join(&self.at(name), &mistake.field), mistake.problem.clone());
        }
    }

    /// A mistake of the value of the field `name`, which was read by itself, with its whole path.
    pub(crate) fn inside(&self, name: &str, inner: &Mistake) -> Mistake {
        Mistake { field: join(&self.at(name), &inner.field), problem: inner.problem.clone() }
    }

    /// The mistakes so far, for readers of nested values to add to.
    pub fn mistakes(&mut self) -> &mut Mistakes {
        self.mistakes
    }

    /// True if the field is present, right or wrong.
    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// The field's value as it is.
    pub fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.asked.insert(name);
        self.object.get(name)
    }

    /// A non-empty string.
    pub fn text(&mut self, name: &'static str) -> Option<&'a str> {
        match self.value(name)? {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => self.must(name, "must be a non-empty string"),
        }
    }

    /// A boolean.
    pub fn boolean(&mut self, name: &'static str) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(value) => Some(*value),
            _ => self.must(name, "must be true or false"),
        }
    }

    /// A whole number that is not negative.
    pub fn whole_number(&mut self, name: &'static str) -> Option<u64> {
        match self.value(name)?.as_u64() {
            Some(number) => Some(number),
            None => self.must(name, "must be a whole number, not negative"),
        }
    }

    /// A duration such as `"5s"`, `"500ms"`, `"30d"`.
    pub fn duration(&mut self, name: &'static str) -> Option<Duration> {
        let parsed = self.value(name)?.as_str().map(humantime::parse_duration);
        match parsed {
            Some(Ok(duration)) => Some(duration),
            _ => self.must(name, r#"must be a duration such as "500ms", "5s" or "30d""#),
        }
    }

    /// One of a fixed set of words.
    pub fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.value(name)?.as_str();
        if let Some((_, choice)) = choices.iter().find(|(word, _)| Some(*word) == text) {
            return Some(*choice);
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        self.must(name, format!("must be one of: {}", words.join(", ")))
    }

    /// A list of anything.
    pub fn list(&mut self, name: &'static str) -> Option<&'a [Value]> {
        match self.value(name)? {
            Value::Array(values) => Some(values),
            _ => self.must(name, "must be a list"),
        }
    }

    /// A list of non-empty strings, at least one. An empty list of audiences or methods would accept any, which the
    /// operator certainly did not mean.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        let values = self.list(name)?;
        let texts: Option<Vec<_>> = values
            .iter()
            .map(|value| value.as_str().filter(|text| !text.is_empty()))
            .map(|text| text.map(str::to_owned))
            .collect();
        match texts.filter(|texts| !texts.is_empty()) {
            Some(texts) => Some(texts),
            None => self.must(name, "must be a list of non-empty strings, at least one"),
        }
    }

    fn must<T>(&mut self, name: &str, problem: impl Into<String>) -> Option<T> {
        self.wrong(name, problem);
        None
    }
}

/// A field's path in a form that fits into a line of the log: the name of an unknown field may be any text.
fn shown(field: String) -> String {
    let fits = field.char_indices().nth(LONGEST_FIELD).is_none();
    if fits && !field.chars().any(char::is_control) {
        return field;
    }
    let plain = |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    let end = if fits { "" } else { "..." };
    field.chars().take(LONGEST_FIELD).map(plain).chain(end.chars()).collect()
}

fn join(path: &str, name: &str) -> String {
    match (path, name) {
        ("", name) => name.to_owned(),
        (path, "") => path.to_owned(),
        (path, name) => format!("{path}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_mistake_is_named_with_its_field() {
        let document = json!({
            "name": "", "port": -1, "wait": "5", "mode": "fast", "tags": ["a", 1], "on": "yes", "odd": 1,
        });
        let mut mistakes = Mistakes::default();
        Fields::read("settings", &document, &mut mistakes, |fields| {
            assert_eq!(fields.text("name"), None);
            assert_eq!(fields.whole_number("port"), None);
            assert_eq!(fields.duration("wait"), None);
            assert_eq!(fields.choice("mode", &[("slow", 1), ("slower", 2)]), None);
            assert_eq!(fields.texts("tags"), None);
            assert_eq!(fields.boolean("on"), None);
        });
        let lines: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
        assert_eq!(
            lines,
            [
                "settings.name: must be a non-empty string",
                "settings.port: must be a whole number, not negative",
                r#"settings.wait: must be a duration such as "500ms", "5s" or "30d""#,
                "settings.mode: must be one of: slow, slower",
                "settings.tags: must be a list of non-empty strings, at least one",
                "settings.on: must be true or false",
                "settings.odd: is not a known field here (known: mode, name, on, port, tags, wait)",
            ]
        );
    }

    #[test]
    fn a_misspelt_field_is_told_what_it_is_meant_to_be() {
        let document = json!({"max_stalenes": 1, "corsPreflight": 2, "surprise": 3});
        let mut mistakes = Mistakes::default();
        Fields::read("", &document, &mut mistakes, |fields| {
            for name in ["cors_preflight", "max_staleness", "rules"] {
                fields.value(name);
            }
        });
        let lines: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
        let known = "(known: cors_preflight, max_staleness, rules)";
        // Once is enough.
        assert_eq!(
            lines,
            [
                format!("corsPreflight: is not a known field here; did you mean cors_preflight? {known}"),
                "max_stalenes: is not a known field here; did you mean max_staleness?".to_owned(),
                "surprise: is not a known field here".to_owned(),
            ]
        );
    }

    #[test]
    fn a_name_that_does_not_fit_a_log_is_shown_as_far_as_it_does() {
        let long = "x".repeat(LONGEST_FIELD);
        let document = json!({"a\n[error] b": 1, format!("{long}yz"): 2, &long: 3});
        let mut mistakes = Mistakes::default();
        Fields::read("", &document, &mut mistakes, |_| ());
        let fields: Vec<_> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
        assert_eq!(fields, ["a\u{fffd}[error] b", &long, &format!("{long}...")]);
    }

    #[test]
    fn mistakes_are_noted_up_to_a_bound() {
        let document: Object = (0..1000).map(|number| (number.to_string(), json!(1))).collect();
        let mut mistakes = Mistakes::default();
        Fields::read("", &Value::Object(document), &mut mistakes, |_| ());
        assert_eq!(mistakes.iter().count(), MOST_MISTAKES);
    }

    #[test]
    fn what_is_right_is_read_and_what_is_absent_is_left_to_the_default() {
        let document = json!({"name": "a", "wait": "1m 30s", "tags": ["x"]});
        let mut mistakes = Mistakes::default();
        Fields::read("", &document, &mut mistakes, |fields| {
            assert_eq!(fields.text("name"), Some("a"));
            assert_eq!(fields.duration("wait"), Some(Duration::from_secs(90)));
            assert_eq!(fields.texts("tags"), Some(vec!["x".to_owned()]));
            assert_eq!(fields.boolean("on"), None);
        });
        assert_eq!(mistakes, Mistakes::default());
    }

    #[test]
    fn a_document_is_read_without_quoting_it() {
        assert_eq!(read_document(b" {\"a\": 1}\n"), Ok(json!({"a": 1})));
        assert_eq!(read_document(b"[1]"), Ok(json!([1])));
        let problem = |text: &[u8]| read_document(text).unwrap_err();
        assert_eq!(problem(b"{\"a\": 1, \"a\": 2}"), "names a member twice, or is nested too deeply");
        assert_eq!(problem(b"{\"secret\": "), "ends too early (line 1, column 10)");
        assert_eq!(problem(b"{\"secret\": hunter2}"), "is not valid JSON (line 1, column 12)");
    }

    #[test]
    fn a_document_that_is_no_object_is_one_mistake() {
        let mut mistakes = Mistakes::default();
        assert_eq!(Fields::read("", &json!([]), &mut mistakes, |_| ()), None);
        assert_eq!(mistakes.to_string(), "must be an object");
    }
}
