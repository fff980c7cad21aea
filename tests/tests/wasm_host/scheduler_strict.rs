//! As [`crate::scheduler`], in strict mode. Beside the host's own rules, the promise is checked: a control plane that
//! keeps its side of the leases reads and answers at random times, a logout is answered as soon as no lease is in its
//! way, and from then on no request that comes is admitted with the token.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use curfew_core::wire::{CheckVerdict, FEED_PATH, FeedAnswer, FeedRequest, FeedRevocation};
use curfew_core::{RevocationKey, WorkerId};
use curfew_testbed::tokens::with;
use curfew_testbed::wasm_host::{Callout, Outcome, START};
use serde_json::json;

use crate::endings::ENDINGS;
use crate::feed::{EPOCH, LEASE, body, logout, page, strict, strict_host};
use crate::stage::{Stage, World, run, runs};
use crate::support::{claims_of, refusal, sign, verdict};

const SEEDS: u64 = 4;
const STEPS: usize = 3_000;

/// Far longer than a worker takes to give up a poll, become idle, and give up the poll that says that it leaves.
const SURELY_AT_REST: Duration = Duration::from_secs(60);

/// Some pages for the growing log and for hash maps that double.
const GROWTH: usize = 6 * 65_536;

struct Token {
    text: String,
    key: RevocationKey,
    logout: FeedRevocation,
    /// The seq of its logout.
    seq: Option<u64>,
    /// The step in which its logout was answered.
    answered: Option<usize>,
}

/// A lease as the control plane remembers it.
struct Row {
    covered: u64,
    until: Duration,
}

/// The control plane's reading for a callout, if there was one.
enum Under {
    Poll { request: FeedRequest, arrived: Duration, read: Option<FeedAnswer> },
    Check { token: RevocationKey, read: Option<CheckVerdict> },
}

/// A world in strict mode.
struct Strict {
    stage: Stage,
    tokens: Vec<Token>,
    log: Vec<FeedRevocation>,
    leases: BTreeMap<WorkerId, Row>,
    left: BTreeSet<WorkerId>,
    under_way: BTreeMap<u32, Under>,
    admitted: usize,
    refused: usize,
    answered: usize,
}

impl World for Strict {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn play(&mut self) -> Result<()> {
        let moment = self.stage.dice.moment();
        match self.stage.dice.roll(200) {
            0..60 => self.request()?,
            60..90 => self.read(),
            90..130 => (0..4).try_for_each(|_| self.deliver())?,
            130..133 => self.log_out(),
            133..152 => self.stage.lose_client()?,
            152..172 => self.stage.host.tick()?,
            172..190 => self.stage.pass(moment),
            190..193 => self.stage.break_something(),
            193..196 => self.stage.heal(),
            196 => self.stage.pass(Duration::from_secs(6)),
            197 => self.reconfigure()?,
            198 => self.drain()?,
            _ => {
                self.read();
                self.deliver()?;
            }
        }
        self.look()
    }

    fn drain(&mut self) -> Result<()> {
        let begun = self.stage.now;
        while self.stage.next_tick()? {
            self.learn()?;
            ensure!(self.stage.now - begun < SURELY_AT_REST, "the filter still wants ticks");
        }
        self.stage.all_are_settled()
    }
}

impl Strict {
    fn new(seed: u64) -> Result<Self> {
        Ok(Self {
            stage: Stage::new(strict_host()?, seed),
            tokens: Vec::new(),
            log: Vec::new(),
            leases: BTreeMap::new(),
            left: BTreeSet::new(),
            under_way: BTreeMap::new(),
            admitted: 0,
            refused: 0,
            answered: 0,
        })
    }

    fn reconfigure(&mut self) -> Result<()> {
        let accepted = self.stage.host.reconfigure(&strict(json!({})))?;
        ensure!(accepted || self.stage.host.any_fault(), "refused");
        Ok(())
    }

    fn request(&mut self) -> Result<()> {
        if self.tokens.len() < 5 || self.stage.dice.roll(20) == 0 {
            let text = sign(&with(claims_of("alice"), json!({"exp": START + 1_000_000})))?;
            let logout = FeedRevocation { expires_at: START + 2_000_000, ..logout(&text)? };
            self.tokens.push(Token { text, key: logout.key, logout, seq: None, answered: None });
        }
        let token = self.tokens.len() - 1 - self.stage.dice.roll(8.min(self.tokens.len()));
        for _ in 0..self.stage.burst() {
            self.stage.request(token, &self.tokens[token].text)?;
            self.learn()?;
        }
        Ok(())
    }

    /// New callouts arrive at the control plane at once. A poll carries the position of its worker.
    fn learn(&mut self) -> Result<()> {
        for callout in self.stage.host.callouts() {
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
        Ok(Under::Poll { request, arrived: self.stage.now, read: None })
    }

    /// One of the youngest callouts, because those that were given up rarely get an answer.
    fn youngest(&self) -> Vec<u32> {
        let mut calls: Vec<u32> = self.stage.host.callouts().iter().rev().map(|callout| callout.token).collect();
        calls.truncate(10);
        calls
    }

    /// The control plane reads its store for some callouts, for the first time or again.
    fn read(&mut self) {
        for call in self.youngest() {
            if self.stage.dice.roll(2) == 0 {
                self.read_for(call);
            }
        }
    }

    fn read_for(&mut self, call: u32) {
        let (now, head) = (self.stage.now, self.log.len() as u64);
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

    /// The reading for a callout reaches the filter at some time, or another end does.
    fn deliver(&mut self) -> Result<()> {
        let Some(call) = self.stage.dice.pick(&self.youngest()) else { return Ok(()) };
        if self.stage.dice.roll(8) == 0 {
            // Any end but the first three, which are verdicts.
            let ending = &ENDINGS[3 + self.stage.dice.roll(ENDINGS.len() - 3)];
            (ending.end)(&mut self.stage.host, call).with_context(|| ending.name)?;
        } else {
            let answer = match self.under_way.get(&call) {
                Some(Under::Poll { read: Some(answer), .. }) => body(answer),
                Some(Under::Check { read: Some(CheckVerdict::Active), .. }) => verdict("active"),
                Some(Under::Check { read: Some(CheckVerdict::Revoked), .. }) => verdict("revoked"),
                _ => return Ok(()),
            };
            self.stage.host.answer(call, 200, &answer)?;
        }
        self.under_way.remove(&call);
        self.learn()
    }

    fn log_out(&mut self) {
        let alive: Vec<usize> = (0..self.tokens.len()).filter(|token| self.tokens[*token].seq.is_none()).collect();
        // The first tokens stay alive, so that some requests can be admitted.
        let Some(token) = self.stage.dice.pick(alive.get(2..).unwrap_or_default()) else { return };
        self.log.push(self.tokens[token].logout);
        self.tokens[token].seq = Some(self.log.len() as u64);
    }

    fn look(&mut self) -> Result<()> {
        self.learn()?;
        for living in self.stage.living.iter_mut().filter(|living| !living.decided) {
            let token = &self.tokens[living.token];
            let outcome = self.stage.host.outcome(living.stream)?;
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
        self.stage.close_oldest()?;
        self.answer_logouts();
        Ok(())
    }

    /// Answers a logout when no lease from before it is left, or the worker has applied it.
    fn answer_logouts(&mut self) {
        let now = self.stage.now;
        let in_the_way = |seq: u64| self.leases.values().any(|row| row.until > now && row.covered < seq);
        for token in self.tokens.iter_mut().filter(|token| token.answered.is_none()) {
            if token.seq.is_some_and(|seq| !in_the_way(seq)) {
                token.answered = Some(self.stage.step);
                self.answered += 1;
            }
        }
    }
}

#[test]
fn in_any_order_no_answered_logout_is_missed() {
    let (seeds, steps) = runs(SEEDS, STEPS);
    for seed in seeds {
        let mut world = Strict::new(seed).unwrap();
        run(&mut world, steps, GROWTH).unwrap_or_else(|error| panic!("CURFEW_HOSTILE_SEED={seed}: {error:#}"));
        assert!(world.tokens.iter().any(|token| token.key != world.tokens[0].key), "seed {seed}: one token only");
        let decided = world.stage.host.metric("curfew_replica_decided");
        let (admitted, refused, answered) = (world.admitted, world.refused, world.answered);
        println!("seed {seed}: {admitted} admitted, {refused} refused, {decided} by the copy, {answered} logouts");
        let tried = admitted > 100 && refused > 100 && decided > 100 && answered > 10;
        assert!(tried, "seed {seed}: {admitted}, {refused}, {decided}, {answered}: nothing was tried");
    }
}
