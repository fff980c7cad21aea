//! The task that tells the other control planes, through Redis, what they would else have to read from the database: that
//! the log has grown, what workers have said, and what is confirmed here.
//!
//! Nothing relies on it. Without Redis, or when messages are lost, the others find out by the database and by the end of
//! leases, which takes longer. It counts as working only while this control plane hears its own messages: a Redis that is
//! frozen or cut off makes no errors.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::message::{MOST_ENTRIES, PeerMessage};
use crate::leases::Leases;
use crate::log_throttle::LogThrottle;
use crate::redis::{Channel, Speaker};
use crate::redis_copy::RedisCopy;

/// The channel's name after the prefix.
const CHANNEL: &str = "gossip:1";

/// How often something is said even if there is nothing to tell.
const PULSE: Duration = Duration::from_secs(1);

/// How long nothing of one's own may be heard.
const DEAF_AFTER: Duration = Duration::from_secs(3);

/// How long one message may take.
const SAY_LIMIT: Duration = Duration::from_millis(250);

/// The pauses between attempts to connect: each is twice the last one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Leases {
    /// Tells the others, if they can be told. What is lost costs time and nothing else.
    pub(in crate::leases) fn tell(&self, told: PeerMessage) {
        if self.is_heard() {
            let _ = self.outbox.try_send(told);
        }
    }

    /// Whether messages through Redis arrive, as far as this control plane hears its own.
    pub fn hears_itself(&self) -> bool {
        self.is_heard()
    }

    /// Whether the others can be told something quickly.
    pub(in crate::leases) fn is_heard(&self) -> bool {
        *self.heard.borrow()
    }
}

/// Talks and listens until it is told to stop; does nothing where no Redis is configured.
pub async fn run(leases: &Leases, redis_copy: &RedisCopy, stop: CancellationToken) {
    let waiting = leases.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let Some(waiting) = waiting.filter(|_| redis_copy.is_configured()) else { return };
    let mut gossip = Gossip { leases, waiting, pause: SHORTEST_PAUSE, failures: LogThrottle::default() };
    tokio::select! {
        () = gossip.talk(redis_copy) => {}
        () = stop.cancelled() => {}
    }
    leases.heard.send_replace(false);
}

struct Gossip<'a> {
    leases: &'a Leases,
    waiting: mpsc::Receiver<PeerMessage>,
    pause: Duration,
    failures: LogThrottle,
}

impl Gossip<'_> {
    async fn talk(&mut self, redis_copy: &RedisCopy) {
        let mut attempt = 0;
        loop {
            let problem = match redis_copy.channel(CHANNEL, attempt).await {
                Some(Ok(channel)) => self.converse(channel).await,
                Some(Err(failure)) => failure.to_string(),
                None => return,
            };
            if self.leases.heard.send_replace(false) {
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
    async fn say(&mut self, speaker: &mut Speaker, mut told: Vec<PeerMessage>) -> Result<(), String> {
        while told.len() < MOST_ENTRIES
            && let Ok(more) = self.waiting.try_recv()
        {
            told.push(more);
        }
        let message = self.leases.code.write(self.leases.id, &told);
        match timeout(SAY_LIMIT, speaker.say(&message)).await {
            Ok(said) => said.map_err(|failure| failure.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Hands on what somebody says; whether it was this control plane itself.
    fn hear(&self, message: &[u8]) -> bool {
        let Some((sender, told)) = self.leases.code.read(message) else {
            self.leases.counters.unreadable.inc();
            return false;
        };
        if sender == self.leases.id {
            if !self.leases.heard.send_replace(true) {
                info!("control planes hear each other through Redis");
            }
            return true;
        }
        let mut state = self.leases.state();
        for told in told {
            match told {
                PeerMessage::Head(head) => drop(self.leases.hinted.send_replace(Some(head))),
                PeerMessage::Ack(ack) => state.barrier.heard_ack(ack),
                PeerMessage::Confirmed(head) => state.barrier.heard_confirmation(sender, head),
            }
        }
        drop(state);
        self.leases.settle.notify_one();
        false
    }
}
