//! The open connections of one listener, and the decision which of them go when room is needed. No I/O, no clock.
//!
//! An attacker who can make a connection keep its place without cost keeps everybody else out. So a place is kept by having a
//! request in progress, whose time is bounded; a connection without one goes when others need the place:
//!
//! 1. those that never sent a request, before those that did, before those that have shown the internal secret;
//! 2. among these, those of the address that has the most connections;
//! 3. among these, those that have waited longest.
//!
//! A held poll is a request in progress, so an Envoy's connection is never closed under its poll.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use tokio::time::Instant;

use super::terms::{PATIENCE, Terms};
use crate::abuse::source::Source;

/// A connection's number, never used twice.
pub(super) type Number = u64;

/// What a connection has shown so far. Later ones are kept longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    Nothing,
    Request,
    Secret,
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It has never sent a request.
    Silent,
    /// No request is in progress.
    Idle,
    /// A request is in progress.
    Busy,
}

/// Why a connection is closed, or not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Others need its place.
    Crowded,
    /// It sent no request in time.
    Late,
    /// Its address holds its share.
    Share,
}

#[derive(Debug)]
struct Connection {
    peer: Source,
    /// The peer is on this machine: a sidecar of one's own, which goes last.
    local: bool,
    shown: Shown,
    /// Requests in progress; over HTTP/2 there may be several.
    requests: u32,
    /// Since when there is no request in progress.
    since: Instant,
    /// It was told to go, and still has its place.
    leaving: bool,
}

/// A connection that is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaving {
    pub(super) number: Number,
    pub(super) peer: Source,
    pub(super) reason: Reason,
}

/// What becomes of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// `None` if it is not taken.
    pub(super) number: Option<Number>,
    /// The connection that has to go for it.
    pub(super) replaced: Option<Leaving>,
}

/// The open connections.
#[derive(Debug)]
pub(super) struct Crowd {
    terms: Terms,
    open: HashMap<Number, Connection>,
    of_peer: HashMap<Source, usize>,
    states: [(State, usize); 3],
    leaving: usize,
    next: Number,
}

impl Crowd {
    pub(super) fn new(terms: Terms) -> Self {
        let states = [State::Silent, State::Idle, State::Busy].map(|state| (state, 0));
        Self { terms, open: HashMap::new(), of_peer: HashMap::new(), states, leaving: 0, next: 0 }
    }

    /// Takes in a new connection. If its address holds its share, and there is not so much room that it does not matter, it
    /// replaces an idle one of the same address; without one, it is not taken.
    pub(super) fn enter(&mut self, peer: IpAddr, now: Instant) -> Entry {
        if self.terms.is_roomy(self.open.len()) || !self.holds_share(peer) {
            return Entry { number: Some(self.take_in(peer, now)), replaced: None };
        }
        let replaced = self.replaced(Source::of_peer(peer));
        Entry { number: replaced.map(|_| self.take_in(peer, now)), replaced }
    }

    fn holds_share(&self, peer: IpAddr) -> bool {
        let held = self.terms.counted(peer).and_then(|source| self.of_peer.get(&source)).copied();
        self.terms.share.zip(held).is_some_and(|(share, held)| held >= share)
    }

    fn take_in(&mut self, peer: IpAddr, now: Instant) -> Number {
        let source = Source::of_peer(peer);
        let number = self.next;
        self.next = self.next.saturating_add(1);
        let local = peer.to_canonical().is_loopback();
        let (shown, requests, since, leaving) = (Shown::Nothing, 0, now, false);
        self.open.insert(number, Connection { peer: source, local, shown, requests, since, leaving });
        let held = self.of_peer.entry(source).or_insert(0);
        *held = held.saturating_add(1);
        self.recount(None, Some(State::Silent));
        number
    }

    /// A request has begun.
    pub(super) fn begin(&mut self, number: Number) {
        self.change(number, |connection| {
            connection.requests = connection.requests.saturating_add(1);
            connection.shown = connection.shown.max(Shown::Request);
        });
    }

    /// A request has ended.
    pub(super) fn end(&mut self, number: Number, now: Instant) {
        self.change(number, |connection| {
            connection.requests = connection.requests.saturating_sub(1);
            connection.since = now;
        });
    }

    /// The connection has shown the internal secret. It no longer counts for its address: many Envoys may stand behind one.
    pub(super) fn trust(&mut self, number: Number) {
        if let Some(connection) = self.open.get_mut(&number).filter(|connection| connection.shown != Shown::Secret) {
            connection.shown = Shown::Secret;
            leave(&mut self.of_peer, connection.peer);
        }
    }

    /// The connection is closed.
    pub(super) fn remove(&mut self, number: Number) {
        if let Some(gone) = self.open.remove(&number) {
            self.recount(Some(gone.state()), None);
            self.leaving = self.leaving.saturating_sub(usize::from(gone.leaving));
            if gone.shown != Shown::Secret {
                leave(&mut self.of_peer, gone.peer);
            }
        }
    }

    /// How many connections are in which state.
    pub(super) const fn states(&self) -> [(State, usize); 3] {
        self.states
    }

    /// The state of a connection.
    pub(super) fn state(&self, number: Number) -> Option<State> {
        self.open.get(&number).map(Connection::state)
    }

    /// Those that never sent a request and have run out of time. While there is room, each connection keeps its own time, and
    /// nothing is looked through here.
    pub(super) fn late(&mut self, now: Instant) -> Vec<Leaving> {
        let patience = self.terms.patience(self.open.len());
        if patience == PATIENCE {
            return Vec::new();
        }
        let late = |open: &Connection| {
            open.is_idle() && open.shown == Shown::Nothing && now.saturating_duration_since(open.since) >= patience
        };
        let late: Vec<_> = self.open.iter().filter(|(_, open)| late(open)).map(|(number, _)| *number).collect();
        late.into_iter().filter_map(|number| self.mark(number, Reason::Late)).collect()
    }

    /// Those that go because fewer places are free than are to be kept free. Twice the reserve is made free then, so that the
    /// next look comes only after many more connections.
    pub(super) fn crowded_out(&mut self) -> Vec<Leaving> {
        let free = self.terms.most.saturating_sub(self.open.len()).saturating_add(self.leaving);
        let reserve = self.terms.reserve();
        if free >= reserve {
            return Vec::new();
        }
        let mut idle: Vec<_> = self.open.iter().filter(|(_, open)| open.is_idle()).collect();
        idle.sort_by_key(|(number, open)| (open.shown, Reverse(self.weight(open)), open.since, **number));
        let wanted = reserve.saturating_mul(2).saturating_sub(free);
        let gone: Vec<_> = idle.into_iter().take(wanted).map(|(number, _)| *number).collect();
        gone.into_iter().filter_map(|number| self.mark(number, Reason::Crowded)).collect()
    }

    /// The longest idle connection of this source.
    fn replaced(&mut self, source: Source) -> Option<Leaving> {
        let own = |open: &Connection| open.is_idle() && open.peer == source && open.shown != Shown::Secret;
        let own = self.open.iter().filter(|(_, open)| own(open));
        let (number, _) = own.min_by_key(|(number, open)| (open.shown, open.since, **number))?;
        self.mark(*number, Reason::Share)
    }

    /// How many connections the peer has.
    fn weight(&self, open: &Connection) -> usize {
        if open.local { 0 } else { self.of_peer.get(&open.peer).copied().unwrap_or(0) }
    }

    fn change(&mut self, number: Number, change: impl FnOnce(&mut Connection)) {
        let Some(connection) = self.open.get_mut(&number) else { return };
        let before = connection.state();
        change(connection);
        let after = connection.state();
        self.recount(Some(before), Some(after));
    }

    fn recount(&mut self, before: Option<State>, after: Option<State>) {
        for (state, count) in &mut self.states {
            if before == Some(*state) {
                *count = count.saturating_sub(1);
            }
            if after == Some(*state) {
                *count = count.saturating_add(1);
            }
        }
    }

    fn mark(&mut self, number: Number, reason: Reason) -> Option<Leaving> {
        let connection = self.open.get_mut(&number)?;
        connection.leaving = true;
        self.leaving = self.leaving.saturating_add(1);
        Some(Leaving { number, peer: connection.peer, reason })
    }
}

impl State {
    /// Its label in `curfew_connections`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Idle => "idle",
            Self::Busy => "busy",
        }
    }
}

impl Reason {
    /// Its label in `curfew_connections_closed`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Crowded => "crowded",
            Self::Late => "late",
            Self::Share => "share",
        }
    }
}

impl Connection {
    /// No request is in progress, and it was not told to go.
    fn is_idle(&self) -> bool {
        self.requests == 0 && !self.leaving
    }

    const fn state(&self) -> State {
        match (self.requests, self.shown) {
            (0, Shown::Nothing) => State::Silent,
            (0, _) => State::Idle,
            _ => State::Busy,
        }
    }
}

/// Counts one connection of the peer less.
fn leave(of_peer: &mut HashMap<Source, usize>, peer: Source) {
    if let Some(held) = of_peer.get_mut(&peer) {
        *held = held.saturating_sub(1);
        if *held == 0 {
            of_peer.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests;
