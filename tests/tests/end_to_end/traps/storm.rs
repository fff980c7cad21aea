//! Traps under load: several threads with good, logged-out, forged and trapping requests at once.

use std::ops::AddAssign;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use curfew_testbed::stack::Stack;
use curfew_testbed::tokens::{claims, hs256_text};

use super::{BACK_OFF, Client, reloads};

/// How long the load lasts.
const STORM: Duration = Duration::from_secs(6);

/// The time between a thread's traps. With less, Envoy's back-off would keep the VMs down most of the time.
const BETWEEN_TRAPS: Duration = Duration::from_millis(200);

/// When a client gives up. A request that waits in a VM that dies would keep its thread busy for longer than the storm.
const PATIENCE: Duration = Duration::from_millis(500);

/// The answers that a thread got.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    admitted: u64,
    refused: u64,
    unavailable: u64,
    /// The client had no answer in time and went away.
    unanswered: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.unavailable += other.unavailable;
        self.unanswered += other.unanswered;
    }
}

/// The time between a thread's other requests, which leaves processor time to the stories that run beside this one.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(10);

/// Sends requests until the storm is over, each on a connection of its own, so that every thread reaches both workers.
fn rain(stack: &Stack, until: Instant, path: &str, token: &str, trap: Option<&str>) -> Result<Tally> {
    let mut tally = Tally::default();
    while Instant::now() < until {
        let mut client = Client::to(stack)?;
        client.0.get_ref().set_read_timeout(Some(PATIENCE))?;
        match client.get(path, token, trap).map(|answer| answer.status) {
            Ok(200) => tally.admitted += 1,
            Ok(401) => tally.refused += 1,
            Ok(503) => tally.unavailable += 1,
            Ok(other) => bail!("{path}: {other}"),
            Err(_) => tally.unanswered += 1,
        }
        thread::sleep(if trap.is_some() { BETWEEN_TRAPS } else { BETWEEN_REQUESTS });
    }
    Ok(tally)
}

fn sum<'a>(threads: impl IntoIterator<Item = ScopedJoinHandle<'a, Result<Tally>>>) -> Result<Tally> {
    let mut sum = Tally::default();
    for thread in threads {
        sum += thread.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    Ok(sum)
}

/// Eight threads for some seconds: no request is admitted that must not be, and good requests are admitted in between.
pub(super) fn admits_no_dead_or_forged_token(stack: &Stack, good: &str, dead: &str) -> Result<()> {
    thread::sleep(BACK_OFF);
    let forged = hs256_text("another-secret-0123456789-0123456789", r#"{"alg":"HS256"}"#, &claims("eve").to_string());
    let (before, until) = (reloads(stack)?, Instant::now() + STORM);
    let [good, dead, forged, traps] = thread::scope(|scope| {
        let pour = |path: &'static str, token: String, trap: Option<&'static str>| {
            scope.spawn(move || rain(stack, until, path, &token, trap))
        };
        let pair = |path, token: &str| [(); 2].map(|()| pour(path, token.to_owned(), None));
        let threads = [pair("/good", good), pair("/dead", dead), pair("/forged", &forged)];
        let traps = ["headers", "answer"].map(|place| pour("/in-a-storm", good.to_owned(), Some(place)));
        let [good, dead, forged] = threads.map(sum);
        [good, dead, forged, sum(traps)]
    });
    let (good, dead, forged, traps, reloads) = (good?, dead?, forged?, traps?, reloads(stack)? - before);
    println!("storm: {reloads} reloads; good {good:?}, logged out {dead:?}, forged {forged:?}, trapping {traps:?}");
    assert_eq!((dead.admitted, forged.admitted), (0, 0), "wrong admits");
    assert_eq!((stack.upstream.requests_to("/dead"), stack.upstream.requests_to("/forged")), (0, 0));
    assert!(good.admitted > 0 && dead.refused > 0 && forged.refused > 0, "the storm was one long outage");
    assert!(reloads >= 2, "the storm was none");
    Ok(())
}
