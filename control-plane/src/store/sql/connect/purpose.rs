//! The purpose of a connection, and the limits that follow.

use std::time::Duration;

/// How long a statement that writes waits for a lock. A batch may wait twice, and the writer's callers wait longer than
/// two batches do, so that a locked database is answered with 503 and not with a time-out.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// How long it may take to make a connection: name, TLS, log-in and session, some ten round trips. A reader does not
/// wait for that long, but the next reader finds the connection made (see the reader). A start waits longer.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(3);
pub(super) const START_LIMIT: Duration = Duration::from_secs(15);

/// The purpose of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The schema's migrations, which may take their time.
    Migrate,
    /// The writer's transactions.
    Write,
    /// Checks and lists: single statements.
    Read,
    /// Reading another application's table.
    ReadForeign,
    /// The same, and blanking the raw tokens in it.
    WriteForeign,
}
