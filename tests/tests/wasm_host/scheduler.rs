//! Requests, answers of all kinds, lost clients, ticks, faults and time, in random order.
//!
//! A seed decides everything. A failure names it; `CURFEW_HOSTILE_SEED=7 cargo test --test wasm_host scheduler` plays
//! it again, and `CURFEW_HOSTILE_STEPS` makes the runs longer.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::wasm_host::{Action, Outcome};

use crate::endings::{ENDINGS, Ending, Verdict};
use crate::stage::{Living, Stage, World, run, runs};
use crate::support::{host, refusal, token};

const SEEDS: u64 = 6;
const STEPS: usize = 3_000;

/// `max_staleness` in the stories' configuration.
const MAX_STALENESS: Duration = Duration::from_secs(5);

/// Four times `control_plane.timeout`. A younger question is certainly not given up.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);

/// By how much the VM's memory may grow after a third of a run: two pages, for a hash map that doubles.
const GROWTH: usize = 2 * 65_536;

/// The answers about a token so far.
#[derive(Default, Clone)]
struct Token {
    text: String,
    /// When each question with the answer "active" was sent, and when the answer came.
    active: Vec<(Duration, Duration)>,
    /// The step in which the answer "revoked" came to a question that was certainly not given up.
    revoked: Option<usize>,
}

/// A world in bounded mode.
struct Bounded {
    stage: Stage,
    tokens: Vec<Token>,
    /// Callouts: the token, and when they were sent.
    calls: BTreeMap<u32, (usize, Duration)>,
    /// Tokens by the key that questions name them with.
    keys: BTreeMap<String, usize>,
    admitted: usize,
    refused: usize,
}

impl World for Bounded {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn play(&mut self) -> Result<()> {
        let moment = self.stage.dice.moment();
        match self.stage.dice.roll(100) {
            0..40 => self.request()?,
            40..60 => self.answer()?,
            60..66 => self.stage.lose_client()?,
            66..76 => self.part_of_a_request()?,
            76..84 => self.stage.host.tick()?,
            84..94 => self.stage.pass(moment),
            94..96 => self.stage.break_something(),
            96..98 => self.stage.heal(),
            98 => self.stage.pass(Duration::from_secs(6)),
            _ => self.drain()?,
        }
        self.look()
    }

    fn drain(&mut self) -> Result<()> {
        let begun = self.stage.now;
        while self.stage.next_tick()? {
            ensure!(self.stage.now - begun < GIVEN_UP_AFTER * 3, "the filter still wants ticks");
        }
        self.stage.all_are_settled()
    }
}

impl Bounded {
    fn new(seed: u64) -> Result<Self> {
        Ok(Self {
            stage: Stage::new(host()?, seed),
            tokens: Vec::new(),
            calls: BTreeMap::new(),
            keys: BTreeMap::new(),
            admitted: 0,
            refused: 0,
        })
    }

    fn request(&mut self) -> Result<()> {
        if self.tokens.len() < 5 || self.stage.dice.roll(20) == 0 {
            self.tokens.push(Token { text: token()?, ..Token::default() });
        }
        // The youngest tokens are in use.
        let index = self.tokens.len() - 1 - self.stage.dice.roll(5.min(self.tokens.len()));
        for _ in 0..self.stage.burst() {
            self.stage.request(index, &self.tokens[index].text)?;
            self.learn_calls(Some(index))?;
        }
        Ok(())
    }

    /// Records the new callouts.
    fn learn_calls(&mut self, asker: Option<usize>) -> Result<()> {
        for callout in self.stage.host.callouts() {
            let key = callout.json()["token"].as_str().context("a question names its token")?.to_owned();
            let token = *self.keys.entry(key).or_insert(asker.unwrap_or(usize::MAX));
            ensure!(token != usize::MAX, "a question about a token that no request had");
            self.calls.entry(callout.token).or_insert((token, self.stage.now));
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<()> {
        let Some(callout) = self.stage.dice.pick(&self.stage.host.callouts()) else { return Ok(()) };
        let ending: &Ending = match self.stage.dice.roll(10) {
            0..5 => &ENDINGS[0],
            5 => &ENDINGS[1],
            _ => &ENDINGS[self.stage.dice.roll(ENDINGS.len())],
        };
        (ending.end)(&mut self.stage.host, callout.token).with_context(|| ending.name)?;
        let (token, sent) = self.calls.remove(&callout.token).context("a callout that was not recorded")?;
        let token = &mut self.tokens[token];
        match ending.means {
            Verdict::Active => token.active.push((sent, self.stage.now)),
            // A fault may have kept the filter from reading it.
            Verdict::Revoked if self.stage.now - sent <= GIVEN_UP_AFTER && !self.stage.host.any_fault() => {
                token.revoked.get_or_insert(self.stage.step);
            }
            _ => {}
        }
        self.learn_calls(None)
    }

    /// A later part may go on only if its head did.
    fn part_of_a_request(&mut self) -> Result<()> {
        let Some(living) = self.stage.dice.pick(&self.stage.living) else { return Ok(()) };
        let admitted = matches!(self.stage.host.outcome(living.stream)?, Outcome::Continued { .. });
        let action = match self.stage.dice.roll(3) {
            0 => self.stage.host.body(living.stream, 100, false)?,
            1 => self.stage.host.body(living.stream, 0, true)?,
            _ if admitted => return Ok(()),
            _ => self.stage.host.trailers(living.stream, &[("x-user-id", b"root"), ("x", b"\xff")])?,
        };
        ensure!((action == Action::Continue) == admitted, "{action:?} for a part, admitted: {admitted}");
        Ok(())
    }

    /// Checks the requests that were decided since the last time.
    fn look(&mut self) -> Result<()> {
        self.learn_calls(None)?;
        for living in self.stage.living.iter_mut().filter(|living| !living.decided) {
            let outcome = self.stage.host.outcome(living.stream)?;
            living.decided = outcome != Outcome::Paused;
            match outcome {
                Outcome::Continued { .. } => {
                    vouched_for(living, &self.tokens[living.token])?;
                    self.admitted += 1;
                }
                Outcome::LocalReply { .. } => {
                    refusal(&outcome)?;
                    self.refused += 1;
                }
                Outcome::Paused => {}
            }
        }
        self.stage.close_oldest()
    }
}

/// An admitted request waited for an answer "active", or came while one was good, and did not come after a "revoked".
fn vouched_for(living: &Living, token: &Token) -> Result<()> {
    let good = |(sent, came): &(Duration, Duration)| {
        let until = *sent + MAX_STALENESS;
        living.arrived <= *sent || (living.arrived < until && *came < until)
    };
    ensure!(token.active.iter().any(good), "admitted without an answer: {:?} {:?}", living.arrived, token.active);
    let revoked = token.revoked.is_some_and(|step| step < living.arrived_step);
    ensure!(!revoked, "admitted after an answer \"revoked\"");
    Ok(())
}

#[test]
fn in_any_order_every_request_is_settled_once_and_none_passes_without_a_verdict() {
    let (seeds, steps) = runs(SEEDS, STEPS);
    for seed in seeds {
        let mut world = Bounded::new(seed).unwrap();
        let grown = run(&mut world, steps, GROWTH);
        let grown = grown.unwrap_or_else(|error| panic!("CURFEW_HOSTILE_SEED={seed}: {error:#}"));
        let (admitted, refused) = (world.admitted, world.refused);
        println!("seed {seed}: {admitted} admitted, {refused} refused, memory grew by {grown} bytes");
        assert!(admitted > 100 && refused > 100, "seed {seed}: {admitted}, {refused}: nothing was tried");
    }
}
