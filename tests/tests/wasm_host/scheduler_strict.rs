//! As [`crate::scheduler`], in strict mode. What is checked beside the host's own rules is the promise: a control plane that
//! keeps its side of the leases reads and answers whenever the dice say so, a logout is answered as soon as no lease is in its
//! way, and from then on no request that comes is admitted with the token.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use curfew_core::wire::{CheckVerdict, FEED_PATH, FeedAnswer, FeedRequest, FeedRevocation};
use curfew_core::{RevocationKey, WorkerId};
use curfew_testbed::tokens::with;
use curfew_testbed::wasm_host::{Callout, Host, Outcome, START, StreamId};
use serde_json::json;

use crate::endings::ENDINGS;
use crate::feed::{EPOCH, LEASE, body, logout, page, strict, strict_host};
use crate::scheduler::{Dice, FAULTS, number};
use crate::support::{claims_of, refusal, send, sign, verdict};

const SEEDS: u64 = 4;
const STEPS: usize = 3_000;

/// Far longer than it takes to give up a poll, become idle, and give up the one that says so.
const SURELY_AT_REST: Duration = Duration::from_secs(60);

/// Some pages for what the log adds and for hash maps that double.
const GROWTH: usize = 6 * 65_536;

struct Token {
    text: String,
    key: RevocationKey,
    logout: FeedRevocation,
    /// Where its logout stands in the log.
    seq: Option<u64>,
    /// The step in which its logout was answered.
    answered: Option<usize>,
}

#[derive(Clone)]
struct Living {
    stream: StreamId,
    token: usize,
    arrived_step: usize,
    decided: bool,
}

/// A lease as the control plane remembers it.
struct Row {
    covered: u64,
    until: Duration,
}

/// What has been read for a callout, once it has been.
enum Under {
    Poll { request: FeedRequest, arrived: Duration, read: Option<FeedAnswer> },
    Check { token: RevocationKey, read: Option<CheckVerdict> },
}

struct World {
    host: Host,
    dice: Dice,
    now: Duration,
    step: usize,
    tokens: Vec<Token>,
    living: Vec<Living>,
    log: Vec<FeedRevocation>,
    leases: BTreeMap<WorkerId, Row>,
    left: BTreeSet<WorkerId>,
    under_way: BTreeMap<u32, Under>,
    admitted: usize,
    refused: usize,
    answered: usize,
}

impl World {
    fn new(seed: u64) -> Result<Self> {
        Ok(Self {
            host: strict_host()?,
            dice: Dice::of(seed),
            now: Duration::ZERO,
            step: 0,
            tokens: Vec::new(),
            living: Vec::new(),
            log: Vec::new(),
            leases: BTreeMap::new(),
            left: BTreeSet::new(),
            under_way: BTreeMap::new(),
            admitted: 0,
            refused: 0,
            answered: 0,
        })
    }

    fn play(&mut self, step: usize) -> Result<()> {
        self.step = step;
        let moment = Duration::from_millis(self.dice.roll(400) as u64);
        match self.dice.roll(200) {
            0..60 => self.request()?,
            60..90 => self.read(),
            90..130 => (0..4).try_for_each(|_| self.deliver())?,
            130..133 => self.log_out(),
            133..152 => self.die()?,
            152..172 => self.host.tick()?,
            172..190 => self.pass(moment),
            190..193 => self.fault(),
            193..196 => self.heal(),
            196 => self.pass(Duration::from_secs(6)),
            197 => ensure!(self.host.reconfigure(&strict(json!({})))? || self.host.any_fault(), "refused"),
            198 => self.drain()?,
            _ => {
                self.read();
                self.deliver()?;
            }
        }
        self.look()
    }

    fn request(&mut self) -> Result<()> {
        if self.tokens.len() < 5 || self.dice.roll(20) == 0 {
            let text = sign(&with(claims_of("alice"), json!({"exp": START + 1_000_000})))?;
            let logout = FeedRevocation { expires_at: START + 2_000_000, ..logout(&text)? };
            self.tokens.push(Token { text, key: logout.key, logout, seq: None, answered: None });
        }
        let token = self.tokens.len() - 1 - self.dice.roll(8.min(self.tokens.len()));
        let burst = if self.dice.roll(10) == 0 { 50 } else { 1 };
        for _ in 0..burst {
            let (stream, _) = send(&mut self.host, &self.tokens[token].text.clone())?;
            self.learn()?;
            self.living.push(Living { stream, token, arrived_step: self.step, decided: false });
        }
        Ok(())
    }

    /// Callouts that are new arrive at the control plane at once. A poll says what its worker holds.
    fn learn(&mut self) -> Result<()> {
        for callout in self.host.callouts() {
            if self.under_way.contains_key(&callout.token) {
                continue;
            }
            let under = self.arrives(&callout)?;
            self.under_way.insert(callout.token, under);
        }
        Ok(())
    }

    fn arrives(&mut self, callout: &Callout) -> Result<Under> {
        if callout.headers.get(":path").as_deref() != Some(FEED_PATH) {
            let token = callout.json()["token"].as_str().context("a question names its token")?.parse()?;
            return Ok(Under::Check { token, read: None });
        }
        let request = crate::feed::request(callout)?;
        ensure!(!self.left.contains(&request.worker), "an id is used again that was given up");
        if request.leaving {
            self.left.insert(request.worker);
            self.leases.remove(&request.worker);
        } else if let Some(row) = self.leases.get_mut(&request.worker) {
            ensure!(request.epoch == Some(EPOCH) || request.applied == 0, "{request:?}");
            row.covered = row.covered.max(request.applied);
        }
        Ok(Under::Poll { request, arrived: self.now, read: None })
    }

    /// The youngest callouts: those that were given up are rarely heard of again.
    fn youngest(&self) -> Vec<u32> {
        let mut calls: Vec<u32> = self.host.callouts().iter().rev().map(|callout| callout.token).collect();
        calls.truncate(10);
        calls
    }

    /// The control plane reads its store for some callouts, now or once more.
    fn read(&mut self) {
        for call in self.youngest() {
            if self.dice.roll(2) == 0 {
                self.read_for(call);
            }
        }
    }

    fn read_for(&mut self, call: u32) {
        let (now, head) = (self.now, self.log.len() as u64);
        match self.under_way.get_mut(&call) {
            Some(Under::Check { token, read }) => {
                let revoked = self.log.iter().any(|entry| entry.key == *token);
                *read = Some(if revoked { CheckVerdict::Revoked } else { CheckVerdict::Active });
            }
            Some(Under::Poll { request, arrived, read }) => {
                let fresh_ms = i64::try_from((now - *arrived).as_millis()).unwrap();
                *read = Some(FeedAnswer { fresh_ms, ..page(request, &self.log) });
                if !request.leaving && !self.left.contains(&request.worker) {
                    let row = self.leases.entry(request.worker).or_insert(Row { covered: head, until: now });
                    if row.until <= now {
                        row.covered = head;
                    }
                    row.until = row.until.max(now + LEASE);
                }
            }
            None => {}
        }
    }

    /// What was read comes to the filter, sooner or later, or something else does.
    fn deliver(&mut self) -> Result<()> {
        let Some(call) = self.dice.pick(&self.youngest()) else { return Ok(()) };
        if self.dice.roll(8) == 0 {
            // Any end but the first three, which are verdicts.
            let ending = &ENDINGS[3 + self.dice.roll(ENDINGS.len() - 3)];
            (ending.end)(&mut self.host, call).with_context(|| ending.name)?;
        } else {
            let answer = match self.under_way.get(&call) {
                Some(Under::Poll { read: Some(answer), .. }) => body(answer),
                Some(Under::Check { read: Some(CheckVerdict::Active), .. }) => verdict("active"),
                Some(Under::Check { read: Some(CheckVerdict::Revoked), .. }) => verdict("revoked"),
                _ => return Ok(()),
            };
            self.host.answer(call, 200, &answer)?;
        }
        self.under_way.remove(&call);
        self.learn()
    }

    fn log_out(&mut self) {
        let alive: Vec<usize> = (0..self.tokens.len()).filter(|token| self.tokens[*token].seq.is_none()).collect();
        // The first ones live on, so that there is somebody to admit.
        let Some(token) = self.dice.pick(alive.get(2..).unwrap_or_default()) else { return };
        self.log.push(self.tokens[token].logout);
        self.tokens[token].seq = Some(self.log.len() as u64);
    }

    fn die(&mut self) -> Result<()> {
        if self.living.is_empty() {
            return Ok(());
        }
        let index = self.dice.roll(self.living.len());
        let living = self.living.swap_remove(index);
        self.host.close(living.stream)
    }

    fn fault(&mut self) {
        self.dice.break_something(&mut self.host);
    }

    fn heal(&mut self) {
        for call in FAULTS {
            self.host.set_fault(call, None);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.host.advance(time);
    }

    /// Ticks as the filter wants them, and no answers: everybody is settled, and the worker comes to rest.
    fn drain(&mut self) -> Result<()> {
        let begun = self.now;
        while let Some(period) = self.host.ticks_wanted() {
            self.pass(period);
            self.host.tick()?;
            self.learn()?;
            ensure!(self.now - begun < SURELY_AT_REST, "the filter still wants ticks");
        }
        for living in &self.living {
            ensure!(self.host.outcome(living.stream)? != Outcome::Paused, "a stream is never settled");
        }
        Ok(())
    }

    fn look(&mut self) -> Result<()> {
        self.learn()?;
        for living in self.living.iter_mut().filter(|living| !living.decided) {
            let token = &self.tokens[living.token];
            let outcome = self.host.outcome(living.stream)?;
            living.decided = outcome != Outcome::Paused;
            match outcome {
                Outcome::Continued { .. } => {
                    let late = token.answered.is_some_and(|step| step < living.arrived_step);
                    ensure!(!late, "admitted after its logout was answered");
                    self.admitted += 1;
                }
                Outcome::LocalReply { .. } => {
                    let (status, code) = refusal(&outcome)?;
                    ensure!(status == 503 || token.seq.is_some(), "{code} without a logout");
                    self.refused += 1;
                }
                Outcome::Paused => {}
            }
        }
        while self.living.len() > 300 {
            let oldest = self.living.remove(0);
            self.host.close(oldest.stream)?;
        }
        self.answer_logouts();
        Ok(())
    }

    /// A logout is answered when no lease from before it is left that the worker does not hold it under.
    fn answer_logouts(&mut self) {
        let now = self.now;
        let in_the_way = |seq: u64| self.leases.values().any(|row| row.until > now && row.covered < seq);
        for token in self.tokens.iter_mut().filter(|token| token.answered.is_none()) {
            if token.seq.is_some_and(|seq| !in_the_way(seq)) {
                token.answered = Some(self.step);
                self.answered += 1;
            }
        }
    }
}

fn run(seed: u64, steps: usize) -> Result<World> {
    let mut world = World::new(seed)?;
    let mut warm = 0;
    for step in 0..steps {
        world.play(step).with_context(|| format!("step {step}"))?;
        if step == steps / 3 {
            warm = world.host.memory_size();
        }
    }
    world.heal();
    world.drain()?;
    let grown = world.host.memory_size() - warm;
    ensure!(grown <= GROWTH, "memory grew from {warm} by {grown} bytes");
    ensure!(world.tokens.iter().any(|token| token.key != world.tokens[0].key), "one token only");
    Ok(world)
}

#[test]
fn whatever_the_order_no_logout_that_was_answered_is_missed() {
    let steps = number("CURFEW_HOSTILE_STEPS").map_or(STEPS, |steps| usize::try_from(steps).unwrap());
    let seeds = number("CURFEW_HOSTILE_SEED").map_or(1..=SEEDS, |seed| seed..=seed);
    for seed in seeds {
        let world = run(seed, steps).unwrap_or_else(|error| panic!("CURFEW_HOSTILE_SEED={seed}: {error:#}"));
        let decided = world.host.metric("curfew_replica_decided");
        let (admitted, refused, answered) = (world.admitted, world.refused, world.answered);
        println!("seed {seed}: {admitted} admitted, {refused} refused, {decided} by the replica, {answered} logouts");
        let tried = admitted > 100 && refused > 100 && decided > 100 && answered > 10;
        assert!(tried, "seed {seed}: {admitted}, {refused}, {decided}, {answered}: nothing was tried");
    }
}
