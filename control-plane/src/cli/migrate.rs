//! `curfew migrate`: the schema, and with `--adopt` the table of another application.

use std::io::Write;
use std::time::{Duration, Instant};

use super::Failure;
use crate::adopt::{Plan, Progress, Rules, Tally, adopt};
use crate::clock::Clock;
use crate::config::{AdoptArgs, Environment};
use crate::store::{self, Settings};

pub(super) const NOTES: &str = "\
Examples:
  curfew migrate
  curfew migrate --adopt
  curfew migrate --adopt --apply
  curfew migrate --adopt --apply --forget-raw-tokens

--adopt is for a database in which another application has a table user_token_logs with raw tokens in user_token. \
Without --apply nothing is written: it tells what would be done. Use the settings of `curfew serve`: they say which \
tokens are accepted and how users are named. Signatures are not checked, for the table is your own. It may be \
interrupted, and run again at any time: it goes on where it was, and takes over what was blocked since.";

/// How often it is told how far it has come.
const TELL: Duration = Duration::from_secs(2);

/// The arguments of `curfew migrate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Bring another application's table user_token_logs into use; without --apply, tell what that would do
    #[arg(long)]
    adopt: bool,
    /// Do it
    #[arg(long, requires = "adopt")]
    apply: bool,
    /// Blank the raw tokens of rows that are adopted: their application cannot read them any more
    #[arg(long, requires = "adopt")]
    forget_raw_tokens: bool,
    /// Be done although there are blocked rows without a token that could be revoked
    #[arg(long, requires = "adopt")]
    accept_unreadable: bool,
    /// Rows of one transaction, at most: fewer where logouts would wait for longer than 100 ms
    #[arg(long, value_name = "ROWS", default_value_t = 1000, requires = "adopt",
          value_parser = clap::value_parser!(u16).range(1..=5000))]
    batch: u16,
    /// How long to wait after each of them, at least: as long as it took in any case
    #[arg(long, value_name = "DURATION", default_value = "20ms", requires = "adopt",
          value_parser = humantime::parse_duration)]
    pause: Duration,
    #[command(flatten)]
    settings: AdoptArgs,
}

pub(super) async fn migrate(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let database = args.settings.database()?;
    if args.adopt {
        let tokens = args.settings.tokens(environment)?;
        let settings = Settings::of(&tokens.policy);
        let clock = Clock::system();
        let rules = Rules { policy: &tokens.policy, settings: &settings, clock: &clock };
        let plan = Plan {
            apply: args.apply,
            forget: args.forget_raw_tokens,
            batch: i64::from(args.batch),
            pause: args.pause,
            accept_unreadable: args.accept_unreadable,
        };
        let found = adopt(&database, rules, plan, teller()).await?;
        let left = found.as_ref().map_or(0, |tally| tally.unreadable_blocked);
        let refused = left > 0 && !args.accept_unreadable;
        tell(found.as_ref(), args.apply, refused)?;
        if refused && args.apply {
            return Err(Failure::Usage(format!(
                "{left} blocked rows hold no token that these settings accept, and nothing of them is revoked: mend the \
                 settings, or say --accept-unreadable; `curfew serve` refuses the database until then"
            )));
        }
        if found.is_some() {
            return Ok(());
        }
    }
    if args.adopt && !args.apply {
        return Ok(());
    }
    let applied = store::migrate(&database).await?;
    let mut stdout = std::io::stdout().lock();
    for migration in &applied {
        writeln!(stdout, "applied {:04} {}", migration.version, migration.description)?;
    }
    if applied.is_empty() {
        writeln!(stdout, "nothing to apply")?;
    }
    Ok(())
}

/// The numbers, and what to do next.
fn tell(found: Option<&Tally>, applied: bool, refused: bool) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let Some(tally) = found else {
        return writeln!(stdout, "there is no table user_token_logs of another application: nothing to adopt");
    };
    let (title, end) = match (applied, refused) {
        (true, false) => {
            ("adopted user_token_logs:", "done: `curfew serve` can use this database; run it again at any time")
        }
        (true, true) => ("adopted user_token_logs, but for blocked rows without a token:", "not done yet"),
        (false, refused) => (
            "dry run, nothing was written. --apply would do this to user_token_logs:",
            if refused {
                "to do it, add --apply, and --accept-unreadable if the blocked rows without a token may be left"
            } else {
                "to do it, add --apply"
            },
        ),
    };
    writeln!(stdout, "{title}\n{tally}\n{end}")
}

/// Tells how far it has come, on standard error and now and then.
fn teller() -> impl FnMut(Progress) {
    let (started, mut told) = (Instant::now(), Instant::now());
    move |Progress { rows, at, last }| {
        if told.elapsed() >= TELL {
            told = Instant::now();
            let seconds = started.elapsed().as_secs();
            // Where standard error is closed there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "{rows} rows in {seconds} s, at id {at} of {last}");
        }
    }
}
