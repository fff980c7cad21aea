//! A token on the command line or, better, from standard input: arguments show in the list of processes and stay in
//! the shell's history.

use std::io::{Error, Read, stdin};

use curfew_core::MAX_TOKEN_BYTES;

/// The token that an argument gives, without white space around it; `-` reads it from standard input.
pub(super) fn read(argument: &str) -> Result<String, Error> {
    let text = if argument == "-" { from_stdin()? } else { argument.to_owned() };
    Ok(text.trim().to_owned())
}

/// Reads a line break and one byte over the limit, which is enough to report that the token is too long.
fn from_stdin() -> Result<String, Error> {
    let mut text = String::new();
    let limit = u64::try_from(MAX_TOKEN_BYTES).unwrap_or(u64::MAX).saturating_add(3);
    stdin().take(limit).read_to_string(&mut text)?;
    Ok(text)
}
