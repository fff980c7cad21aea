//! What a shell and `man` know of the commands: made from the same description that the command line is parsed with.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::Failure;

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  curfew completions bash > /etc/bash_completion.d/curfew
  curfew completions zsh > \"${fpath[1]}/_curfew\"
  curfew completions fish > ~/.config/fish/completions/curfew.fish";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  curfew man --output /usr/local/share/man/man1
  curfew man --output . && man ./curfew-serve.1

It writes a page for the program and one for each command. The directory must be there.";

/// The arguments of `curfew completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script that completes the command line.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<(), Failure> {
    // The generator panics if it cannot write, and a closed pipe is no defect.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "curfew", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}

/// The arguments of `curfew man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The directory that the pages are written to
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// Writes the manual pages.
pub(super) fn man(args: &ManArgs, command: Command) -> Result<(), Failure> {
    if !fs::metadata(&args.output).is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Failure::Usage(format!("--output: {} is no directory", args.output.display())));
    }
    Ok(clap_mangen::generate_to(command, &args.output)?)
}
