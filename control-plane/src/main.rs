//! The `curfew` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    curfew_control_plane::cli::main()
}
