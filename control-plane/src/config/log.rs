//! What is logged, and how.

use clap::Args;
use curfew_core::Mistakes;

/// What to log, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// What to log: error, warn, info, debug or trace, or such a level for each module
    #[arg(long, env = "CURFEW_LOG", value_name = "FILTER", default_value = "info", hide_env_values = true)]
    log: String,
    /// How to log, to standard error: json, text, or auto (text on a terminal, JSON elsewhere)
    #[arg(long, env = "CURFEW_LOG_FORMAT", value_name = "FORMAT", default_value = "auto", hide_env_values = true)]
    log_format: String,
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The resolved settings.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// A filter that has been parsed once and is known to be valid.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

impl LogArgs {
    pub(super) fn resolve(&self, mistakes: &mut Mistakes) -> Option<LogSettings> {
        if tracing_subscriber::EnvFilter::try_new(&self.log).is_err() {
            mistakes.add("CURFEW_LOG", "must be error, warn, info, debug or trace, or such a level for each module");
        }
        let format = match self.log_format.as_str() {
            "auto" => LogFormat::Auto,
            "json" => LogFormat::Json,
            "text" => LogFormat::Text,
            _ => {
                mistakes.add("CURFEW_LOG_FORMAT", "must be auto, json or text");
                return None;
            }
        };
        Some(LogSettings { filter: self.log.clone(), format })
    }
}
