//! The workers: the filter's feed, and the calls that a proxy makes for it.

use std::sync::Arc;

use curfew_control_plane::leases::Caller;
use curfew_core::wire::{FeedAnswer, FeedRequest};
use curfew_filter::feed::{Feed, FeedSettings, Randomness};
use tokio::time::{sleep, timeout};

use crate::clocks::Clocks;
use crate::dice::Dice;
use crate::mutant::Mutant;
use crate::plane::Running;
use crate::scene::ms;
use crate::world::World;

pub(crate) struct Worker {
    pub(crate) clocks: Clocks,
    pub(crate) feed: Feed,
    /// Raised with each VM in this place.
    life: u64,
    calls: u32,
    home: usize,
}

impl Worker {
    pub(crate) fn new(clocks: Clocks, dice: &mut Dice, home: usize) -> Self {
        Self { clocks, feed: feed(dice), life: 0, calls: 0, home }
    }

    /// Another VM takes its place, which holds nothing.
    pub(crate) fn replace(&mut self, dice: &mut Dice) {
        self.feed = feed(dice);
        self.life += 1;
    }
}

fn feed(dice: &mut Dice) -> Feed {
    let seed = [dice.next(), dice.next()];
    Feed::new(FeedSettings { keyspaces: Vec::new(), budget: 1 << 20, timeout: ms(500), seed })
}

impl World {
    pub(crate) async fn work(self: Arc<Self>, index: usize) {
        loop {
            let now = self.now();
            let poll = self.with(|world| {
                let randomness = world.randomness();
                let worker = &mut world.workers[index];
                let clocks = worker.clocks.now(now);
                if !self.scene.is_quiet(now) {
                    worker.feed.requested(clocks);
                }
                let poll = worker.feed.poll(clocks, randomness)?;
                worker.calls += 1;
                worker.feed.sent(worker.calls);
                Some((poll, worker.calls, worker.life, worker.clocks))
            });
            let Some((poll, call, life, clocks)) = poll else {
                self.with(|world| world.probe(index, self.now()));
                sleep(ms(10)).await;
                continue;
            };
            let answer = timeout(clocks.takes(poll.timeout), self.deliver(index, &poll.request)).await;
            let answer = answer.ok().flatten();
            self.trace(|| format!("worker {index} at {:?} gets {answer:?}", poll.request.applied));
            self.with(|world| {
                let randomness = world.randomness();
                let worker = &mut world.workers[index];
                let now = self.now();
                if worker.life == life {
                    worker.feed.answered(call, answer.as_ref(), worker.clocks.now(now), randomness);
                }
                world.reached.leases += u64::from(answer.is_some_and(|answer| answer.lease_ms > 0));
                world.probe(index, now);
            });
        }
    }

    /// The proxy sends a poll, and sends it again elsewhere if it gets no answer. Sometimes the same poll also arrives at
    /// another control plane, at once or late, where nobody waits for its answer.
    async fn deliver(self: &Arc<Self>, index: usize, request: &FeedRequest) -> Option<FeedAnswer> {
        let now = self.now();
        let twice = self.with(|world| now < self.scene.healed && world.dice.per_mille(self.scene.repeated));
        if twice {
            let delay = self.with(|world| world.dice.between(ms(0), self.scene.longest));
            let (world, request) = (Arc::clone(self), request.clone());
            tokio::spawn(async move {
                sleep(delay).await;
                world.with(|world| world.reached.repeated_polls += 1);
                let plane = world.with(|inner| inner.dice.below(inner.planes.len()));
                let _ = timeout(ms(2000), world.poll_at(plane, &request)).await;
            });
        }
        for attempt in 0..2 {
            let plane = self.with(|world| {
                let away = !self.scene.sticky || attempt > 0 || world.is_down(world.workers[index].home);
                if away { world.dice.below(world.planes.len()) } else { world.workers[index].home }
            });
            let answer = self.poll_at(plane, request).await;
            if answer.is_some() {
                return answer;
            }
            self.with(|world| world.reached.repeated_polls += u64::from(attempt == 0));
        }
        None
    }

    /// One poll at one control plane; `None` if the connection breaks or the answer is no page. A caller that drops this
    /// is a client that goes away.
    async fn poll_at(self: &Arc<Self>, plane: usize, request: &FeedRequest) -> Option<FeedAnswer> {
        let journey = self.with(|world| world.deliveries(self.now(), &self.scene));
        let there = journey.first().copied()?;
        sleep(there).await;
        let running = self.with(|world| world.planes[plane].running.clone())?;
        let caller = Caller { address: std::net::Ipv4Addr::LOCALHOST.into(), version: None };
        let polled = tokio::select! {
            answer = running.leases.poll(request, caller) => answer,
            () = running.dead.cancelled() => return None,
        };
        let answer = self.checked(plane, &running, polled)?;
        if self.scene.is(Mutant::AckBeforeApply) {
            let applied = FeedRequest { epoch: Some(answer.epoch), applied: answer.to, hold_ms: 0, ..request.clone() };
            let caller = Caller { address: std::net::Ipv4Addr::LOCALHOST.into(), version: None };
            let _ = timeout(ms(1), running.leases.poll(&applied, caller)).await;
        }
        let back = self.with(|world| world.deliveries(self.now(), &self.scene)).first().copied()?;
        sleep(back).await;
        Some(answer)
    }

    /// The page, after a look at whether it may carry a lease.
    fn checked(
        &self,
        plane: usize,
        running: &Running,
        polled: Result<FeedAnswer, curfew_control_plane::leases::PollFailure>,
    ) -> Option<FeedAnswer> {
        self.with(|world| {
            let closing = world.planes[plane].running.as_ref().is_some_and(|now| now.is_closing);
            let answer = match polled {
                Ok(answer) => answer,
                Err(failure) => {
                    let full = matches!(failure, curfew_control_plane::leases::PollFailure::Full(_));
                    world.reached.full += u64::from(full);
                    return None;
                }
            };
            if closing && answer.lease_ms > 0 && world.planes[plane].life == running.life {
                world.violated(|| format!("{:?}: control plane {plane} closes, and grants", self.now()));
            }
            world.grants_from_its_history((plane, running.life), &answer, self.now());
            Some(answer)
        })
    }
}

impl crate::world::Inner {
    fn randomness(&mut self) -> Randomness {
        Randomness { worker: self.dice.worker_id(), jitter: u32::try_from(self.dice.next() >> 32).unwrap() }
    }

    fn is_down(&self, plane: usize) -> bool {
        self.planes[plane].running.as_ref().is_none_or(|running| running.is_closing)
    }
}
