//! Seeded worlds for the shipped decisions: database servers that fail over, fork, lag, are restored and start again,
//! connections that lead to either of two, and statements that are under way meanwhile.
//!
//! A failure names its seed; `CURFEW_TRUST_SEED=7 cargo test --workspace --lib trust::worlds` plays it again, and
//! `CURFEW_TRUST_WORLDS` plays more of them.

mod process;
mod rules;
mod servers;

use process::Process;
use servers::Servers;

const WORLDS: u64 = 2_000;
const STEPS: usize = 300;

/// A mistake. The shipped code has no switch for it: the world makes it between the shipped parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutant {
    /// Heads are compared in their epoch only, and no ended epoch is remembered.
    OnlyEqualEpochsCompared,
    /// The fence is lifted by a look that began before something was distrusted.
    LiftedByAnyLook,
    /// The place of a history is not looked at.
    PlaceIgnored,
}

/// xorshift64*.
pub(super) struct Dice(u64);

impl Dice {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides as u64).unwrap()
    }
}

struct World {
    dice: Dice,
    servers: Servers,
    process: Process,
    now: usize,
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        Self { dice: Dice::of(seed), servers: Servers::new(mutant), process: Process::with(mutant), now: 0 }
    }

    fn step(&mut self) -> Result<(), String> {
        self.now += 1;
        let (now, dice) = (self.now, &mut self.dice);
        match dice.roll(100) {
            0..20 => self.process.read(&self.servers, dice, now),
            20..45 => self.process.arrive(&mut self.servers, dice),
            45..72 => return self.process.return_one(&self.servers, dice, now),
            72..77 => self.process.look(&self.servers, dice, now),
            77..84 => self.process.write(&self.servers, now),
            // Another control plane, which has seen nothing else.
            84..88 => drop(self.servers.commit(self.servers.name, false, None)),
            88..93 => self.servers.replicate(dice),
            93 | 94 => self.servers.promote(dice),
            95 => self.servers.rename(dice),
            96 => {
                let server = dice.roll(self.servers.all.len());
                self.process.cut(server);
            }
            97 => {
                let server = dice.roll(self.servers.all.len());
                self.servers.all[server].is_up ^= true;
                self.process.cut(server);
            }
            98 => {
                let server = self.servers.restart(dice);
                self.process.cut(server);
            }
            _ => {
                let server = self.servers.restore(dice);
                self.process.cut(server);
            }
        }
        Ok(())
    }

    /// When one primary is left, the watch lifts the fence, and its log is believed.
    fn recovers(&mut self) -> Result<(), String> {
        self.servers.calm(&mut self.dice);
        for server in 0..self.servers.all.len() {
            if !self.servers.all[server].is_up {
                self.process.cut(server);
            }
        }
        for _ in 0..10 {
            self.now += 1;
            self.process.look(&self.servers, &mut self.dice, self.now);
            self.settle()?;
        }
        for _ in 0..2 {
            self.now += 1;
            self.process.read(&self.servers, &mut self.dice, self.now);
            self.settle()?;
        }
        let present = &self.servers.all[self.servers.name].log;
        match (self.process.trust.is_fenced(), self.process.rules.last == *present) {
            (true, _) => Err("the fence is never lifted".to_owned()),
            (_, false) => Err("the present log is never read".to_owned()),
            _ => Ok(()),
        }
    }

    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..1_000 {
            if self.process.is_quiet() {
                return Ok(());
            }
            self.now += 1;
            self.process.arrive(&mut self.servers, &mut self.dice);
            self.process.return_one(&self.servers, &mut self.dice, self.now)?;
        }
        Err("statements never end".to_owned())
    }
}

/// Plays one world; returns how much was believed, distrusted and lifted.
fn play(seed: u64, mutant: Option<Mutant>) -> Result<(usize, usize, usize), String> {
    let mut world = World::new(seed, mutant);
    for _ in 0..STEPS {
        world.step()?;
    }
    world.recovers()?;
    Ok(world.process.rules.tried)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_server_is_believed_that_lacks_what_was_confirmed_and_reads_go_on_when_one_is_left() {
    let worlds = 1..=number("CURFEW_TRUST_WORLDS").unwrap_or(WORLDS);
    let seeds = number("CURFEW_TRUST_SEED").map_or(worlds, |seed| seed..=seed);
    let mut tried = (0, 0, 0);
    for seed in seeds.clone() {
        let played = play(seed, None).unwrap_or_else(|broken| panic!("CURFEW_TRUST_SEED={seed}: {broken}"));
        tried = (tried.0 + played.0, tried.1 + played.1, tried.2 + played.2);
    }
    let (believed, distrusted, lifted) = tried;
    println!("{believed} answers believed, {distrusted} distrusted, the fence lifted {lifted} times");
    let worlds = seeds.count();
    assert!(believed > 5 * worlds && distrusted > worlds && lifted > worlds / 2, "{tried:?}: nothing was tried");
}

#[test]
fn each_mistake_is_noticed() {
    for (mutant, signs) in [
        (Mutant::OnlyEqualEpochsCompared, &["which had ended", "without commit"][..]),
        (Mutant::LiftedByAnyLook, &["by an older look"]),
        (Mutant::PlaceIgnored, &["without commit"]),
    ] {
        let found = (1..=WORLDS).find_map(|seed| play(seed, Some(mutant)).err().map(|broken| (seed, broken)));
        let (seed, broken) = found.unwrap_or_else(|| panic!("{mutant:?} is not noticed"));
        println!("{mutant:?}: seed {seed}: {broken}");
        assert!(signs.iter().any(|sign| broken.contains(sign)), "{mutant:?}: {broken}");
    }
}
