//! The `curfew` command.

use std::process::ExitCode;

use curfew_control_plane::{app, cli};

fn main() -> ExitCode {
    cli::main(curfew_version::version!(), app::run)
}
