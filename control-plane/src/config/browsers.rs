//! What is for browsers that log out by themselves.

use axum::http::HeaderValue;
use clap::Args;
use curfew_core::Mistakes;

/// What may be deleted, as the header names it.
const KINDS: [&str; 5] = ["cache", "cookies", "executionContexts", "storage", "*"];

/// What browsers are answered.
#[derive(Debug, Args)]
#[command(next_help_heading = "Browsers")]
pub struct BrowserArgs {
    /// What a browser is told to delete at a logout, with commas between: cache, cookies, executionContexts, storage, *;
    /// or none
    #[arg(
        long,
        env = "CURFEW_CLEAR_SITE_DATA",
        value_name = "KINDS",
        default_value = "storage",
        hide_env_values = true
    )]
    clear_site_data: String,
}

impl BrowserArgs {
    pub(super) fn resolve(&self, mistakes: &mut Mistakes) -> Option<ClearSiteData> {
        let read = ClearSiteData::read(&self.clear_site_data);
        read.map_err(|problem| mistakes.add("CURFEW_CLEAR_SITE_DATA", problem)).ok()
    }
}

/// What a browser is told to delete when its session is over (W3C Clear Site Data).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearSiteData(Option<HeaderValue>);

impl ClearSiteData {
    /// Reads names with commas between them, or `none`.
    ///
    /// # Errors
    ///
    /// What must be there instead.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Self(None));
        }
        let names: Vec<_> = text.split(',').map(str::trim).collect();
        let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let value = HeaderValue::from_str(&quoted.join(", "));
        let is_known = names.iter().all(|name| KINDS.contains(name));
        value
            .ok()
            .filter(|_| is_known)
            .map(|value| Self(Some(value)))
            .ok_or_else(|| format!("must be none, or one or more of {}, with commas between them", KINDS.join(", ")))
    }

    /// The header's value; `None` if it is not sent.
    pub fn value(&self) -> Option<&HeaderValue> {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_the_header() {
        for (text, value) in [
            ("storage", Some("\"storage\"")),
            (" cookies ,storage", Some("\"cookies\", \"storage\"")),
            ("*", Some("\"*\"")),
            ("none", None),
        ] {
            let read = ClearSiteData::read(text).unwrap();
            assert_eq!(read.value().map(|value| value.to_str().unwrap()), value, "{text}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        for wrong in ["", "Storage", "storage,", "none,storage", "cookies storage", "\"storage\"", "a\nb"] {
            assert!(
                ClearSiteData::read(wrong).unwrap_err().starts_with("must be none, or one or more of"),
                "{wrong:?}"
            );
        }
    }
}
