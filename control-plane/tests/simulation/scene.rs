//! The size of a world, its clocks and its faults, all drawn from the seed. Each seed has some kinds of faults and not
//! others, because one kind can hide the effect of another.

use std::time::Duration;

use curfew_control_plane::leases::protocol::LeaseTimes;

use crate::clocks::Clocks;
use crate::dice::Dice;
use crate::keys::HandedOut;
use crate::mutant::Mutant;

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

/// By how many seconds a proxy's wall clock may be wrong, in either direction. Tokens are admitted for the same time
/// after their expiry.
pub(crate) const SKEW_SECONDS: i64 = 1;

/// How far chrony bends the clocks by default, and what control planes once allowed for, in parts per million.
const SLEWED_PPM: u32 = 83_333;
const QUARTZ_PPM: u32 = 1000;

#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) mutant: Option<Mutant>,
    pub(crate) terms: LeaseTimes,
    pub(crate) planes: Vec<Clocks>,
    /// The clocks and the number of workers of each proxy.
    pub(crate) proxies: Vec<(Clocks, usize)>,
    pub(crate) network: Network,
    pub(crate) gossip: Gossip,
    pub(crate) faults: Faults,
    pub(crate) keys: Option<HandedOut>,
    /// Revocations in a page.
    pub(crate) page: usize,
    /// The limit of a worker's copy, in bytes.
    pub(crate) budget: u64,
    /// The filter's timeout for a call that the control plane does not hold.
    pub(crate) timeout: Duration,
    /// For how long a reading serves polls without news.
    pub(crate) shared_for: Duration,
    /// The average time between two logouts, two logins, and two requests at a worker.
    pub(crate) logout_every: Duration,
    pub(crate) request_every: Duration,
    /// The life of a token, in seconds.
    pub(crate) token_seconds: i64,
    /// The number of logouts of all devices in a thousand logouts, and of logouts of a session or of all others among the
    /// rest.
    pub(crate) all_devices: u64,
    pub(crate) of_sessions: u64,
    /// When the last fault has ended, when its effects are over, and when the world ends.
    pub(crate) healed: Duration,
    pub(crate) calm: Duration,
    pub(crate) end: Duration,
}

/// The unreliability of messages and statements while faults may happen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    pub(crate) latency: Duration,
    pub(crate) statement: Duration,
    /// The number of affected messages in a thousand.
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) delayed: u64,
    /// The number of affected statements in a thousand.
    pub(crate) failed: u64,
    pub(crate) slow: u64,
    pub(crate) longest: Duration,
}

/// How messages between control planes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gossip {
    None,
    /// Messages over the network, which is unreliable.
    Some,
}

/// The kinds of faults that a world has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) every: Duration,
    pub(crate) longest: Duration,
    pub(crate) plane_restarts: bool,
    pub(crate) plane_freezes: bool,
    pub(crate) proxy_restarts: bool,
    pub(crate) proxy_freezes: bool,
    pub(crate) cuts: bool,
    pub(crate) outages: bool,
    pub(crate) failovers: bool,
    /// Crashes of the database that lose its last commits.
    pub(crate) crashes: bool,
    pub(crate) wall_steps: bool,
    /// Control planes whose wall clocks are wrong when they start again.
    pub(crate) wrong_walls: bool,
    /// Machines of control planes, and of proxies, whose clocks stand still while they are paused.
    pub(crate) plane_pauses: bool,
    pub(crate) proxy_pauses: bool,
    pub(crate) listener_updates: bool,
    /// Hosts that sometimes fail to report that a call has ended.
    pub(crate) forgotten_calls: bool,
    /// Control planes that can read, and mostly cannot write their rows.
    pub(crate) rows_fail: bool,
    /// Workers that get no requests for a while.
    pub(crate) idleness: bool,
}

impl Scene {
    pub(crate) fn draw(dice: &mut Dice, mutant: Option<Mutant>, keys: Option<HandedOut>) -> Self {
        let lease = ms(dice.pick(1000, &[600, 800, 1500]));
        let hold = dice.pick(lease / 3, &[lease / 5]);
        let bound = LeaseTimes::default().drift_ppm;
        let terms = LeaseTimes { lease, hold, drift_ppm: dice.pick(bound, &[bound, 0, 200_000]) };
        let old = mutant == Some(Mutant::DriftOfQuartz);
        let (planes, proxies) = draw_machines(dice, if old { SLEWED_PPM } else { terms.drift_ppm });
        let terms = if old { LeaseTimes { drift_ppm: QUARTZ_PPM, ..terms } } else { terms };
        let faults = Faults::draw(dice);
        // A worker leaves after ten seconds without requests.
        let healed = if faults.idleness || faults.listener_updates { ms(13_000) } else { ms(5000) };
        // This time is enough to see that the rows of dead control planes do not change. Feeds pause for up to two
        // seconds after failures.
        let timeout = ms(dice.pick(500, &[300, 1500]));
        let lost = if faults.forgotten_calls { (timeout + terms.hold) * 5 } else { Duration::ZERO };
        let calm = healed + (terms.silence() * 3 / 2).max(lost) + terms.lease_over() + ms(3500);
        Self {
            mutant,
            terms,
            planes,
            proxies,
            network: Network::draw(dice),
            gossip: dice.pick(Gossip::Some, &[Gossip::Some, Gossip::None]),
            faults,
            keys,
            page: dice.pick(1000, &[1, 2, 5]),
            budget: if dice.per_mille(60) { 700 } else { 256 << 10 },
            timeout,
            shared_for: ms(dice.pick(25, &[0, 200, 1000])),
            logout_every: ms(dice.pick(120, &[50, 400])),
            request_every: ms(dice.pick(60, &[30, 150])),
            token_seconds: dice.pick(3600, &[3600, 3600, 3]),
            all_devices: dice.pick(100, &[0, 500]),
            of_sessions: dice.pick(300, &[0, 700]),
            healed,
            calm,
            end: calm + terms.lease_over() + ms(1500),
        }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// True for the mistakes that grant leases from readings from before the poll.
    pub(crate) fn grants_from_old_readings(&self) -> bool {
        self.is(Mutant::OldReadingTakenForNew) || self.is(Mutant::OldReadingDatedByOwnClock)
    }

    /// How long after its poll a lease ends on true clocks, by a clock that is as slow as it may be. It counts from the
    /// reading, which comes later than the poll if the poll is held.
    pub(crate) fn longest_lease(&self) -> Duration {
        (self.terms.lease + self.terms.hold + self.timeout) * 1_000_000 / (1_000_000 - self.terms.drift_ppm)
    }

    /// True if every copy has room for all revocations.
    pub(crate) fn has_room(&self) -> bool {
        self.budget > 10_000
    }
}

fn draw_machines(dice: &mut Dice, drift_ppm: u32) -> (Vec<Clocks>, Vec<(Clocks, usize)>) {
    let (slow, fast) = (1_000_000 - drift_ppm, 1_000_000 + drift_ppm);
    // The rates of workers and of control planes. Two times in three they are at the limit of drift, in opposite
    // directions.
    let rates = dice.pick(Some((slow, fast)), &[Some((fast, slow)), None]);
    let any = |dice: &mut Dice| slow + u32::try_from(dice.below(2 * drift_ppm as usize + 1)).unwrap_or(0);
    let started = |dice: &mut Dice| dice.between(ms(20_000), ms(3_600_000));
    let planes = 1 + dice.below(3);
    let planes = (0..planes).map(|_| {
        let rate = rates.map_or_else(|| any(dice), |(_, plane)| plane);
        Clocks::new(started(dice), rate, Clocks::TRUE_WALL)
    });
    let planes = planes.collect();
    let proxies = 1 + dice.below(3);
    let proxies = (0..proxies).map(|_| {
        let rate = rates.map_or_else(|| any(dice), |(worker, _)| worker);
        let wall = draw_wall(dice);
        (Clocks::new(started(dice), rate, wall), 1 + dice.below(2))
    });
    (planes, proxies.collect())
}

/// A wall clock that is wrong by at most the skew.
pub(crate) fn draw_wall(dice: &mut Dice) -> Duration {
    let skew = Duration::from_secs(SKEW_SECONDS.unsigned_abs());
    dice.between(Clocks::TRUE_WALL - skew, Clocks::TRUE_WALL + skew)
}

impl Network {
    fn draw(dice: &mut Dice) -> Self {
        Self {
            latency: us(dice.pick(500, &[100, 2000])),
            statement: us(dice.pick(1000, &[200, 4000])),
            lost: dice.pick(0, &[10, 100]),
            doubled: dice.pick(0, &[20, 200]),
            delayed: dice.pick(0, &[30, 200]),
            failed: dice.pick(0, &[10, 50]),
            slow: dice.pick(0, &[30, 200]),
            longest: ms(dice.pick(100, &[400, 2500])),
        }
    }
}

impl Faults {
    fn draw(dice: &mut Dice) -> Self {
        Self {
            every: ms(dice.pick(200, &[500, 1500])),
            longest: ms(dice.pick(400, &[1500, 3000])),
            plane_restarts: dice.per_mille(400),
            plane_freezes: dice.per_mille(400),
            proxy_restarts: dice.per_mille(400),
            proxy_freezes: dice.per_mille(400),
            cuts: dice.per_mille(500),
            outages: dice.per_mille(200),
            failovers: dice.per_mille(250),
            crashes: dice.per_mille(250),
            wall_steps: dice.per_mille(100),
            wrong_walls: dice.per_mille(200),
            plane_pauses: dice.per_mille(300),
            proxy_pauses: dice.per_mille(100),
            listener_updates: dice.per_mille(80),
            forgotten_calls: dice.per_mille(100),
            rows_fail: dice.per_mille(150),
            idleness: dice.per_mille(80),
        }
    }
}
