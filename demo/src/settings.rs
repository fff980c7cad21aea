//! `envoy/demo.env`: the settings that compose and the harness give to the control plane.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use xtask::workspace;

/// The settings of a file in the form of Docker's `env_file`: `NAME=value` lines, `#` comments.
#[derive(Clone, Debug, Default)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Reads `envoy/demo.env`.
    ///
    /// # Errors
    /// If the file is missing or a line is neither a setting nor a comment.
    pub fn demo() -> Result<Self> {
        let path = workspace::root().join("envoy/demo.env");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text)
    }

    /// Parses the text of such a file.
    ///
    /// # Errors
    /// If a line is neither a setting nor a comment; the message quotes its number.
    pub fn parse(text: &str) -> Result<Self> {
        let mut settings = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let setting = line.split_once('=');
            let (name, value) = setting.with_context(|| format!("line {} is not NAME=value", number + 1))?;
            settings.insert(name.to_owned(), value.to_owned());
        }
        Ok(Self(settings))
    }

    /// The value of a setting that the stories depend on.
    ///
    /// # Errors
    /// If it is not set.
    pub fn required(&self, name: &str) -> Result<&str> {
        let value = self.0.get(name).with_context(|| format!("demo.env does not set {name}"))?;
        Ok(value)
    }

    /// Sets or replaces one setting.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Removes one setting.
    pub fn unset(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// All settings, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_are_passed_over_and_values_kept_whole() {
        let settings = Settings::parse("# why\n\nA=1\nB=x=y\n").unwrap();
        assert_eq!(settings.iter().collect::<Vec<_>>(), [("A", "1"), ("B", "x=y")]);
    }

    #[test]
    fn a_line_that_is_no_setting_is_named() {
        let error = Settings::parse("A=1\nnonsense\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2 is not NAME=value");
    }
}
