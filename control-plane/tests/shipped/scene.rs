//! What a seed decides about a world before it begins.

use std::time::Duration;

use curfew_control_plane::leases::protocol::LeaseTimes;

use crate::clocks::Clocks;
use crate::dice::Dice;
use crate::mutant::Mutant;

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) mutant: Option<Mutant>,
    pub(crate) times: LeaseTimes,
    pub(crate) planes: Vec<Clocks>,
    pub(crate) workers: Vec<Clocks>,
    /// The average time of a message and of a half of a statement.
    pub(crate) latency: Duration,
    pub(crate) statement: Duration,
    /// How many messages of a thousand are lost or late, and how many statements, while there are faults.
    pub(crate) lost: u64,
    pub(crate) slow: u64,
    pub(crate) failed: u64,
    pub(crate) longest: Duration,
    /// True if there are lines between the control planes.
    pub(crate) lines: bool,
    /// True if each worker keeps to one control plane unless it fails.
    pub(crate) sticky: bool,
    /// How many polls of a thousand the proxy sends to two control planes.
    pub(crate) repeated: u64,
    pub(crate) logout_every: Duration,
    /// The same when nothing is wrong.
    pub(crate) calm_every: Duration,
    pub(crate) faults_every: Duration,
    pub(crate) deaths: bool,
    pub(crate) closes: bool,
    pub(crate) outages: bool,
    pub(crate) epochs: bool,
    pub(crate) forks: bool,
    pub(crate) most_held: usize,
    /// No requests come between these two times: workers leave, and rows are removed.
    pub(crate) quiet: Option<(Duration, Duration)>,
    pub(crate) healed: Duration,
    pub(crate) calm: Duration,
    pub(crate) end: Duration,
}

impl Scene {
    pub(crate) fn draw(dice: &mut Dice, mutant: Option<Mutant>) -> Self {
        let lease = ms(dice.pick(900, &[600, 1500]));
        let times = LeaseTimes { lease, hold: lease / 3, drift_ppm: dice.pick(1000, &[50_000, 150_000]) };
        let (planes, workers) = draw_machines(dice, times);
        let quiet = dice.per_mille(80).then(|| (ms(1500), dice.between(ms(40_500), ms(43_500))));
        let healed = quiet.map_or(ms(3500), |(_, until)| until + ms(2500));
        let sticky = dice.per_mille(500);
        let calm = healed + times.silence() * 3 / 2 + times.lease_over() + ms(3500);
        let scene = Self {
            mutant,
            times,
            planes,
            workers,
            latency: ms(dice.pick(1, &[1, 4])),
            statement: ms(dice.pick(1, &[1, 3, 8])),
            lost: dice.pick(0, &[30, 150]),
            slow: dice.pick(0, &[30, 200]),
            failed: dice.pick(0, &[10, 50]),
            longest: ms(dice.pick(100, &[400, 1500])),
            lines: dice.per_mille(500),
            sticky,
            repeated: dice.pick(0, &[50, 300]),
            logout_every: ms(dice.pick(60, &[25, 250])),
            calm_every: ms(150),
            faults_every: ms(dice.pick(150, &[300, 800])),
            deaths: dice.per_mille(350),
            closes: dice.per_mille(350),
            outages: dice.per_mille(250),
            epochs: dice.per_mille(400),
            forks: dice.per_mille(300),
            // Two at a time are enough only for workers that keep to their control planes.
            most_held: if sticky { dice.pick(100, &[2]) } else { 100 },
            quiet,
            healed,
            calm,
            end: calm + times.lease_over() + ms(1000),
        };
        scene.suits(mutant)
    }

    /// The same, where a mistake is more likely to show.
    fn suits(mut self, mutant: Option<Mutant>) -> Self {
        self.epochs |= mutant.is_some_and(Mutant::loses);
        self.forks |= mutant == Some(Mutant::OldPrimaryBelieved);
        self.deaths |= matches!(mutant, Some(Mutant::RowShownEarly | Mutant::StaleReadings));
        if mutant == Some(Mutant::OwnCommitHidesOthers) {
            (self.lines, self.sticky, self.statement, self.calm_every) = (false, true, ms(1), ms(40));
        }
        self
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Worlds that look for a mistake end when it would have shown.
    pub(crate) fn ends_for(&self, mutant: Mutant) -> Duration {
        if mutant.is_slow() { self.end } else { self.healed }
    }

    pub(crate) fn is_quiet(&self, now: Duration) -> bool {
        self.quiet.is_some_and(|(from, until)| from <= now && now < until)
    }
}

fn draw_machines(dice: &mut Dice, times: LeaseTimes) -> (Vec<Clocks>, Vec<Clocks>) {
    let (slow, fast) = (1_000_000 - times.drift_ppm, 1_000_000 + times.drift_ppm);
    let (of_workers, of_planes) = dice.pick((slow, fast), &[(fast, slow), (1_000_000, 1_000_000)]);
    let started = |dice: &mut Dice| dice.between(ms(20_000), ms(3_600_000));
    let planes = (0..2 + dice.below(2)).map(|_| Clocks { started: started(dice), rate: of_planes }).collect();
    let workers = (0..1 + dice.below(4)).map(|_| Clocks { started: started(dice), rate: of_workers }).collect();
    (planes, workers)
}
