//! Requests, answers of all kinds, deaths, ticks, faults and time in an order that nobody thought of.
//!
//! A seed decides everything. A failure names it; `CURFEW_HOSTILE_SEED=7 cargo test --test wasm_host scheduler` plays it
//! again, and `CURFEW_HOSTILE_STEPS` makes the runs longer.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::wasm_host::{Action, Fault, Host, HostCall, Outcome, StreamId};

use crate::endings::{ENDINGS, Ending, Verdict};
use crate::support::{host, refusal, send, token};

const SEEDS: u64 = 6;
const STEPS: usize = 3_000;

/// As in the stories' configuration.
const MAX_STALENESS: Duration = Duration::from_secs(5);

/// Four times `control_plane.timeout`: younger questions are surely not given up.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);

/// What the VM's memory may grow by, once it has seen a third of a run: one page of slack for a hash map that doubles.
const GROWTH: usize = 2 * 65_536;

/// Calls that may fail without keeping the host from doing what it is told.
pub(crate) const FAULTS: [HostCall; 7] = [
    HostCall::HeaderPairs,
    HostCall::HeaderValue,
    HostCall::HeaderChange,
    HostCall::Buffer,
    HostCall::Dispatch,
    HostCall::Metric,
    HostCall::Foreign,
];

/// xorshift64*.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides as u64).unwrap()
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.roll(from.len())].clone())
    }

    /// Makes some host call fail from now on.
    pub(crate) fn break_something(&mut self, host: &mut Host) {
        let fault = [Fault::Error, Fault::Empty, Fault::Garbage][self.roll(3)];
        host.set_fault(FAULTS[self.roll(FAULTS.len())], Some(fault));
    }
}

/// A stream that lives, and what the model knows of it.
#[derive(Clone)]
struct Living {
    stream: StreamId,
    token: usize,
    arrived: Duration,
    arrived_step: usize,
    decided: bool,
}

/// What has been said about a token.
#[derive(Default, Clone)]
struct Token {
    text: String,
    /// When the questions were sent that were answered "active", and when the answers came.
    active: Vec<(Duration, Duration)>,
    /// The step in which an answer "revoked" came to a question that was surely not given up.
    revoked: Option<usize>,
}

struct World {
    host: Host,
    dice: Dice,
    now: Duration,
    step: usize,
    tokens: Vec<Token>,
    living: Vec<Living>,
    /// Callouts: the token, and when they were sent.
    calls: BTreeMap<u32, (usize, Duration)>,
    /// Tokens by the key that questions name them with.
    keys: BTreeMap<String, usize>,
    admitted: usize,
    refused: usize,
}

impl World {
    fn new(seed: u64) -> Result<Self> {
        Ok(Self {
            host: host()?,
            dice: Dice::of(seed),
            now: Duration::ZERO,
            step: 0,
            tokens: Vec::new(),
            living: Vec::new(),
            calls: BTreeMap::new(),
            keys: BTreeMap::new(),
            admitted: 0,
            refused: 0,
        })
    }

    fn play(&mut self, step: usize) -> Result<()> {
        self.step = step;
        let moment = Duration::from_millis(self.dice.roll(400) as u64);
        match self.dice.roll(100) {
            0..40 => self.request()?,
            40..60 => self.answer()?,
            60..66 => self.die()?,
            66..76 => self.part_of_a_request()?,
            76..84 => self.host.tick()?,
            84..94 => self.pass(moment),
            94..96 => self.fault(),
            96..98 => self.heal(),
            98 => self.pass(Duration::from_secs(6)),
            _ => self.drain()?,
        }
        self.look()
    }

    fn request(&mut self) -> Result<()> {
        if self.tokens.len() < 5 || self.dice.roll(20) == 0 {
            self.tokens.push(Token { text: token()?, ..Token::default() });
        }
        // The youngest ones are in use.
        let index = self.tokens.len() - 1 - self.dice.roll(5.min(self.tokens.len()));
        let burst = if self.dice.roll(10) == 0 { 50 } else { 1 };
        for _ in 0..burst {
            let (stream, _) = send(&mut self.host, &self.tokens[index].text.clone())?;
            self.learn_calls(Some(index))?;
            let (arrived, arrived_step) = (self.now, self.step);
            self.living.push(Living { stream, token: index, arrived, arrived_step, decided: false });
        }
        Ok(())
    }

    /// Notes the callouts that are new.
    fn learn_calls(&mut self, asker: Option<usize>) -> Result<()> {
        for callout in self.host.callouts() {
            let key = callout.json()["token"].as_str().context("a question names its token")?.to_owned();
            let token = *self.keys.entry(key).or_insert(asker.unwrap_or(usize::MAX));
            ensure!(token != usize::MAX, "a question about a token that nobody sent");
            self.calls.entry(callout.token).or_insert((token, self.now));
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<()> {
        let Some(callout) = self.dice.pick(&self.host.callouts()) else { return Ok(()) };
        let ending: &Ending = match self.dice.roll(10) {
            0..5 => &ENDINGS[0],
            5 => &ENDINGS[1],
            _ => &ENDINGS[self.dice.roll(ENDINGS.len())],
        };
        (ending.end)(&mut self.host, callout.token).with_context(|| ending.name)?;
        let (token, sent) = self.calls.remove(&callout.token).context("a callout that nobody noted")?;
        let token = &mut self.tokens[token];
        match ending.means {
            Verdict::Active => token.active.push((sent, self.now)),
            // A fault may have kept the filter from reading it.
            Verdict::Revoked if self.now - sent <= GIVEN_UP_AFTER && !self.host.any_fault() => {
                token.revoked.get_or_insert(self.step);
            }
            _ => {}
        }
        self.learn_calls(None)
    }

    fn die(&mut self) -> Result<()> {
        if self.living.is_empty() {
            return Ok(());
        }
        let index = self.dice.roll(self.living.len());
        let living = self.living.swap_remove(index);
        self.host.close(living.stream)
    }

    /// A part that follows may go on only where its head did.
    fn part_of_a_request(&mut self) -> Result<()> {
        let Some(living) = self.dice.pick(&self.living) else { return Ok(()) };
        let admitted = matches!(self.host.outcome(living.stream)?, Outcome::Continued { .. });
        let action = match self.dice.roll(3) {
            0 => self.host.body(living.stream, 100, false)?,
            1 => self.host.body(living.stream, 0, true)?,
            _ if admitted => return Ok(()),
            _ => self.host.trailers(living.stream, &[("x-user-id", b"root"), ("x", b"\xff")])?,
        };
        ensure!((action == Action::Continue) == admitted, "{action:?} for a part, admitted: {admitted}");
        Ok(())
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

    /// Ticks as the filter wants them, and no answers: everybody is settled.
    fn drain(&mut self) -> Result<()> {
        let begun = self.now;
        while let Some(period) = self.host.ticks_wanted() {
            self.pass(period);
            self.host.tick()?;
            ensure!(self.now - begun < GIVEN_UP_AFTER * 3, "the filter still wants ticks");
        }
        for living in &self.living {
            ensure!(self.host.outcome(living.stream)? != Outcome::Paused, "a stream is never settled");
        }
        Ok(())
    }

    /// Looks at who was decided since the last time.
    fn look(&mut self) -> Result<()> {
        self.learn_calls(None)?;
        for living in self.living.iter_mut().filter(|living| !living.decided) {
            let outcome = self.host.outcome(living.stream)?;
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
        // Those that are decided leave sooner or later; here sooner, so that a run can be long.
        while self.living.len() > 300 {
            let oldest = self.living.remove(0);
            self.host.close(oldest.stream)?;
        }
        Ok(())
    }
}

/// Whoever is admitted waited for an answer "active", or came while one was good; and not after a "revoked".
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

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64, steps: usize) -> Result<(usize, usize, usize)> {
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
    Ok((world.admitted, world.refused, grown))
}

#[test]
fn whatever_the_order_everybody_is_settled_once_and_nobody_passes_unasked() {
    let steps = number("CURFEW_HOSTILE_STEPS").map_or(STEPS, |steps| usize::try_from(steps).unwrap());
    let seeds = number("CURFEW_HOSTILE_SEED").map_or(1..=SEEDS, |seed| seed..=seed);
    for seed in seeds {
        match run(seed, steps) {
            Ok((admitted, refused, grown)) => {
                println!("seed {seed}: {admitted} admitted, {refused} refused, memory grew by {grown} bytes");
                assert!(admitted > 100 && refused > 100, "seed {seed}: {admitted}, {refused}: nothing was tried");
            }
            Err(error) => panic!("CURFEW_HOSTILE_SEED={seed}: {error:#}"),
        }
    }
}
