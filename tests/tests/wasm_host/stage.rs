//! The parts of a random run that both schedulers share: a host, dice, time, the open streams, and faults.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::wasm_host::{Fault, Host, HostCall, Outcome, StreamId};

use crate::support::send;

/// Decided requests end at some time. They end when there are more than this, so that a run can be long.
const MOST_OPEN: usize = 300;

/// Calls whose failure does not keep the host from carrying out decisions.
const FAULTS: [HostCall; 7] = [
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
    fn of(seed: u64) -> Self {
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

    pub(crate) fn moment(&mut self) -> Duration {
        Duration::from_millis(self.roll(400) as u64)
    }
}

/// An open stream, and the model's facts about it.
#[derive(Clone)]
pub(crate) struct Living {
    pub(crate) stream: StreamId,
    /// The number of its token.
    pub(crate) token: usize,
    pub(crate) arrived: Duration,
    pub(crate) arrived_step: usize,
    pub(crate) decided: bool,
}

pub(crate) struct Stage {
    pub(crate) host: Host,
    pub(crate) dice: Dice,
    pub(crate) now: Duration,
    pub(crate) step: usize,
    pub(crate) living: Vec<Living>,
}

impl Stage {
    pub(crate) fn new(host: Host, seed: u64) -> Self {
        Self { host, dice: Dice::of(seed), now: Duration::ZERO, step: 0, living: Vec::new() }
    }

    /// A request with a token, which has this number.
    pub(crate) fn request(&mut self, number: usize, token: &str) -> Result<()> {
        let (stream, _) = send(&mut self.host, token)?;
        let (arrived, arrived_step) = (self.now, self.step);
        self.living.push(Living { stream, token: number, arrived, arrived_step, decided: false });
        Ok(())
    }

    /// How many requests come at once: most of the time one.
    pub(crate) fn burst(&mut self) -> usize {
        if self.dice.roll(10) == 0 { 50 } else { 1 }
    }

    /// Some client goes away.
    pub(crate) fn lose_client(&mut self) -> Result<()> {
        if self.living.is_empty() {
            return Ok(());
        }
        let index = self.dice.roll(self.living.len());
        let living = self.living.swap_remove(index);
        self.host.close(living.stream)
    }

    /// Ends the oldest requests, if many are open.
    pub(crate) fn close_oldest(&mut self) -> Result<()> {
        while self.living.len() > MOST_OPEN {
            let oldest = self.living.remove(0);
            self.host.close(oldest.stream)?;
        }
        Ok(())
    }

    /// Makes some host call fail from now on.
    pub(crate) fn break_something(&mut self) {
        let fault = [Fault::Error, Fault::Empty, Fault::Garbage][self.dice.roll(3)];
        self.host.set_fault(FAULTS[self.dice.roll(FAULTS.len())], Some(fault));
    }

    pub(crate) fn heal(&mut self) {
        for call in FAULTS {
            self.host.set_fault(call, None);
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.host.advance(time);
    }

    /// Lets the time to the next tick pass, and ticks; false if the filter wants no tick.
    pub(crate) fn next_tick(&mut self) -> Result<bool> {
        let Some(period) = self.host.ticks_wanted() else { return Ok(false) };
        self.pass(period);
        self.host.tick()?;
        Ok(true)
    }

    /// Fails if a request still waits.
    pub(crate) fn all_are_settled(&self) -> Result<()> {
        for living in &self.living {
            ensure!(self.host.outcome(living.stream)? != Outcome::Paused, "a stream is never settled");
        }
        Ok(())
    }
}

/// A world that is played step by step on a stage.
pub(crate) trait World {
    fn stage(&mut self) -> &mut Stage;

    /// Plays one random event and checks what must hold after it.
    fn play(&mut self) -> Result<()>;

    /// Ticks as the filter wants them, without answers, until every request is settled.
    fn drain(&mut self) -> Result<()>;
}

/// Plays this many steps, and drains the world; returns by how much the VM's memory has grown after a third of them.
pub(crate) fn run(world: &mut impl World, steps: usize, growth: usize) -> Result<usize> {
    let mut warm = 0;
    for step in 0..steps {
        world.stage().step = step;
        world.play().with_context(|| format!("step {step}"))?;
        if step == steps / 3 {
            warm = world.stage().host.memory_size();
        }
    }
    world.stage().heal();
    world.drain()?;
    let grown = world.stage().host.memory_size() - warm;
    ensure!(grown <= growth, "memory grew from {warm} by {grown} bytes");
    Ok(grown)
}

/// The seeds and the number of steps of a run; the environment overrides both.
pub(crate) fn runs(seeds: u64, steps: usize) -> (RangeInclusive<u64>, usize) {
    let steps = number("CURFEW_HOSTILE_STEPS").map_or(steps, |steps| usize::try_from(steps).unwrap());
    (number("CURFEW_HOSTILE_SEED").map_or(1..=seeds, |seed| seed..=seed), steps)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
