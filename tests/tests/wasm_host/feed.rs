//! A control plane that follows a script: its log, and its answers to polls and questions.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use curfew_core::wire::{CHECK_PATH, CheckRequest, FEED_PATH, FeedAnswer, FeedRequest, FeedRevocation};
use curfew_core::{Epoch, Kind, verify_natively};
use curfew_filter::config::Config;
use curfew_testbed::tokens::with;
use curfew_testbed::wasm_host::{Callout, Host, START, Setup};
use serde_json::{Value, json};

use crate::support::{configuration, verdict};

pub(crate) const EPOCH: Epoch = Epoch::from_bytes([0x11; 16]);

/// The lease that the script grants.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

pub(crate) fn strict_configuration() -> Value {
    with(configuration(), json!({"consistency": "strict", "max_staleness": null}))
}

pub(crate) fn strict(changes: Value) -> Setup {
    Setup::new(&with(strict_configuration(), changes))
}

pub(crate) fn strict_host() -> Result<Host> {
    Host::start(&strict(json!({})))
}

/// The filter's question about a token.
pub(crate) fn keys_of(token: &str) -> Result<CheckRequest> {
    let config = Config::parse(strict_configuration().to_string().as_bytes())?;
    let proven = config.policy.prove(token.as_bytes(), START, &config.keys, verify_natively)?;
    Ok(CheckRequest::about(&proven))
}

/// The logout of one token.
pub(crate) fn logout(token: &str) -> Result<FeedRevocation> {
    let key = keys_of(token)?.token;
    Ok(FeedRevocation { kind: Kind::Token, key, cutoff: START, expires_at: START + 3600 })
}

pub(crate) fn callouts_to(host: &Host, path: &str) -> Vec<Callout> {
    host.callouts().into_iter().filter(|callout| callout.headers.get(":path").as_deref() == Some(path)).collect()
}

pub(crate) fn questions(host: &Host) -> Vec<Callout> {
    callouts_to(host, CHECK_PATH)
}

/// The poll that is under way; a feed has never more than one.
pub(crate) fn only_poll(host: &Host) -> Result<(u32, FeedRequest)> {
    match callouts_to(host, FEED_PATH).as_slice() {
        [poll] => Ok((poll.token, request(poll)?)),
        others => bail!("{} polls are under way: {others:?}", others.len()),
    }
}

pub(crate) fn request(poll: &Callout) -> Result<FeedRequest> {
    serde_json::from_slice(&poll.body).context("a poll")
}

/// The page from the poll's position to the end of `log`, with a lease that begins with the poll's arrival.
pub(crate) fn page(poll: &FeedRequest, log: &[FeedRevocation]) -> FeedAnswer {
    let from = if poll.epoch == Some(EPOCH) { poll.applied } else { 0 };
    let news = log.iter().skip(usize::try_from(from).unwrap()).copied().collect();
    let lease_ms = u64::try_from(LEASE.as_millis()).unwrap();
    FeedAnswer {
        epoch: EPOCH,
        from,
        to: log.len() as u64,
        more: false,
        keys_seq: 0,
        revocations: news,
        lease_ms,
        fresh_ms: 0,
    }
}

pub(crate) fn body(page: &FeedAnswer) -> Vec<u8> {
    serde_json::to_vec(page).unwrap()
}

/// Lets time pass until the next poll is under way.
pub(crate) fn until_polled(host: &mut Host) -> Result<()> {
    for _ in 0..1_000 {
        if !callouts_to(host, FEED_PATH).is_empty() {
            return Ok(());
        }
        let period = host.ticks_wanted().context("the filter wants no ticks")?;
        host.advance(period.min(Duration::from_secs(1)));
        host.tick()?;
    }
    bail!("the filter does not poll")
}

/// Answers the next poll from the whole of `log`.
pub(crate) fn feed(host: &mut Host, log: &[FeedRevocation]) -> Result<()> {
    until_polled(host)?;
    let (call, poll) = only_poll(host)?;
    host.answer(call, 200, &body(&page(&poll, log)))
}

/// Answers the only question that is under way.
pub(crate) fn say(host: &mut Host, says: &str) -> Result<()> {
    match questions(host).as_slice() {
        [question] => host.answer(question.token, 200, &verdict(says)),
        others => bail!("{} questions are under way", others.len()),
    }
}

/// A worker that has a lease and nothing under way but its next poll.
pub(crate) fn leased(host: &mut Host, token: &str, log: &[FeedRevocation]) -> Result<()> {
    let (stream, _) = crate::support::send(host, token)?;
    feed(host, log)?;
    say(host, "active")?;
    host.close(stream)?;
    until_polled(host)
}
