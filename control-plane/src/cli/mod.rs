//! The command line: what there is, and how it ends.
//!
//! Results go to standard output and everything else to standard error. Exit code 2 means that the settings or the
//! arguments are wrong, 1 that the command failed. docs/command-line.md has them for operators.

mod adopt;
mod calls;
pub mod client;
mod explain;
mod gateways;
mod inspect;
mod keys;
mod migrate;
mod mint;
mod shell;
mod token_text;
mod unreadable;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use curfew_core::Mistakes;

use crate::adopt::{AdoptFailure, AtStart, Unfinished};
use crate::cli::client::CallFailure;
use crate::clock::{Clock, ClockMark};
use crate::config::{Config, Environment, MigrateArgs, ServeArgs};
use crate::store::{self, OpenFailure};

/// Curfew makes logout real: its control plane and the tools around it.
#[derive(Parser)]
#[command(name = "curfew", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Try it on your own machine, without any configuration:
  curfew serve
and in another terminal:
  curfew token mint --user alice > token.txt
  curfew token inspect < token.txt
  curfew logout --token - < token.txt";

const SERVE_NOTES: &str = "\
Without any configuration it starts on this machine only, with a database and generated secrets in ./curfew-data.

Secrets have no flags, because flags show in the list of processes. \
Set JWT_SECRET, CURFEW_INTERNAL_SECRET and APP_KEY in the environment, or name files that hold them with \
JWT_SECRET_FILE, CURFEW_INTERNAL_SECRET_FILE and APP_KEY_FILE.

When both listeners answer, it prints their addresses on standard output. The log goes to standard error. \
SIGTERM and SIGINT finish what has begun and stop it.

Examples:
  curfew serve
  JWT_SECRET_FILE=/run/secrets/jwt CURFEW_INTERNAL_SECRET_FILE=/run/secrets/internal \\
    APP_ID=shop APP_KEY_FILE=/run/secrets/app-key \\
    curfew serve --public-listen 0.0.0.0:8080 --internal-listen 0.0.0.0:8081";

#[derive(Subcommand)]
enum Command {
    /// Run the control plane: the logout endpoints and what the filter asks
    #[command(after_help = SERVE_NOTES)]
    Serve(Box<ServeArgs>),
    /// Bring the database's schema up to date, as `serve` does at its start
    Migrate(MigrateArgs),
    /// Take over the tokens of another application's table user_token_logs
    #[command(after_help = adopt::NOTES)]
    Adopt(Box<adopt::Args>),
    /// The name of the log's history
    #[command(subcommand)]
    Epoch(EpochCommand),
    /// The clock, and the time that the database knows
    #[command(subcommand)]
    Clock(ClockCommand),
    /// Make or examine tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Log out a token, or a user from everything
    #[command(after_help = calls::LOGOUT_EXAMPLES)]
    Logout(calls::LogoutArgs),
    /// List a user's sessions
    #[command(after_help = calls::SESSIONS_EXAMPLES)]
    Sessions(calls::SessionsArgs),
    /// List the proxies' workers that follow the log
    #[command(after_help = gateways::EXAMPLES)]
    Gateways(gateways::GatewaysArgs),
    /// The keys that tokens are proven with
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Say why a token is accepted or not, what has logged it out, which workers know that, and what a filter answers
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::ExplainArgs),
    /// Print the script with which a shell completes the commands and their options
    #[command(after_help = shell::COMPLETIONS_EXAMPLES)]
    Completions(shell::CompletionsArgs),
    /// Write the manual pages
    #[command(after_help = shell::MAN_EXAMPLES)]
    Man(shell::ManArgs),
}

#[derive(Subcommand)]
enum EpochCommand {
    /// Give the history a new name, after a restore or a failover that the database cannot know of
    #[command(after_help = BUMP_NOTES)]
    Bump(MigrateArgs),
}

const BUMP_NOTES: &str = "\
Call it after the database was restored from a backup, or taken over by a replica that may have lacked the latest \
commits, wherever the server keeps its identity: a snapshot of a disk, a file copied over in place, MySQL or MariaDB \
restored in place. Logouts since the backup are lost; log those users out again.

It prints the old name and the new one.";

#[derive(Subcommand)]
enum ClockCommand {
    /// Say that this machine's clock is right, although it differs from the time that the database knows
    #[command(after_help = ACCEPT_NOTES)]
    Accept(MigrateArgs),
}

const ACCEPT_NOTES: &str = "\
`serve` warns and `/readyz` says so if the wall clock is more than a day ahead of the time that the database knows, or five \
minutes behind it. If nothing ran for so long, or the clock was wrong before, set the clock right and call this. If the \
clock is wrong now, do not: revocations that are in force would be purged.

It prints the time that the database knew and the one that it knows now, as seconds of Unix time.";

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token for trying things out, signed with the configured secret
    #[command(after_help = mint::EXAMPLES)]
    Mint(Box<mint::MintArgs>),
    /// Show what is in a token, under which keys it can be revoked, and whether it is accepted
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(Box<inspect::InspectArgs>),
}

/// How a command can fail.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Settings(#[from] Mistakes),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Serve(Box<dyn Error>),
    #[error("DATABASE_URL: {0}")]
    Database(#[from] OpenFailure),
    #[error("{0}")]
    Adopt(#[from] AdoptFailure),
    #[error("{0}; {1}")]
    Unfinished(Unfinished, AtStart),
    #[error("{0}")]
    Call(#[from] CallFailure),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The token is not accepted; the command has said so on standard output.
    #[error("the token is not accepted")]
    NotAccepted,
    /// The filter would refuse the request; the command has said so on standard output.
    #[error("the filter would refuse the request")]
    WouldBeRefused,
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Usage(_) | Self::Unfinished(Unfinished::Unreadable(_), _) => 2,
            _ => 1,
        }
    }
}

/// Runs the command that the process was called with; `serve` runs the control plane. `version` is what `--version` prints.
pub fn main(version: &'static str, serve: impl FnOnce(Config) -> Result<(), Box<dyn Error>>) -> ExitCode {
    let environment = Environment::of_process();
    let described = Cli::command().version(version);
    let parsed = parsed(described.clone());
    // This is reported before a mistake that the parser found, because the parser could not name the variable. Help
    // needs no settings.
    let readable = match &parsed {
        Err(error) if !error.use_stderr() => Ok(()),
        _ => environment.all_readable().map_err(Failure::from),
    };
    let ended = readable.and_then(|()| {
        let cli = parsed.unwrap_or_else(|error| error.exit());
        run(cli.command, described, &environment, serve)
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn parsed(mut described: clap::Command) -> Result<Cli, clap::Error> {
    let matches = described.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut described))
}

fn report(failure: &Failure) {
    let mut stderr = std::io::stderr().lock();
    // If standard error is closed, the failure cannot be reported.
    let _ = match failure {
        Failure::Settings(mistakes) => mistakes.iter().try_for_each(|mistake| writeln!(stderr, "error: {mistake}")),
        failure => writeln!(stderr, "error: {failure}"),
    };
}

fn run(
    command: Command,
    described: clap::Command,
    environment: &Environment,
    serve: impl FnOnce(Config) -> Result<(), Box<dyn Error>>,
) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve(args.resolve(environment)?).map_err(Failure::Serve),
        Command::Migrate(args) => {
            hint(args.hint(environment));
            single_threaded()?.block_on(migrate::migrate(&args))
        }
        Command::Adopt(args) => single_threaded()?.block_on(adopt::run(&args, environment)),
        Command::Epoch(EpochCommand::Bump(args)) => {
            hint(args.hint(environment));
            single_threaded()?.block_on(bump_epoch(&args))
        }
        Command::Clock(ClockCommand::Accept(args)) => {
            hint(args.hint(environment));
            single_threaded()?.block_on(accept_clock(&args))
        }
        Command::Token(TokenCommand::Mint(args)) => single_threaded()?.block_on(mint::mint(&args, environment)),
        Command::Token(TokenCommand::Inspect(args)) => inspect::inspect(&args, environment),
        Command::Logout(args) => single_threaded()?.block_on(calls::logout(&args, environment)),
        Command::Gateways(args) => single_threaded()?.block_on(gateways::gateways(&args, environment)),
        Command::Keys(command) => single_threaded()?.block_on(keys::run(&command, environment)),
        Command::Explain(args) => single_threaded()?.block_on(explain::explain(&args, environment)),
        Command::Sessions(args) => single_threaded()?.block_on(calls::sessions(&args, environment)),
        Command::Completions(args) => shell::completions(&args, described),
        Command::Man(args) => shell::man(&args, described),
    }
}

/// Tells a hint on standard error, if there is one. `serve` has it in its log.
fn hint(hint: Option<String>) {
    if let Some(hint) = hint {
        // If standard error is closed, the hint cannot be given.
        let _ = writeln!(std::io::stderr(), "hint: {hint}");
    }
}

fn single_threaded() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn bump_epoch(args: &MigrateArgs) -> Result<(), Failure> {
    let (old, new) = store::bump_epoch(&args.existing()?).await?;
    writeln!(std::io::stdout(), "old {old}\nnew {new}")?;
    Ok(())
}

async fn accept_clock(args: &MigrateArgs) -> Result<(), Failure> {
    let (old, new) = store::accept_clock(&args.existing()?, &Clock::system()).await?;
    let shown = |mark: Option<ClockMark>| mark.map_or("none".to_owned(), |mark| mark.at.to_string());
    writeln!(std::io::stdout(), "old {}\nnew {}", shown(old), shown(new))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::is_setting;

    fn each(command: &clap::Command, see: &mut impl FnMut(&clap::Command)) {
        see(command);
        command.get_subcommands().for_each(|command| each(command, see));
    }

    #[test]
    fn every_variable_of_the_command_line_is_a_known_setting() {
        let mut seen = 0;
        each(&Cli::command(), &mut |command| {
            for name in command.get_arguments().filter_map(clap::Arg::get_env) {
                assert!(is_setting(name.to_str().unwrap()), "{name:?}");
                seen += 1;
            }
        });
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn no_example_puts_a_token_on_the_command_line() {
        each(&Cli::command(), &mut |command| {
            let help = command.clone().render_long_help().to_string();
            assert!(!help.contains("$TOKEN"), "{help}");
        });
    }
}
