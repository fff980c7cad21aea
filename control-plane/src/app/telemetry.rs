//! Where log lines go: to standard error, as JSON unless it is a terminal.

use std::io::{IsTerminal, stderr};
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSettings};

/// Installs the log for this process, for panics too. A second call changes nothing.
pub(super) fn init(settings: &LogSettings) {
    let terminal = stderr().is_terminal();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&settings.filter))
        // If the log cannot be written (its disk is full), the library would say so on standard error. That panics if
        // standard error cannot be written either, and the log line about the panic would end the process.
        .log_internal_errors(false)
        .with_ansi(terminal && std::env::var_os("NO_COLOR").is_none())
        .with_writer(stderr);
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    // Both fail only if a log is installed already.
    let _ = if json { lines.json().flatten_event(true).try_init() } else { lines.try_init() };
    std::panic::set_hook(Box::new(log_panic));
}

/// Logs where the panic was. Its message is left out: it may quote what a client has sent.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(location, "a panic");
}
