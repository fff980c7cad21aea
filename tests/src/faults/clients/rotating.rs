//! The client that changes the keys of the mesh's second issuer all the time, and those that use their tokens.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{LOOK, PATIENCE, Shared, request_on};
use crate::faults::connection::{Connection, Connections};
use crate::faults::dice::Dice;
use crate::faults::keyring::{ISSUER, Key, Keyring};
use crate::faults::ledger::Ledger;

/// Keys in force while none is changed.
const IN_FORCE: usize = 3;

/// Keys that were taken away by an operator and are still listed.
const HELD_BACK: usize = 4;

/// Up to this time lies between two changes.
const MOST_PAUSE: Duration = Duration::from_millis(400);

/// How a key is taken away.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// The issuer lists it no more, and a control plane is told to fetch.
    Dropped,
    /// An operator distrusts it. The issuer goes on listing it.
    Distrusted,
    /// An operator removes it. The issuer goes on listing it.
    Removed,
}

const WAYS: [Way; 3] = [Way::Dropped, Way::Distrusted, Way::Removed];

/// The one client that changes keys.
struct Rotator<'a> {
    shared: &'a Shared,
    ring: &'a Keyring,
    ledger: Ledger,
    dice: Dice,
    /// To the control planes' internal listeners.
    desks: Vec<Connection>,
    /// To the Envoys.
    looks: Vec<Connections>,
    in_force: VecDeque<Key>,
    held_back: VecDeque<Key>,
}

/// Adds a key and takes one away, again and again until the run ends. A change that fails is repeated; after each 200 that took
/// a key away, tokens of it are tried at every Envoy.
pub(super) fn rotate(shared: &Shared, ring: &Keyring) -> Result<Ledger> {
    let desks = shared.outside.internal().iter().map(|address| Connection::to(*address, PATIENCE));
    let looks = shared.outside.entrances.iter().map(|address| Connections::to(*address, LOOK));
    let mut rotator = Rotator {
        shared,
        ring,
        ledger: shared.ledger(),
        dice: Dice::new(),
        desks: desks.collect(),
        looks: looks.collect(),
        in_force: VecDeque::new(),
        held_back: VecDeque::new(),
    };
    while rotator.add()? && (rotator.in_force.len() <= IN_FORCE || rotator.take_away()?) {
        let pause = rotator.dice.time_below(MOST_PAUSE);
        thread::sleep(pause);
    }
    Ok(rotator.ledger)
}

/// Uses tokens of the issuer at one Envoy: of keys in force and of keys that were taken away in equal parts.
pub(super) fn use_keys(shared: &Shared, ring: &Keyring, entrance: SocketAddr) -> Ledger {
    request_on(shared, entrance, Ledger::enter_of_key, |dice| {
        let now = shared.clock.now();
        let dead = if dice.flip() { ring.population.dead(dice, now, shared.bound) } else { None };
        dead.or_else(|| ring.population.live(dice))
    })
}

impl Rotator<'_> {
    /// Adds a key, whose tokens are in use when it is in force. False if the run has ended before.
    fn add(&mut self) -> Result<bool> {
        let key = Key::new()?;
        let tokens = key.tokens.clone();
        self.in_force.push_back(key);
        self.list();
        let done = self.change("refresh", &json!({ "issuer": ISSUER }))?;
        if done {
            self.ring.population.admit(tokens);
        }
        Ok(done)
    }

    /// Takes a key away, whose tokens stay in use until then. False if the run has ended before.
    fn take_away(&mut self) -> Result<bool> {
        let place = self.dice.below(self.in_force.len());
        let key = self.in_force.remove(place).context("no key is in force")?;
        let way = *WAYS.get(self.dice.below(WAYS.len())).context("no way")?;
        key.begins_to_go(self.shared.clock.now());
        let done = match way {
            Way::Dropped => {
                self.list();
                self.change("refresh", &json!({ "issuer": ISSUER }))?
            }
            Way::Distrusted => self.change("distrust", &key.named())?,
            Way::Removed => self.change("remove", &key.named())?,
        };
        if done {
            key.is_gone(self.shared.clock.now());
            self.ring.population.retire(&key.tokens);
            self.look(&key);
            if !matches!(way, Way::Dropped) {
                self.held_back.push_back(key);
            }
            if self.held_back.len() > HELD_BACK {
                self.held_back.pop_front();
            }
        }
        Ok(done)
    }

    fn list(&self) {
        self.ring.list(self.in_force.iter().chain(&self.held_back));
    }

    /// Calls control planes, each time one of them, until one answers 200. False if the run has ended before.
    fn change(&mut self, what: &str, body: &Value) -> Result<bool> {
        let call = self.shared.outside.operators_call(what, body);
        while self.shared.goes_on() {
            let place = self.dice.below(self.desks.len());
            let desk = self.desks.get_mut(place).context("there is no control plane")?;
            let began = self.shared.clock.now();
            let reply = desk.open().map_or(crate::faults::ledger::Reply::none(), |()| desk.exchange(&call));
            self.ledger.enter_key_change(&reply, self.shared.clock.now().saturating_sub(began));
            if reply.is_ok() {
                return Ok(true);
            }
            ensure!(reply.status().is_none_or(|status| status >= 500), "`{what}` of keys got {reply}");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(false)
    }

    /// Tries the tokens of a key that was taken away just now.
    fn look(&mut self, key: &Key) {
        for connections in &mut self.looks {
            for token in &key.tokens {
                let Some(connection) = connections.any(&mut self.dice) else { continue };
                let exchange = self.shared.request(connection, token);
                self.ledger.enter_of_key(&exchange);
            }
        }
    }
}
