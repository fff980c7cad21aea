//! Secrets from the environment and from files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use curfew_core::Mistakes;

use super::names;
use crate::secret::Secret;

/// The environment variables, taken once; tests make their own.
#[derive(Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    /// Variables whose value is not UTF-8.
    unreadable: BTreeSet<String>,
}

impl Environment {
    /// The variables of this process. A variable whose name is not UTF-8 cannot be a setting and is left out.
    pub fn of_process() -> Self {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
    }

    /// Succeeds if every setting in the environment is text.
    ///
    /// # Errors
    ///
    /// The settings that are not text. If they were left out silently, a generated secret would take the place of a
    /// given one.
    pub fn all_readable(&self) -> Result<(), Mistakes> {
        let mut mistakes = Mistakes::default();
        let ours = self.unreadable.iter().filter(|name| names::is_setting(name));
        ours.for_each(|name| mistakes.add(name, "is not valid UTF-8"));
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    /// Variables that look like Curfew's settings and are not.
    pub(super) fn unknown(&self) -> Vec<&str> {
        let all = self.values.keys().chain(&self.unreadable);
        all.map(String::as_str).filter(|name| name.starts_with("CURFEW_") && !names::is_setting(name)).collect()
    }

    /// The variable's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The secret in the variable `name` or in the file that `name` with `_FILE` names. A file's last line break is not
    /// part of the secret: every editor makes one.
    pub(super) fn secret(&self, name: &str, file: Option<&Path>, mistakes: &mut Mistakes) -> Option<Secret> {
        let text = match (self.get(name), file) {
            (None, None) => return None,
            (Some(value), None) => value.to_owned(),
            (None, Some(path)) => {
                read(&format!("{name}_FILE"), path, mistakes)?.trim_end_matches(['\r', '\n']).to_owned()
            }
            (Some(_), Some(_)) => {
                mistakes.add(name, format!("is set, and so is {name}_FILE: set one of them"));
                return None;
            }
        };
        if text.is_empty() {
            mistakes.add(name, "is set, but empty");
            return None;
        }
        Some(Secret::new(text))
    }
}

impl FromIterator<(String, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, OsString)>>(variables: I) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            match value.into_string() {
                Ok(value) => drop(environment.values.insert(name, value)),
                Err(_) => drop(environment.unreadable.insert(name)),
            }
        }
        environment
    }
}

/// The text of a file that the setting `name` names.
pub(super) fn read(name: &str, path: &Path, mistakes: &mut Mistakes) -> Option<String> {
    fs::read_to_string(path)
        .map_err(|error| mistakes.add(name, format!("{} cannot be read: {error}", path.display())))
        .ok()
}
