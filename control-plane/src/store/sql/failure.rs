//! What an error of a database means for Curfew.

use std::io::ErrorKind;

use sqlx::Error;

use crate::store::trust::{Distrust, Fenced};

/// True if a statement has waited in vain for a lock: SQLITE_BUSY (5) in any of its extended forms, PostgreSQL's
/// `lock_not_available`, MySQL's ER_LOCK_WAIT_TIMEOUT.
pub(crate) fn is_locked(error: &Error) -> bool {
    match code(error) {
        Code::Sqlite(code) => code & 0xff == 5,
        Code::Postgres(state) => state == "55P03",
        Code::MySql(number) => number == 1205,
        Code::None => false,
    }
}

/// True if a server refuses to write: PostgreSQL's `read_only_sql_transaction`; MySQL's ER_OPTION_PREVENTS_STATEMENT
/// (no other option prevents Curfew's statements), ER_READ_ONLY_MODE, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION.
pub(crate) fn is_read_only(error: &Error) -> bool {
    match code(error) {
        Code::Postgres(state) => state == "25006",
        Code::MySql(number) => [1290, 1792, 1836].contains(&number),
        Code::Sqlite(_) | Code::None => matches!(distrust(error), Some(Distrust::Follows)),
    }
}

/// The reason why the database is not believed, if the error is Curfew's own.
fn distrust(error: &Error) -> Option<&Distrust> {
    let Error::Configuration(error) = error else { return None };
    error.downcast_ref()
}

/// True if a transaction that failed with this error may succeed when it is tried again: another transaction was in the
/// way, or the connection was lost. This is only for errors before the commit was sent.
pub(crate) fn may_pass(error: &Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    if let Error::Io(error) = error {
        return [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof].contains(&error.kind());
    }
    match code(error) {
        // Serialization failure, deadlock; the server ended the session because it shuts down, has crashed, or the
        // session was idle for too long.
        Code::Postgres(state) => ["40001", "40P01", "57P01", "57P02", "57P05", "25P03"].contains(&state.as_str()),
        // Deadlock; interrupted (MariaDB ends the connection).
        Code::MySql(number) => [1213, 1927, 4031].contains(&number),
        // SQLite has waited for a lock already.
        Code::Sqlite(_) | Code::None => false,
    }
}

/// True if the database is not believed. The log has told why when that was found out.
pub(crate) fn is_distrusted(error: &Error) -> bool {
    let Error::Configuration(cause) = error else { return false };
    cause.is::<Distrust>() || cause.is::<Fenced>()
}

/// True if the database gave no answer at all, or none in time: it is not there, refuses connections, or ended the session.
pub(crate) fn is_no_answer(error: &Error) -> bool {
    let lost = matches!(
        error,
        Error::Io(_)
            | Error::Tls(_)
            | Error::Protocol(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed
    );
    lost || match code(error) {
        // The server shuts down, has crashed or starts; it has no connection left; a statement took too long; user, password or
        // database are not known.
        Code::Postgres(state) => {
            state.starts_with("08")
                || ["57P01", "57P02", "57P03", "57P05", "25P03", "53300", "57014", "28P01", "28000", "3D000"]
                    .contains(&state.as_str())
        }
        Code::MySql(number) => [1040, 1203, 1053, 1927, 4031, 1317, 1969, 3024, 1044, 1045, 1049].contains(&number),
        Code::Sqlite(_) | Code::None => false,
    }
}

const READ_ONLY: &str = "name the primary";

/// True if an error is about the statement and its values, and not about the connection or the whole server.
pub(crate) fn is_of_the_statement(error: &Error) -> bool {
    let about_the_values = matches!(error, Error::Encode(_) | Error::Decode(_) | Error::ColumnDecode { .. });
    about_the_values || (matches!(error, Error::Database(_)) && !is_read_only(error) && !may_pass(error))
}

/// One line for an operator: what is wrong, and what to look at. It holds no password, because no error does.
pub(crate) fn explained(error: &Error) -> String {
    let text = message(error);
    let advice = match (error, code(error)) {
        (Error::Io(error), _) if error.kind() == ErrorKind::ConnectionRefused => {
            "does the server run, and are host and port right?"
        }
        (Error::Io(_), _) if text.contains("lookup") => "is the host's name right?",
        (Error::Tls(_), _) => "compare the URL's TLS parameters with what the server offers",
        (_, Code::Postgres(state)) => match state.as_str() {
            "28P01" | "28000" => "are user, password and TLS as the server wants them?",
            "3D000" => "create the database first",
            "42501" => "the account lacks a right",
            "53300" => "the server has no connection left",
            "25006" => READ_ONLY,
            "53100" => "the server's disk is full",
            _ => "",
        },
        (_, Code::MySql(number)) => match number {
            1045 => "are user, password and TLS as the server wants them?",
            1049 => "create the database first",
            1044 | 1142 | 1143 | 1227 | 1370 => "the account lacks a right",
            1040 | 1203 => "the server has no connection left",
            1290 | 1792 | 1836 => READ_ONLY,
            1021 | 1114 => "the server's disk is full",
            _ => "",
        },
        _ => "",
    };
    if advice.is_empty() { text } else { format!("{text} ({advice})") }
}

/// The error's own text, in one line.
fn message(error: &Error) -> String {
    let text = match error {
        Error::Database(error) => error.message().to_owned(),
        Error::Configuration(error) => error.to_string(),
        Error::Io(error) if error.kind() == ErrorKind::TimedOut => "no answer in time".to_owned(),
        Error::Io(error) => error.to_string(),
        Error::PoolTimedOut => "no connection in time".to_owned(),
        other => other.to_string(),
    };
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// An error's number, by the kind of the database.
enum Code {
    Sqlite(u32),
    Postgres(String),
    MySql(u16),
    None,
}

fn code(error: &Error) -> Code {
    use sqlx::mysql::MySqlDatabaseError;
    use sqlx::postgres::PgDatabaseError;

    let Some(error) = error.as_database_error() else { return Code::None };
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        return Code::Postgres(error.code().to_owned());
    }
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return Code::MySql(error.number());
    }
    error.code().and_then(|code| code.parse().ok()).map_or(Code::None, Code::Sqlite)
}
