//! The clocks. The wall clock is passed to the parts that need it, so that tests can move time.
//!
//! A wall clock may be wrong when a process starts, and nothing on the machine tells. So the database keeps a mark: the
//! newest time that was certain. From it, a process counts on by a clock that cannot be set. What it counts is the
//! *reckoned* time. It may be behind true time, by the time for which nothing ran, and it is never ahead of it, unless the
//! very first start had a clock that was ahead.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// By how many seconds the wall clock may be ahead of the reckoned time before it is doubted: the longest usual time for
/// which nothing runs.
const MOST_AHEAD: u64 = 24 * 3600;

/// By how many seconds the wall clock may be behind the reckoned time before it is doubted. A time daemon corrects as much
/// soon after a machine has started.
const MOST_BEHIND: u64 = 300;

/// A moment by the clocks of this process, in seconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// What the wall clock shows.
    pub now: i64,
    /// What the wall clock would show if it had not been set since the start; `None` for a clock of a test, which is
    /// believed.
    pub steady: Option<i64>,
    /// The reckoned time; `None` before the mark was read.
    pub reckoned: Option<i64>,
    /// [`ClockMark::accepted`] of the mark that it is reckoned from.
    pub accepted: i64,
    /// What the clock of the database's server shows, as it was last read; `None` if there is none.
    pub server: Option<i64>,
}

impl Moment {
    /// A moment by a wall clock that is believed.
    pub const fn believed(now: i64) -> Self {
        Self { now, steady: None, reckoned: None, accepted: 0, server: None }
    }

    /// The time by the clock that is furthest behind. What has expired by it has expired.
    pub fn earliest(self) -> i64 {
        [self.steady, self.reckoned].into_iter().flatten().fold(self.now, i64::min)
    }

    /// The time by the clock that is furthest ahead: the cutoff of a logout of all devices, which would miss tokens by an
    /// earlier one.
    pub fn latest(self) -> i64 {
        // A server's clock that is far ahead counts only while the own clock is doubted: it would refuse logins.
        let is_near = |server: &i64| server.abs_diff(self.now) <= MOST_BEHIND;
        let server = self.server.filter(|server| self.doubt().is_some() || is_near(server));
        [server, self.reckoned].into_iter().flatten().fold(self.now, i64::max)
    }

    /// True if a logout of all devices would perhaps miss tokens whatever its cutoff is. The wall clock is behind, and the
    /// reckoned time is behind true time by as long as nothing ran. Only the clock of a server can tell then.
    pub fn is_lost(self) -> bool {
        self.doubt() == Some(Doubt::Behind) && self.server < self.reckoned
    }

    /// By how many seconds the wall clock is ahead of the reckoned time; negative if it is behind.
    pub fn ahead(self) -> i64 {
        self.reckoned.map_or(0, |reckoned| self.now.saturating_sub(reckoned))
    }

    /// How the wall clock is doubted, if it is.
    pub fn doubt(self) -> Option<Doubt> {
        let ahead = self.ahead();
        match ahead.unsigned_abs() {
            seconds if ahead > 0 && seconds > MOST_AHEAD => Some(Doubt::Ahead),
            seconds if ahead < 0 && seconds > MOST_BEHIND => Some(Doubt::Behind),
            _ => None,
        }
    }
}

/// Why the wall clock is doubted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It is far ahead of the reckoned time: it is wrong, or nothing ran for a long time.
    Ahead,
    /// It is behind the reckoned time: it is wrong, or was ahead at the very first start.
    Behind,
}

/// The mark that the database keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockMark {
    /// The newest time that was certain, in seconds of Unix time.
    pub at: i64,
    /// How often an operator has set it.
    pub accepted: i64,
}

/// Tells the time in whole seconds of Unix time. Clones share the reckoned time.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> i64 + Send + Sync>,
    steady: Option<Arc<dyn Fn() -> i64 + Send + Sync>>,
    leads: Arc<Mutex<Leads>>,
}

/// By how many seconds other times are ahead of the steady clock.
#[derive(Debug, Clone, Copy, Default)]
struct Leads {
    /// The reckoned time, and the number of acceptances of its mark.
    reckoned: Option<(i64, i64)>,
    /// The clock of the database's server.
    server: Option<i64>,
}

impl Clock {
    /// The machine's wall clock.
    pub fn system() -> Self {
        let (start, started) = (wall(), since_boot());
        let steady = move || start.saturating_add_unsigned(since_boot().saturating_sub(started).as_secs());
        Self::new(wall).checked_by(steady)
    }

    /// A clock that shows what `read` returns.
    pub fn new(read: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self { wall: Arc::new(read), steady: None, leads: Arc::default() }
    }

    /// The same clock, together with one that cannot be set.
    #[must_use]
    pub fn checked_by(self, steady: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self { steady: Some(Arc::new(steady)), ..self }
    }

    /// Takes note of the mark, which may have been set by other control planes. The reckoned time goes back only if an
    /// operator has set the mark.
    pub fn reckon_from(&self, mark: ClockMark) {
        let Some(steady) = self.steady.as_ref().map(|read| read()) else { return };
        let lead = mark.at.saturating_sub(steady);
        let mut leads = self.leads.lock().unwrap_or_else(PoisonError::into_inner);
        leads.reckoned = Some(match leads.reckoned {
            Some((earlier, accepted)) if accepted >= mark.accepted => (lead.max(earlier), accepted),
            _ => (lead, mark.accepted),
        });
    }

    /// Takes note of both, as far as they were read.
    pub fn learn(&self, (mark, server): (Option<ClockMark>, Option<i64>)) {
        if let Some(mark) = mark {
            self.reckon_from(mark);
        }
        if let Some(server) = server {
            self.compare_with(server);
        }
    }

    /// Takes note of what the clock of the database's server shows.
    pub fn compare_with(&self, server: i64) {
        if let Some(steady) = self.steady.as_ref().map(|read| read()) {
            let mut leads = self.leads.lock().unwrap_or_else(PoisonError::into_inner);
            leads.server = Some(server.saturating_sub(steady));
        }
    }

    /// Seconds of Unix time.
    pub fn now(&self) -> i64 {
        (self.wall)()
    }

    /// The moment by all clocks.
    pub fn moment(&self) -> Moment {
        let steady = self.steady.as_ref().map(|read| read());
        let Leads { reckoned, server } = *self.leads.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = |lead: Option<i64>| steady.zip(lead).map(|(steady, lead)| steady.saturating_add(lead));
        let accepted = reckoned.map_or(0, |(_, accepted)| accepted);
        let reckoned = ahead(reckoned.map(|(lead, _)| lead));
        Moment { now: self.now(), steady, reckoned, accepted, server: ahead(server) }
    }
}

/// The clock by which leases are counted: it never goes back, and no two of its readings are compared with another
/// machine's. Tests bend it, and let it run without waiting.
#[derive(Clone)]
pub struct LocalClock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl LocalClock {
    /// The machine's own: [`since_boot`].
    pub fn system() -> Self {
        Self::new(since_boot)
    }

    /// A clock that shows what `read` returns.
    pub fn new(read: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The time.
    pub fn now(&self) -> Duration {
        (self.0)()
    }

    /// Sleeps until this clock shows the time, more or less: a timer runs at a speed of its own.
    pub async fn sleep_until(&self, at: Duration) {
        tokio::time::sleep(at.saturating_sub(self.now())).await;
    }
}

/// The time since the machine was started, including the time that it slept (`CLOCK_BOOTTIME`). This is the local clock of
/// the leases.
pub fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // The conversion fails for a negative time alone, and this clock shows none.
    Duration::try_from(time).unwrap_or_default()
}

/// Sleeps until [`since_boot`] shows this time.
pub async fn sleep_until(at: Duration) {
    tokio::time::sleep(at.saturating_sub(since_boot())).await;
}

fn wall() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    const DAY: i64 = 24 * 3600;

    /// A clock that was wrong by `ahead` seconds at its start, and the way to let time pass.
    fn started(ahead: i64) -> (Clock, Arc<AtomicI64>) {
        let passed = Arc::new(AtomicI64::new(0));
        let (wall, steady) = (Arc::clone(&passed), Arc::clone(&passed));
        let show = move |passed: &AtomicI64| 100 * DAY + ahead + passed.load(Ordering::Relaxed);
        (Clock::new(move || show(&wall)).checked_by(move || show(&steady)), passed)
    }

    const fn mark(at: i64, accepted: i64) -> ClockMark {
        ClockMark { at, accepted }
    }

    #[test]
    fn a_clock_that_is_ahead_at_the_start_dates_nothing_as_expired() {
        let (clock, passed) = started(40 * DAY);
        assert_eq!(clock.moment().doubt(), None, "before the mark is known");
        clock.reckon_from(mark(100 * DAY, 0));
        assert_eq!((clock.moment().earliest(), clock.moment().latest()), (100 * DAY, 140 * DAY));
        assert_eq!(clock.moment().doubt(), Some(Doubt::Ahead));
        passed.store(7, Ordering::Relaxed);
        assert_eq!((clock.moment().earliest(), clock.moment().ahead()), (100 * DAY + 7, 40 * DAY));
    }

    #[test]
    fn a_clock_that_is_behind_at_the_start_makes_no_cutoff_earlier() {
        let (clock, passed) = started(-1800);
        clock.reckon_from(mark(100 * DAY, 0));
        passed.store(7, Ordering::Relaxed);
        let moment = clock.moment();
        assert_eq!((moment.earliest(), moment.latest()), (100 * DAY - 1793, 100 * DAY + 7));
        assert_eq!(moment.doubt(), Some(Doubt::Behind));
    }

    #[test]
    fn only_a_server_knows_the_time_while_the_wall_clock_is_behind() {
        let (clock, _) = started(-1800);
        assert!(!clock.moment().is_lost(), "before the mark is known");
        clock.reckon_from(mark(100 * DAY, 0));
        assert!(clock.moment().is_lost());
        clock.compare_with(100 * DAY - 1);
        assert!(clock.moment().is_lost(), "the server's clock is behind as well");
        clock.compare_with(100 * DAY + 900);
        assert!(!clock.moment().is_lost());
        assert_eq!((clock.moment().latest(), clock.moment().earliest()), (100 * DAY + 900, 100 * DAY - 1800));
        let (ahead, _) = started(40 * DAY);
        ahead.reckon_from(mark(100 * DAY, 0));
        assert!(!ahead.moment().is_lost(), "no token is missed");
    }

    #[test]
    fn small_differences_raise_no_doubt() {
        for (ahead, doubt) in
            [(DAY, None), (DAY + 1, Some(Doubt::Ahead)), (-300, None), (-301, Some(Doubt::Behind)), (0, None)]
        {
            let (clock, _) = started(ahead);
            clock.reckon_from(mark(100 * DAY, 0));
            assert_eq!(clock.moment().doubt(), doubt, "{ahead}");
        }
    }

    #[test]
    fn the_reckoned_time_goes_back_only_if_an_operator_says_so() {
        let (clock, _) = started(0);
        clock.reckon_from(mark(100 * DAY, 3));
        clock.reckon_from(mark(99 * DAY, 3));
        clock.reckon_from(mark(98 * DAY, 2));
        assert_eq!(clock.moment().reckoned, Some(100 * DAY));
        clock.reckon_from(mark(90 * DAY, 4));
        assert_eq!(clock.moment().reckoned, Some(90 * DAY));
        clock.reckon_from(mark(91 * DAY, 4));
        assert_eq!(clock.clone().moment().reckoned, Some(91 * DAY), "another control plane was up for longer");
    }

    #[test]
    fn a_clock_of_a_test_is_believed() {
        let clock = Clock::new(|| 5);
        clock.reckon_from(mark(100, 0));
        assert_eq!(clock.moment(), Moment::believed(5));
        assert_eq!((clock.moment().earliest(), clock.moment().latest(), clock.moment().ahead()), (5, 5, 0));
    }
}
