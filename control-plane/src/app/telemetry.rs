//! Where log lines go: to standard error, as JSON unless it is a terminal.

use std::io::{IsTerminal, stderr};
use std::panic::PanicHookInfo;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, registry};

use super::http2_warnings;
use crate::config::{LogFormat, LogSettings};

/// Libraries that are silent unless the setting names them. What they tell of databases and of HTTP/2, the control plane says
/// itself: once, and in words for operators.
const SILENT: &str =
    "h2=off,sqlx_core=off,sqlx::pool=off,sqlx::query=off,sqlx::postgres::notice=off,sqlx_mysql=off,sqlx_sqlite=off";

/// Installs the log for this process, for panics too. A second call changes nothing.
pub(super) fn init(settings: &LogSettings) {
    let lines = lines(settings).with_filter(EnvFilter::new(format!("{SILENT},{}", settings.filter)));
    // This fails only if a log is installed already.
    let _ = registry().with(lines).with(http2_warnings::layer()).try_init();
    std::panic::set_hook(Box::new(log_panic));
}

/// The lines, on standard error.
fn lines(settings: &LogSettings) -> Box<dyn Layer<Registry> + Send + Sync> {
    let terminal = stderr().is_terminal();
    let lines = fmt::layer()
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
    if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() }
}

/// Logs where the panic was. Its message is left out: it may quote what a client has sent.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(location, "a panic");
}
