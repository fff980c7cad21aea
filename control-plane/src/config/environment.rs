//! Secrets from the environment and from files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use curfew_core::Mistakes;

use crate::secret::Secret;

/// The environment variables, taken once; tests make their own.
#[derive(Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process. Text that is not UTF-8 cannot be one of ours and is left out.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The variable's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
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

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// The text of a file that the setting `name` names.
pub(super) fn read(name: &str, path: &Path, mistakes: &mut Mistakes) -> Option<String> {
    fs::read_to_string(path)
        .map_err(|error| mistakes.add(name, format!("{} cannot be read: {error}", path.display())))
        .ok()
}
