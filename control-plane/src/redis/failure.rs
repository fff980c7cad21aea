//! What an error of Redis means: a mistake in the configuration, which a start refuses, or an outage, which it accepts.

use std::error::Error;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// A setting that is wrong, whatever Redis does later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct Misconfigured {
    /// The setting.
    pub setting: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// The mistake in the configuration that an error shows, if it shows one.
pub(crate) fn misconfigured(error: &RedisError) -> Option<Misconfigured> {
    let text = chain(error);
    let (setting, problem) = match error.kind() {
        ErrorKind::AuthenticationFailed => ("REDIS_URL", "Redis refuses the user or the password".to_owned()),
        _ if ["NOAUTH", "WRONGPASS", "NOPERM"].iter().any(|code| text.contains(code)) => {
            ("REDIS_URL", "Redis refuses the user or the password, or does not let them use these keys".to_owned())
        }
        _ if text.contains("switch database") || text.contains("DB index is out of range") => {
            ("REDIS_URL", "Redis has no database of this number".to_owned())
        }
        _ if text.contains("certificate") => {
            ("CURFEW_REDIS_CA_FILE", format!("the certificate of Redis is not trusted: {text}"))
        }
        ErrorKind::InvalidClientConfig => ("REDIS_URL", text),
        _ => return None,
    };
    Some(Misconfigured { setting, problem })
}

/// The text of an error for a line of the log.
pub(crate) fn explain(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            "REDIS_URL leads to a replica that cannot be written: name the primary, or its Sentinels".to_owned()
        }
        _ => chain(error),
    }
}

fn chain(error: &RedisError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
