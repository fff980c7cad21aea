//! What a mode of the filter promises about logged-out tokens.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// A mode, and the bound it publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// `consistency` of the filter.
    pub consistency: &'static str,
    /// `max_staleness` of the filter, where the mode has one.
    pub max_staleness: Option<&'static str>,
    /// How long after the 200 a token may still be admitted.
    pub bound: Duration,
}

impl Promise {
    /// `strict`.
    pub const STRICT: Self = Self { consistency: "strict", max_staleness: None, bound: Duration::ZERO };

    /// `bounded` with one second, so that stories are short.
    pub const BOUNDED_1S: Self =
        Self { consistency: "bounded", max_staleness: Some("1s"), bound: Duration::from_secs(1) };

    /// `bounded` with two seconds.
    pub const BOUNDED_2S: Self =
        Self { consistency: "bounded", max_staleness: Some("2s"), bound: Duration::from_secs(2) };

    /// Sets the mode in the filter's configuration.
    pub(super) fn configure(self, filter: &mut Value) -> Result<()> {
        let fields = filter.as_object_mut().context("the filter's configuration is no object")?;
        fields.insert("consistency".into(), json!(self.consistency));
        fields.remove("max_staleness");
        if let Some(staleness) = self.max_staleness {
            fields.insert("max_staleness".into(), json!(staleness));
        }
        Ok(())
    }
}
