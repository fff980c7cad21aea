//! `cargo demo`: the whole of Curfew on this machine, to try by hand or to watch.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use curfew_demo::control_plane::Profile;
use curfew_demo::ports::preferred;
use curfew_demo::prepare::{STEPS, prepare, show};
use curfew_demo::stack::{Plan, Ports, Stack};
use curfew_demo::story::Story;
use curfew_demo::token::{claims, sign};
use xtask::workspace::progress;

/// Starts a control plane, an upstream and Envoy with the filter, and prints a token and commands to try.
#[derive(Parser)]
#[command(name = "cargo demo")]
struct Arguments {
    /// Play a story with logouts of all kinds, print each request and answer, and exit. Fails if any answer is wrong.
    #[arg(long)]
    story: bool,
    /// How the control plane is built: soon (dev), as for the tests (test), or as it ships (release).
    #[arg(long, value_enum, default_value_t = Profile::Dev)]
    profile: Profile,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    // The story and the start block. During both, Ctrl-C ends this process, and the kernel then ends its children.
    let work = tokio::task::spawn_blocking(move || {
        let mut plan = Plan::shipped()?;
        plan.profile = arguments.profile;
        if arguments.story { story(plan).map(|()| None) } else { set_up(plan).map(Some) }
    });
    let stack = tokio::select! {
        done = work => done??,
        () = interrupted() => std::process::exit(130),
    };
    match stack {
        Some(stack) => stay(stack).await,
        None => Ok(()),
    }
}

fn story(plan: Plan) -> Result<()> {
    let filter = plan.bootstrap.filter()?;
    let stack = start(plan)?;
    Story::new(&stack, &filter, std::io::stdout())?.play()
}

fn set_up(mut plan: Plan) -> Result<Stack> {
    plan.ports = Ports {
        public: preferred(8080),
        internal: preferred(8081),
        envoy: preferred(10_000),
        admin: preferred(9901),
        upstream: preferred(8000),
    };
    let stack = start(plan)?;
    greet(&stack)?;
    Ok(stack)
}

fn start(plan: Plan) -> Result<Stack> {
    prepare(plan.profile)?;
    show(STEPS, "starting the control plane and Envoy", "...");
    let begun = Instant::now();
    let stack = plan.start()?;
    show(STEPS, "starting the control plane and Envoy", &format!("done after {} s", begun.elapsed().as_secs()));
    Ok(stack)
}

fn greet(stack: &Stack) -> Result<()> {
    let token = sign(stack.settings.required("JWT_SECRET")?, &claims("alice"));
    let (envoy, internal) = (stack.address(), stack.control_plane.internal());
    let (app, key) = (stack.settings.required("APP_ID")?, stack.settings.required("APP_KEY")?);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        r#"
Curfew is running: Envoy on http://{envoy}, its admin interface on http://{admin},
the control plane's internal listener on http://{internal}, an echo upstream behind Envoy.

A token of the user alice, valid for an hour:

TOKEN={token}

The upstream answers with what it saw, x-user-id among it:

  curl -i http://{envoy}/orders -H "Authorization: Bearer $TOKEN"

Log it out; from the answer on it is refused, by every worker of every Envoy (consistency in envoy/envoy.yaml):

  curl -i -X POST http://{envoy}/api/v2/logout -H "Authorization: Bearer $TOKEN"
  curl -i http://{envoy}/orders -H "Authorization: Bearer $TOKEN"

Log alice out everywhere, as a user (with a token that is alive) or as a backend:

  curl -i -X POST http://{envoy}/api/v2/logout-all-device -H "Authorization: Bearer $TOKEN"
  curl -i -X POST http://{internal}/api/v2/lgt-all -H "Content-Type: application/json" \
    -d '{{"user_id":"alice","app_id":"{app}","app_key":"{key}"}}'

Another token of alice:

  TOKEN=$(set -a; . envoy/demo.env; cargo run -q --bin curfew -- token mint --user alice)

Ctrl-C stops everything. Logs are in {logs}"#,
        admin = stack.envoy.admin(),
        logs = stack.directory().display(),
    )?;
    Ok(())
}

/// Watches the parts until Ctrl-C.
async fn stay(mut stack: Stack) -> Result<()> {
    loop {
        tokio::select! {
            () = interrupted() => {
                progress("stopping ...");
                return Ok(());
            }
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        if !stack.envoy.is_running() {
            bail!("Envoy ended:\n{}", stack.envoy.output());
        }
        if !stack.control_plane.is_running() {
            bail!("the control plane ended:\n{}", stack.control_plane.output());
        }
    }
}

/// Returns at Ctrl-C or SIGTERM.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
