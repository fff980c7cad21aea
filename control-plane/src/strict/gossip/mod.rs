//! The task that tells the other control planes, through Redis, what they would else have to read from the database: that
//! the log has grown, what workers have said, and what is confirmed here.
//!
//! Nothing relies on it. Without Redis, or when messages are lost, the others find out by the database and by the end of
//! leases, which takes longer. It counts as working only while this control plane hears its own messages: a Redis that is
//! frozen or cut off makes no errors.

mod message;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep, timeout};
use tracing::{info, warn};

use super::Strict;
use crate::blacklist::{Blacklist, Channel, Speaker};
use crate::seldom::Seldom;
use crate::stop::Stop;

use message::MOST_ENTRIES;
pub(crate) use message::{Code, Told};

/// The channel's name after the prefix.
const CHANNEL: &str = "gossip:1";

/// What may wait to be told.
const OUTBOX: usize = 16_384;

/// How often something is said even if there is nothing to tell.
const PULSE: Duration = Duration::from_secs(1);

/// How long nothing of one's own may be heard.
const DEAF_AFTER: Duration = Duration::from_secs(3);

/// How long one message may take.
const SAY_LIMIT: Duration = Duration::from_millis(250);

/// The pauses between attempts to connect: each is twice the last one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What waits to be told.
pub(super) type Outbox = mpsc::Sender<Told>;

/// Makes both ends.
pub(super) fn outbox() -> (Outbox, mpsc::Receiver<Told>) {
    mpsc::channel(OUTBOX)
}

impl Strict {
    /// Tells the others, if they can be told. What is lost costs time and nothing else.
    pub(super) fn tell(&self, told: Told) {
        if self.is_heard() {
            let _ = self.outbox.try_send(told);
        }
    }

    /// Whether messages through Redis arrive, as far as this control plane hears its own.
    pub fn hears_itself(&self) -> bool {
        self.is_heard()
    }

    /// Whether the others can be told something quickly.
    pub(super) fn is_heard(&self) -> bool {
        *self.heard.borrow()
    }
}

/// Talks and listens until it is told to stop; does nothing where no Redis is configured.
pub async fn run(strict: &Strict, blacklist: &Blacklist, mut stop: Stop) {
    let waiting = strict.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let Some(waiting) = waiting.filter(|_| blacklist.is_configured()) else { return };
    let mut gossip = Gossip { strict, waiting, pause: SHORTEST_PAUSE, failures: Seldom::default() };
    tokio::select! {
        () = gossip.talk(blacklist) => {}
        () = stop.requested() => {}
    }
    strict.heard.send_replace(false);
}

struct Gossip<'a> {
    strict: &'a Strict,
    waiting: mpsc::Receiver<Told>,
    pause: Duration,
    failures: Seldom,
}

impl Gossip<'_> {
    async fn talk(&mut self, blacklist: &Blacklist) {
        let mut attempt = 0;
        loop {
            let problem = match blacklist.channel(CHANNEL, attempt).await {
                Some(Ok(channel)) => self.converse(channel).await,
                Some(Err(failure)) => failure.to_string(),
                None => return,
            };
            if self.strict.heard.send_replace(false) {
                // It has worked.
                self.pause = SHORTEST_PAUSE;
            }
            if let Some(failures) = self.failures.line(Instant::now()) {
                warn!(problem, failures, "control planes do not hear each other through Redis: logouts take longer");
            }
            attempt = attempt.wrapping_add(1);
            sleep(self.pause).await;
            self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// Talks for as long as the channel works; returns why it does not.
    async fn converse(&mut self, mut channel: Channel) -> String {
        let mut speaker = channel.speaker();
        let mut pulse = interval(PULSE);
        let mut heard_self = Instant::now();
        loop {
            tokio::select! {
                message = channel.heard() => match message {
                    Some(message) if self.hear(&message) => heard_self = Instant::now(),
                    Some(_) => {}
                    None => return "the connection has ended".to_owned(),
                },
                told = self.waiting.recv() => {
                    let told: Vec<_> = told.into_iter().collect();
                    if let Err(problem) = self.say(&mut speaker, told).await {
                        return problem;
                    }
                }
                _ = pulse.tick() => {
                    if heard_self.elapsed() > DEAF_AFTER {
                        return "nothing is heard of what is said".to_owned();
                    }
                    if let Err(problem) = self.say(&mut speaker, Vec::new()).await {
                        return problem;
                    }
                }
            }
        }
    }

    /// Says this and whatever else waits.
    async fn say(&mut self, speaker: &mut Speaker, mut told: Vec<Told>) -> Result<(), String> {
        while told.len() < MOST_ENTRIES
            && let Ok(more) = self.waiting.try_recv()
        {
            told.push(more);
        }
        let message = self.strict.code.write(self.strict.id, &told);
        match timeout(SAY_LIMIT, speaker.say(&message)).await {
            Ok(said) => said.map_err(|failure| failure.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Hands on what somebody says; whether it was this control plane itself.
    fn hear(&self, message: &[u8]) -> bool {
        let Some((sender, told)) = self.strict.code.read(message) else {
            self.strict.metrics.strict.unreadable.inc();
            return false;
        };
        if sender == self.strict.id {
            if !self.strict.heard.send_replace(true) {
                info!("control planes hear each other through Redis");
            }
            return true;
        }
        let mut state = self.strict.state();
        for told in told {
            match told {
                Told::Head(head) => drop(self.strict.hinted.send_replace(Some(head))),
                Told::Ack(ack) => state.barrier.heard_ack(ack),
                Told::Confirmed(head) => state.barrier.heard_confirmation(sender, head),
            }
        }
        drop(state);
        self.strict.settle.notify_one();
        false
    }
}
