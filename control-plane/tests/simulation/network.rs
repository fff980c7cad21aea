//! How long messages and statements take, and whether they arrive.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clocks::Moment;
use crate::dice::Dice;
use crate::scene::Network;

/// A connection between two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Route {
    Workers { proxy: usize, plane: usize },
    Others { plane: usize },
    Database { plane: usize },
}

/// Which routes are cut and until when, and when the time ends in which messages may be lost.
pub(crate) struct Weather {
    network: Network,
    cut: BTreeMap<Route, Moment>,
    healed: Moment,
}

/// The fate of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Fine,
    /// It does not reach the database.
    NotDone,
    /// It is carried out, and its result is lost.
    AnswerLost,
}

impl Weather {
    pub(crate) fn new(network: Network, healed: Moment) -> Self {
        Self { network, cut: BTreeMap::new(), healed }
    }

    pub(crate) fn cut(&mut self, route: Route, until: Moment) {
        self.cut.insert(route, until);
    }

    fn is_cut(&self, route: Route, now: Moment) -> bool {
        self.cut.get(&route).is_some_and(|until| now < *until)
    }

    /// How long each copy of a message is under way.
    pub(crate) fn deliveries(&self, route: Route, now: Moment, dice: &mut Dice) -> Vec<Duration> {
        let (network, stormy) = (self.network, now < self.healed);
        if self.is_cut(route, now) || (stormy && dice.per_mille(network.lost)) {
            return Vec::new();
        }
        let copies = if stormy && dice.per_mille(network.doubled) { 2 } else { 1 };
        (0..copies).map(|_| self.delay(network.latency, network.delayed, stormy, dice)).collect()
    }

    /// How long a statement is under way to the database, or its result back.
    pub(crate) fn statement(&self, now: Moment, dice: &mut Dice) -> Duration {
        self.delay(self.network.statement, self.network.slow, now < self.healed, dice)
    }

    pub(crate) fn fate(&self, plane: usize, now: Moment, dice: &mut Dice) -> Fate {
        let stormy = now < self.healed;
        match () {
            () if self.is_cut(Route::Database { plane }, now) => Fate::NotDone,
            () if !stormy || !dice.per_mille(self.network.failed) => Fate::Fine,
            () => dice.pick(Fate::NotDone, &[Fate::AnswerLost]),
        }
    }

    fn delay(&self, usual: Duration, delayed: u64, stormy: bool, dice: &mut Dice) -> Duration {
        if stormy && dice.per_mille(delayed) {
            dice.between(usual, self.network.longest)
        } else {
            dice.between(usual / 2, usual * 2)
        }
    }
}
