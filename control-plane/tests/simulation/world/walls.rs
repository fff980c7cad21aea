//! The wall clocks of control planes, which may be wrong at a start, and the mark of certain time in the database. The clock
//! is the one that ships.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use curfew_control_plane::clock::{Clock, ClockMark};

use crate::clocks::{Moment, unix};
use crate::database::Database;
use crate::dice::Dice;
use crate::mutant::Mutant;
use crate::scene::Scene;

const DAY: i64 = 24 * 3600;

/// The true wall clock, for the clocks that are made from it.
#[derive(Default)]
pub(super) struct Walls(Arc<AtomicI64>);

impl Walls {
    pub(super) fn show(&self, at: Moment) {
        self.0.store(unix(at), Ordering::Relaxed);
    }

    /// The clock of a control plane that starts, and has read the mark. The first of all has a true clock.
    pub(super) fn of_a_start(&self, scene: &Scene, dice: &mut Dice, database: &mut Database) -> Clock {
        let is_wrong = scene.faults.wrong_walls && database.mark.is_some() && dice.per_mille(500);
        let ahead = if is_wrong { dice.pick(40 * DAY, &[-1800, -40 * DAY, DAY]) } else { 0 };
        let (wall, steady) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let clock = Clock::new(move || wall.load(Ordering::Relaxed) + ahead)
            .checked_by(move || steady.load(Ordering::Relaxed) + ahead);
        let at = *database.mark.get_or_insert_with(|| clock.now());
        if !scene.is(Mutant::WallClockBelieved) {
            clock.reckon_from(ClockMark { at, accepted: 0 });
        }
        clock
    }
}
