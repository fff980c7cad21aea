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

/// How many streams may wait for calls with `refresh`. Clients make them wait by naming keys that do not exist. So each
/// issuer has places of its own: those who flood one take none of another's.
const MAX_WAITING_FOR_REFRESH: usize = 4096;

/// How many of them may be of one issuer, however few issuers there are.
const MAX_WAITING_FOR_ISSUER: usize = 1024;

/// How many calls with `refresh` may be under way. Each holds a request of the host's cluster for some seconds if its issuer is
/// slow, and clients cause them by naming issuers.
const MAX_REFRESHES: usize = 16;

/// How often one request may wait for keys.
pub const MAX_ROUNDS: u8 = 3;

/// The kinds of calls. One of each may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads what the control plane has.
    Plain,
    /// Has the control plane ask the issuer at this place of the policy first. Each issuer has a call of its own: one that
    /// is slow, or away, holds up nobody's requests but its own.
    Refresh(usize),
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
    /// By the place of the issuer.
    refreshes: BTreeMap<usize, Flight>,
    /// What each stream waits for that waits for a call.
    waiting_for: BTreeMap<StreamId, Kind>,
    /// The streams whose call has ended, in the order in which they are to be decided about.
    returning: VecDeque<(StreamId, Waited)>,
    /// How many streams may wait for the call with `refresh` of one issuer.
    most_for_issuer: usize,
    timeout: Duration,
}

/// The place of the calls of one kind, with the streams that wait for the one that is due or under way.
#[derive(Debug, Default)]
struct Flight {
    state: State,
    waiting: BTreeMap<StreamId, Waited>,
    ended_at: Option<Duration>,
    failed: bool,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Idle,
    Due,
    UnderWay {
        sent_at: Duration,
        call: Option<CallId>,
    },
}

impl Flight {
    fn ended_within(&self, time: Duration, now: Duration) -> bool {
        self.ended_at.is_some_and(|ended_at| now.saturating_sub(ended_at) < time)
    }

    fn is_call(&self, number: CallId) -> bool {
        matches!(self.state, State::UnderWay { call, .. } if call == Some(number))
    }

    fn is_older_than(&self, age: Duration, now: Duration) -> bool {
        matches!(self.state, State::UnderWay { sent_at, .. } if now.saturating_sub(sent_at) > age)
    }
}

impl Calls {
    /// `places`: those of the issuers whose keys the control plane hands out.
    pub(super) fn new(places: impl Iterator<Item = usize>, timeout: Duration) -> Self {
        let refreshes: BTreeMap<_, _> = places.map(|place| (place, Flight::default())).collect();
        let share = MAX_WAITING_FOR_REFRESH / refreshes.len().max(1);
        Self {
            plain: Flight::default(),
            refreshes,
            waiting_for: BTreeMap::new(),
            returning: VecDeque::new(),
            most_for_issuer: share.clamp(1, MAX_WAITING_FOR_ISSUER),
            timeout,
        }
    }

    /// `None` for a place whose issuer's keys are not handed out.
    fn flight(&self, kind: Kind) -> Option<&Flight> {
        match kind {
            Kind::Plain => Some(&self.plain),
            Kind::Refresh(place) => self.refreshes.get(&place),
        }
    }

    fn flight_mut(&mut self, kind: Kind) -> Option<&mut Flight> {
        match kind {
            Kind::Plain => Some(&mut self.plain),
            Kind::Refresh(place) => self.refreshes.get_mut(&place),
        }
    }

    fn flights(&self) -> impl Iterator<Item = (Kind, &Flight)> {
        let refreshes = self.refreshes.iter().map(|(place, flight)| (Kind::Refresh(*place), flight));
        std::iter::once((Kind::Plain, &self.plain)).chain(refreshes)
    }

    fn timeout(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Plain => self.timeout,
            Kind::Refresh(_) => self.timeout.saturating_add(REFRESH_PATIENCE),
        }
    }

    /// True if a call of this kind is due or under way.
    pub(super) fn is_busy(&self, kind: Kind) -> bool {
        self.flight(kind).is_some_and(|flight| !matches!(flight.state, State::Idle))
    }

    /// True if a call of any kind is due or under way.
    pub(super) fn any_busy(&self) -> bool {
        self.flights().any(|(_, flight)| !matches!(flight.state, State::Idle))
    }

    /// True if the last call of this kind has failed a moment ago.
    pub(super) fn is_paused(&self, kind: Kind, now: Duration) -> bool {
        self.flight(kind).is_some_and(|flight| flight.failed && flight.ended_within(PAUSE, now))
    }

    /// True if the last call of this kind has ended so lately.
    pub(super) fn ended_within(&self, kind: Kind, time: Duration, now: Duration) -> bool {
        self.flight(kind).is_some_and(|flight| flight.ended_within(time, now))
    }

    /// Makes a call due, unless one of its kind is due or under way.
    pub(super) fn want(&mut self, kind: Kind) {
        if !self.is_busy(kind)
            && let Some(flight) = self.flight_mut(kind)
        {
            flight.state = State::Due;
        }
    }

    /// Makes a stream wait for the call of this kind. False if too many wait.
    pub(super) fn join(&mut self, kind: Kind, stream: StreamId, waited: Waited) -> bool {
        let most = match kind {
            Kind::Plain => MAX_WAITING,
            Kind::Refresh(_) => self.most_for_issuer,
        };
        let Some(flight) = self.flight_mut(kind).filter(|flight| flight.waiting.len() < most) else { return false };
        flight.waiting.insert(stream, waited);
        self.waiting_for.insert(stream, kind);
        true
    }

    /// Takes a call that is due and may be sent now: its kind and its timeout.
    pub(super) fn due(&mut self, now: Duration) -> Option<(Kind, Duration)> {
        let kind = self.next()?;
        self.flight_mut(kind)?.state = State::UnderWay { sent_at: now, call: None };
        Some((kind, self.timeout(kind)))
    }

    pub(super) fn is_due(&self) -> bool {
        self.next().is_some()
    }

    /// The call to send next. Those with `refresh` may have to wait for others to end.
    fn next(&self) -> Option<Kind> {
        let (kind, _) = self.flights().find(|(_, flight)| matches!(flight.state, State::Due))?;
        let under_way =
            || self.refreshes.values().filter(|flight| matches!(flight.state, State::UnderWay { .. })).count();
        (kind == Kind::Plain || under_way() < MAX_REFRESHES).then_some(kind)
    }

    pub(super) fn sent(&mut self, kind: Kind, taken: CallId) {
        if let Some(Flight { state: State::UnderWay { call, .. }, .. }) = self.flight_mut(kind) {
            *call = Some(taken);
        }
    }

    /// The kind of the call under way that has this number.
    pub(super) fn kind_of(&self, ended: CallId) -> Option<Kind> {
        self.flights().find(|(_, flight)| flight.is_call(ended)).map(|(kind, _)| kind)
    }

    /// When the call under way was sent.
    pub(super) fn sent_at(&self, kind: Kind) -> Option<Duration> {
        match self.flight(kind)?.state {
            State::UnderWay { sent_at, .. } => Some(sent_at),
            State::Idle | State::Due => None,
        }
    }

    /// The kinds of the calls whose end should have been reported long ago.
    pub(super) fn lost(&self, now: Duration) -> Vec<Kind> {
        let lost = |(kind, flight): &(Kind, &Flight)| {
            flight.is_older_than(self.timeout(*kind).saturating_mul(LOST_AFTER_TIMEOUTS), now)
        };
        self.flights().filter(lost).map(|(kind, _)| kind).collect()
    }

    /// The call has ended: those who wait for it are to be decided about.
    pub(super) fn ended(&mut self, kind: Kind, came: bool, now: Duration) {
        let Some(flight) = self.flight_mut(kind) else { return };
        flight.state = State::Idle;
        flight.ended_at = Some(now);
        flight.failed = !came;
        let waiting = std::mem::take(&mut flight.waiting);
        for (stream, waited) in waiting {
            self.waiting_for.remove(&stream);
            self.returning.push_back((stream, Waited { rounds: waited.rounds.saturating_add(1), failed: !came }));
        }
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
        self.waiting_for.len().saturating_add(self.returning.len())
    }

    pub(super) fn forget(&mut self, stream: StreamId) {
        if let Some(kind) = self.waiting_for.remove(&stream)
            && let Some(flight) = self.flight_mut(kind)
        {
            flight.waiting.remove(&stream);
        }
        self.take_only(stream);
    }
}
