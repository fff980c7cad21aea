//! `curfew adopt`: takes over the tokens of another application's table.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Failure;
use super::unreadable::Unreadable;
use crate::adopt::{Adopted, Databases, Event, Plan, Progress, Rules, Unfinished, adopt};
use crate::clock::Clock;
use crate::config::{AdoptArgs, Environment};
use crate::leases::protocol::LeaseTimes;
use crate::store::Settings;

pub(super) const NOTES: &str = "\
Examples:
  CURFEW_ADOPT_FROM=mysql://reader@db.example.com/shop curfew adopt
  curfew adopt --from-file /run/secrets/shop-url --apply
  curfew adopt --from-file /run/secrets/shop-url --apply --forget-raw-tokens

The other application has a table user_token_logs with raw tokens in user_token, in a database of its own. DATABASE_URL names \
Curfew's database, which must be another one; both may be on one server. --apply makes no database file: run \
`curfew migrate` before. Without --apply nothing is written: the command counts \
what would be done. Use the settings of `curfew serve`: they say which tokens are accepted and how users are named. Signatures are \
not checked, because the table is your own. The command may be interrupted, and run again at any time: it goes on where it was, and \
takes over what was blocked since.";

/// The interval between two lines about the progress.
const TELL: Duration = Duration::from_secs(2);

/// The arguments of `curfew adopt`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do it; without this, count what it would do
    #[arg(long)]
    apply: bool,
    /// Blank the raw tokens of rows that are taken over: their application cannot read them any more
    #[arg(long)]
    forget_raw_tokens: bool,
    /// Accept the blocked rows without a token that could be revoked; later runs tell of others only
    #[arg(long)]
    accept_unreadable: bool,
    /// List all rows without an acceptable token in this file: id, whether blocked, whether accepted, and why
    #[arg(long, value_name = "FILE")]
    unreadable_to: Option<PathBuf>,
    /// Rows of one transaction, at most: fewer if logouts would wait for longer than 100 ms
    #[arg(long, value_name = "ROWS", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=5000))]
    batch: u16,
    /// The least pause after each of them; it lasts as long as the transaction took in any case
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = humantime::parse_duration)]
    pause: Duration,
    #[command(flatten)]
    settings: AdoptArgs,
}

pub(super) async fn run(args: &Args, environment: &Environment) -> Result<(), Failure> {
    super::hint(args.settings.hint(environment));
    let settings = args.settings.resolve(args.apply, environment)?;
    let databases = Databases { from: &settings.from, own: &settings.own };
    let (store_settings, clock) = (Settings::of(&settings.tokens.policy), Clock::system());
    let rules = Rules { policy: &settings.tokens.policy, settings: &store_settings, clock: &clock };
    let plan = Plan {
        apply: args.apply,
        forget: args.forget_raw_tokens,
        batch: i64::from(args.batch),
        pause: args.pause,
        accept_unreadable: args.accept_unreadable,
        // Every lease is over by then, also those of a control plane that was cut off from the database.
        leases_over: LeaseTimes::default().silence(),
    };
    let (mut unreadable, mut lines) = (Unreadable::new(args.unreadable_to.as_deref())?, progress_lines());
    let told = |event: Event<'_>| match event {
        Event::Pass => unreadable.begin(),
        Event::Unreadable(rows) => unreadable.add(rows),
        Event::Progress(progress) => lines(progress),
    };
    let Some(Adopted { tally, at_start }) = adopt(databases, rules, plan, told).await? else {
        writeln!(std::io::stdout(), "there is no table user_token_logs in {}: nothing to adopt", settings.from)?;
        return Ok(());
    };
    let unfinished = tally.unfinished();
    let (title, next) = match args.apply {
        true => applied(databases, unfinished),
        false => counted(databases, unfinished),
    };
    writeln!(std::io::stdout(), "{title}\n{tally}\n{}{next}", unreadable.finish()?)?;
    match (unfinished, at_start) {
        (Some(unfinished), Some(at_start)) => Err(Failure::Unfinished(unfinished, at_start)),
        _ => Ok(()),
    }
}

/// What stands above and below the numbers of a run that wrote.
fn applied(Databases { from, own }: Databases<'_>, unfinished: Option<Unfinished>) -> (String, String) {
    let but = match unfinished {
        None => "",
        Some(Unfinished::Unreadable(_)) => ", but for blocked rows without a token",
        Some(Unfinished::Changing(_)) => ", but for rows that the application has changed meanwhile",
    };
    let next = if unfinished.is_none() { "done: run it again at any time" } else { "not done yet" };
    (format!("adopted user_token_logs of {from} into {own}{but}:"), next.to_owned())
}

/// What stands above and below the numbers of a dry run.
fn counted(Databases { from, own }: Databases<'_>, unfinished: Option<Unfinished>) -> (String, String) {
    let title = format!("dry run, nothing was written. --apply would adopt user_token_logs of {from} into {own}:");
    let before = match own.file() {
        Some(file) if !file.exists() => {
            format!("name the database of `curfew serve` in DATABASE_URL, or make {own} with `curfew migrate`; then ")
        }
        _ => String::new(),
    };
    let also = match unfinished {
        Some(_) => ", and --accept-unreadable if the blocked rows without a token may be left as they are",
        None => "",
    };
    (title, format!("to do it, {before}add --apply{also}"))
}

/// Writes to standard error how far the run has come, now and then.
fn progress_lines() -> impl FnMut(Progress) {
    let (started, mut told) = (Instant::now(), Instant::now());
    move |Progress { rows, at, last }| {
        if told.elapsed() >= TELL {
            told = Instant::now();
            let seconds = started.elapsed().as_secs();
            // A closed standard error must not end the run.
            let _ = writeln!(std::io::stderr(), "{rows} rows in {seconds} s, at id {at} of {last}");
        }
    }
}
