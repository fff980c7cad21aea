//! `consistency: strict`: the filter follows the feed and decides by its copy.

mod idle;
mod leases;
mod log;
mod polls;

use std::time::Duration;

use curfew_testbed::wasm_host::Host;

use crate::support::{admitted, refused, send};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn is_admitted(host: &mut Host, token: &str) {
    let (stream, outcome) = send(host, token).unwrap();
    admitted(&outcome).unwrap();
    host.close(stream).unwrap();
}

fn is_refused(host: &mut Host, token: &str) {
    let (stream, outcome) = send(host, token).unwrap();
    refused(&outcome, 401, "token_revoked");
    host.close(stream).unwrap();
}
