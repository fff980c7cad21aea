//! The task that sends the other control planes through Redis what they would otherwise read from the database or not
//! learn at all: that the log has grown, what workers have acknowledged, and what is confirmed here.
//!
//! Nothing relies on it. Without Redis, or when messages are lost, the others wait for the database and for the end of
//! leases, which takes longer. Messages count as arriving only while this control plane receives its own messages,
//! because a Redis that is frozen or cut off reports no errors.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::message::{MOST_ENTRIES, MessageCode, PeerMessage};
use super::outbox::Outbox;
use crate::leases::counters::Counters;
use crate::leases::news::News;
use crate::leases::signals::Signals;
use crate::leases::state::SharedState;
use crate::leases::surroundings::{Line, Lines};
use crate::log::ControlPlaneId;
use crate::log_throttle::LastingTrouble;

/// The channel's name after the prefix.
const CHANNEL: &str = "gossip:1";

/// How often a message is sent even if there is no news.
const PULSE: Duration = Duration::from_secs(1);

/// How long this control plane may go without hearing its own messages.
const DEAF_AFTER: Duration = Duration::from_secs(3);

/// How long sending one message may take.
const SAY_LIMIT: Duration = Duration::from_millis(250);

/// The pauses between attempts to connect: each is twice the last one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The parts of the room that this file uses.
pub(in crate::leases) struct Gossip<'a> {
    pub(in crate::leases) id: ControlPlaneId,
    pub(in crate::leases) code: &'a MessageCode,
    pub(in crate::leases) state: &'a SharedState,
    pub(in crate::leases) signals: &'a Signals,
    pub(in crate::leases) news: &'a News,
    pub(in crate::leases) outbox: &'a Outbox,
    pub(in crate::leases) counters: &'a Counters,
}

impl Gossip<'_> {
    /// Sends and receives messages until it is told to stop.
    pub(in crate::leases) async fn run(self, lines: &dyn Lines, stop: CancellationToken) {
        let Some(waiting) = self.outbox.take_receiver() else { return };
        let outbox = self.outbox;
        let mut talk = Talk { room: self, waiting, pause: SHORTEST_PAUSE, trouble: LastingTrouble::default() };
        tokio::select! {
            () = talk.go_on(lines) => {}
            () = stop.cancelled() => {}
        }
        outbox.set_heard(false);
    }
}

struct Talk<'a> {
    room: Gossip<'a>,
    waiting: mpsc::Receiver<PeerMessage>,
    pause: Duration,
    trouble: LastingTrouble,
}

impl Talk<'_> {
    async fn go_on(&mut self, lines: &dyn Lines) {
        let mut attempt = 0;
        loop {
            let problem = match lines.open(CHANNEL, attempt).await {
                Ok(line) => self.converse(line).await,
                Err(problem) => problem,
            };
            if self.room.outbox.set_heard(false) {
                // The channel has worked for a while.
                self.pause = SHORTEST_PAUSE;
            }
            if self.trouble.is_news(&problem, Instant::now()) {
                warn!(problem, "control planes do not hear each other through Redis: logouts take longer");
            }
            attempt = attempt.wrapping_add(1);
            sleep(self.pause).await;
            self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// Sends and receives messages for as long as the channel works. Returns the reason why it stopped working.
    async fn converse(&mut self, mut line: Box<dyn Line>) -> String {
        let mut pulse = interval(PULSE);
        let mut heard_self = Instant::now();
        loop {
            tokio::select! {
                message = line.heard() => match message {
                    Some(message) if self.hear(&message) => heard_self = Instant::now(),
                    Some(_) => {}
                    None => return "the connection has ended".to_owned(),
                },
                message = self.waiting.recv() => {
                    if let Err(problem) = self.say(&mut *line, message.into_iter().collect()).await {
                        return problem;
                    }
                }
                _ = pulse.tick() => {
                    if heard_self.elapsed() > DEAF_AFTER {
                        return "messages that are sent do not arrive".to_owned();
                    }
                    if let Err(problem) = self.say(&mut *line, Vec::new()).await {
                        return problem;
                    }
                }
            }
        }
    }

    /// Sends these messages, together with all others that wait.
    async fn say(&mut self, line: &mut dyn Line, mut messages: Vec<PeerMessage>) -> Result<(), String> {
        while messages.len() < MOST_ENTRIES
            && let Ok(more) = self.waiting.try_recv()
        {
            messages.push(more);
        }
        let message = self.room.code.write(self.room.id, &messages);
        match timeout(SAY_LIMIT, line.say(&message)).await {
            Ok(said) => said,
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Handles a message that has arrived. True if this control plane has sent it itself.
    fn hear(&self, message: &[u8]) -> bool {
        let Some((sender, messages)) = self.room.code.read(message) else {
            self.room.counters.unreadable.inc();
            return false;
        };
        if sender == self.room.id {
            if !self.room.outbox.set_heard(true) {
                self.trouble.is_over();
                info!("control planes hear each other through Redis");
            }
            return true;
        }
        let mut state = self.room.state.lock();
        for message in messages {
            match message {
                PeerMessage::Head(head) => self.room.news.hint(head),
                PeerMessage::Ack(ack) => {
                    debug!(worker = %ack.worker, seq = ack.held.map(|held| held.seq), "an acknowledgement is passed on");
                    state.barrier.heard_ack(ack);
                }
                PeerMessage::Confirmed(position) => {
                    debug!(control_plane = %sender, seq = position.seq, "another control plane confirms");
                    state.barrier.heard_confirmation(sender, position);
                }
            }
        }
        drop(state);
        self.room.signals.look();
        false
    }
}
