//! The calls for keys that are due or under way, and the streams that wait for each.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use curfew_core::wire::KeysRequest;

use super::PAUSE;
use crate::ids::{CallId, StreamId};

/// A call counts as lost after this many of its timeouts; see the questions.
const LOST_AFTER_TIMEOUTS: u32 = 4;

/// How much longer a call may take in which the control plane asks an issuer first.
const REFRESH_PATIENCE: Duration = Duration::from_secs(5);

/// How many streams may wait for a plain call: as many as there may be questions.
const MAX_WAITING: usize = 8192;

/// How many streams may wait for a call with `refresh`. Clients make them wait by naming keys that do not exist. So each
/// issuer has places of its own: those who flood one take none of another's.
const MAX_WAITING_FOR_REFRESH: usize = 4096;

/// How many of them may be of one issuer, however few issuers there are.
const MAX_WAITING_FOR_ISSUER: usize = 1024;

/// How often one request may wait for keys.
pub const MAX_ROUNDS: u8 = 3;

/// The two kinds of calls. One of each may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads what the control plane has.
    Plain,
    /// Has the control plane ask an issuer first.
    Refresh,
}

/// A call to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCall {
    /// Which of the two it is.
    pub kind: Kind,
    /// What to send.
    pub request: KeysRequest,
    /// When to give up, counted from the sending.
    pub timeout: Duration,
}

/// What a request has waited for already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waited {
    /// How often.
    rounds: u8,
    /// The last call that it waited for has failed.
    failed: bool,
}

impl Waited {
    /// True if the request is not to wait again.
    pub(super) const fn is_enough(self) -> bool {
        self.failed || self.rounds >= MAX_ROUNDS
    }

    /// True if the request waits for the first time, or has not waited at all.
    pub const fn is_new(self) -> bool {
        self.rounds == 0
    }
}

#[derive(Debug)]
pub(super) struct Calls {
    plain: Flight,
    refresh: Flight,
    /// The streams whose call has ended, in the order in which they are to be decided about.
    returning: VecDeque<(StreamId, Waited)>,
    /// How many streams wait for a call with `refresh`, by the issuer whose keys they need.
    waiting_for_issuer: BTreeMap<usize, usize>,
    /// How many of one issuer may.
    most_for_issuer: usize,
    timeout: Duration,
}

/// The place of the calls of one kind, with the streams that wait for the one that is due or under way.
#[derive(Debug, Default)]
struct Flight {
    state: State,
    waiting: BTreeMap<StreamId, Waiting>,
    ended_at: Option<Duration>,
    failed: bool,
}

/// A stream that waits, and the issuer whose keys it needs if it is to be asked.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    waited: Waited,
    issuer: Option<usize>,
}

/// `refresh` is the place of the issuer that is to be asked.
#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Idle,
    Due {
        refresh: Option<usize>,
    },
    UnderWay {
        refresh: Option<usize>,
        sent_at: Duration,
        call: Option<CallId>,
    },
}

impl Calls {
    /// `issuers`: how many there are whose keys the control plane hands out.
    pub(super) fn new(issuers: usize, timeout: Duration) -> Self {
        let share = MAX_WAITING_FOR_REFRESH / issuers.max(1);
        Self {
            plain: Flight::default(),
            refresh: Flight::default(),
            returning: VecDeque::new(),
            waiting_for_issuer: BTreeMap::new(),
            most_for_issuer: share.clamp(1, MAX_WAITING_FOR_ISSUER),
            timeout,
        }
    }

    fn flight(&self, kind: Kind) -> &Flight {
        match kind {
            Kind::Plain => &self.plain,
            Kind::Refresh => &self.refresh,
        }
    }

    fn flight_mut(&mut self, kind: Kind) -> &mut Flight {
        match kind {
            Kind::Plain => &mut self.plain,
            Kind::Refresh => &mut self.refresh,
        }
    }

    fn timeout(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Plain => self.timeout,
            Kind::Refresh => self.timeout.saturating_add(REFRESH_PATIENCE),
        }
    }

    /// True if a call of this kind is due or under way.
    pub(super) fn is_busy(&self, kind: Kind) -> bool {
        !matches!(self.flight(kind).state, State::Idle)
    }

    /// True if the last call of this kind has failed a moment ago.
    pub(super) fn is_paused(&self, kind: Kind, now: Duration) -> bool {
        self.flight(kind).failed && self.ended_within(kind, PAUSE, now)
    }

    /// True if the last call of this kind has ended so lately.
    pub(super) fn ended_within(&self, kind: Kind, time: Duration, now: Duration) -> bool {
        self.flight(kind).ended_at.is_some_and(|ended_at| now.saturating_sub(ended_at) < time)
    }

    /// The issuer that a call with `refresh`, due or under way, is about.
    pub(super) fn refreshes(&self) -> Option<usize> {
        match self.refresh.state {
            State::Idle => None,
            State::Due { refresh } | State::UnderWay { refresh, .. } => refresh,
        }
    }

    /// Makes a call due, unless one of its kind is due or under way.
    pub(super) fn want(&mut self, kind: Kind, refresh: Option<usize>) {
        if !self.is_busy(kind) {
            self.flight_mut(kind).state = State::Due { refresh };
        }
    }

    /// Makes a stream wait for a plain call, or for a call with `refresh` for the sake of this issuer. False if too many wait.
    pub(super) fn join(&mut self, issuer: Option<usize>, stream: StreamId, waited: Waited) -> bool {
        let (flight, most) = match issuer {
            None => (&mut self.plain, MAX_WAITING),
            Some(_) => (&mut self.refresh, MAX_WAITING_FOR_REFRESH),
        };
        let of_issuer = issuer.map(|issuer| self.waiting_for_issuer.entry(issuer).or_default());
        let share_is_used = of_issuer.as_deref().is_some_and(|count| *count >= self.most_for_issuer);
        if share_is_used || flight.waiting.len() >= most {
            return false;
        }
        let before = flight.waiting.insert(stream, Waiting { waited, issuer });
        if let (None, Some(count)) = (before, of_issuer) {
            *count = count.saturating_add(1);
        }
        true
    }

    /// Takes a call that is due: its kind, the issuer to be asked, and its timeout.
    pub(super) fn due(&mut self, now: Duration) -> Option<(Kind, Option<usize>, Duration)> {
        for kind in [Kind::Plain, Kind::Refresh] {
            if let State::Due { refresh } = self.flight(kind).state {
                self.flight_mut(kind).state = State::UnderWay { refresh, sent_at: now, call: None };
                return Some((kind, refresh, self.timeout(kind)));
            }
        }
        None
    }

    pub(super) fn is_due(&self) -> bool {
        [&self.plain, &self.refresh].iter().any(|flight| matches!(flight.state, State::Due { .. }))
    }

    pub(super) fn sent(&mut self, kind: Kind, taken: CallId) {
        if let State::UnderWay { call, .. } = &mut self.flight_mut(kind).state {
            *call = Some(taken);
        }
    }

    /// The kind of the call under way that has this number.
    pub(super) fn kind_of(&self, ended: CallId) -> Option<Kind> {
        let is = |kind: &Kind| matches!(self.flight(*kind).state, State::UnderWay { call, .. } if call == Some(ended));
        [Kind::Plain, Kind::Refresh].into_iter().find(is)
    }

    /// When the call under way was sent.
    pub(super) fn sent_at(&self, kind: Kind) -> Option<Duration> {
        match self.flight(kind).state {
            State::UnderWay { sent_at, .. } => Some(sent_at),
            State::Idle | State::Due { .. } => None,
        }
    }

    /// The kinds of the calls whose end should have been reported long ago.
    pub(super) fn lost(&self, now: Duration) -> Vec<Kind> {
        let lost = |kind: &Kind| match self.flight(*kind).state {
            State::UnderWay { sent_at, .. } => {
                now.saturating_sub(sent_at) > self.timeout(*kind).saturating_mul(LOST_AFTER_TIMEOUTS)
            }
            State::Idle | State::Due { .. } => false,
        };
        [Kind::Plain, Kind::Refresh].into_iter().filter(lost).collect()
    }

    /// The call has ended: those who wait for it are to be decided about.
    pub(super) fn ended(&mut self, kind: Kind, came: bool, now: Duration) {
        let flight = self.flight_mut(kind);
        flight.state = State::Idle;
        flight.ended_at = Some(now);
        flight.failed = !came;
        let waiting = std::mem::take(&mut flight.waiting);
        if kind == Kind::Refresh {
            self.waiting_for_issuer.clear();
        }
        let again = |(stream, Waiting { waited, .. }): (StreamId, Waiting)| {
            (stream, Waited { rounds: waited.rounds.saturating_add(1), failed: !came })
        };
        self.returning.extend(waiting.into_iter().map(again));
    }

    pub(super) fn take_returning(&mut self, most: usize) -> Vec<(StreamId, Waited)> {
        let count = self.returning.len().min(most);
        self.returning.drain(..count).collect()
    }

    pub(super) fn take_only(&mut self, stream: StreamId) -> Option<Waited> {
        let place = self.returning.iter().position(|(returning, _)| *returning == stream)?;
        self.returning.remove(place).map(|(_, waited)| waited)
    }

    pub(super) fn any_return(&self) -> bool {
        !self.returning.is_empty()
    }

    pub(super) fn waiting(&self) -> usize {
        let waiting = self.plain.waiting.len().saturating_add(self.refresh.waiting.len());
        waiting.saturating_add(self.returning.len())
    }

    pub(super) fn forget(&mut self, stream: StreamId) {
        self.plain.waiting.remove(&stream);
        let issuer = self.refresh.waiting.remove(&stream).and_then(|waiting| waiting.issuer);
        if let Some(count) = issuer.and_then(|issuer| self.waiting_for_issuer.get_mut(&issuer)) {
            *count = count.saturating_sub(1);
        }
        self.take_only(stream);
    }
}
