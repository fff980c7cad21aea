//! The promise of strict mode, kept by the room `leases` as it ships.
//!
//! The `simulation` beside this calls the barrier itself and tells again what stands around it. Here nothing is told again:
//! two or three control planes run the whole room, with its tasks, its shared readings, its dedupe of waits, its survey of
//! others' commits, its own row, its places, its close, and its messages. The workers run the filter's own feed. Only what
//! lies beyond the room is made up: a database (`server`, `store`), lines between control planes (`lines`), the calls of
//! workers (`worker`) and of clients (`logouts`). All of it runs in one thread, in time that passes only when nothing is left
//! to do, with clocks of different speeds.
//!
//! A seed decides the world and its faults (`faults`): statements that are late, fail, hang, or are carried out without an
//! answer; processes that die or close; new epochs with and without lost rows and lost logouts; old primaries that go on
//! answering; polls that a proxy repeats at another control plane; clients that go away, and that ask elsewhere how their
//! logout ended. Only the order in which tokio polls what is ready at the same moment is not the seed's.
//!
//! `checks` says what must hold. A failure names its seed: `CURFEW_SIMULATION_SEED=7 cargo test --workspace --test shipped
//! keeps -- --nocapture` plays it again and prints what happens; `CURFEW_SIMULATION_SEEDS=10000` tries that many seeds.

#[cfg(test)]
mod checks;
#[cfg(test)]
mod clocks;
#[cfg(test)]
#[path = "../simulation/dice.rs"]
mod dice;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod logouts;
#[cfg(test)]
mod mutant;
#[cfg(test)]
mod plane;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod server;
#[cfg(test)]
mod store;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod worker;
#[cfg(test)]
mod world;
