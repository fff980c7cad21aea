//! The gate's part in following the feed: it hands the host's events to [`Feed`], and notes what the operator should be
//! told. In `consistency: bounded` there is no feed, and nothing happens here.
//!
//! [`Feed`]: crate::feed::Feed

use std::time::Duration;

use curfew_core::wire::FeedAnswer;

use super::Gate;
use crate::feed::{Poll, Polled, Randomness};
use crate::ids::CallId;
use crate::metrics::{Gauges, Metric};
use crate::now::Now;
use crate::outage::{Failure, Notice};

impl Gate {
    /// When to call [`Self::poll`], on the monotonic clock; `None`: after the next request.
    pub fn polls_at(&self) -> Option<Duration> {
        self.knowledge.mode().feed()?.wake_at()
    }

    /// The poll to send now, if one is due. Report [`Self::poll_sent`] or [`Self::poll_not_sent`].
    pub fn poll(&mut self, now: Now, randomness: Randomness) -> Option<Poll> {
        let feed = self.knowledge.mode_mut().feed_mut()?;
        let lost = feed.is_lost(now);
        let poll = feed.poll(now, randomness);
        if lost {
            self.poll_failed(Failure::Lost, now);
        }
        self.note_lease(now);
        poll
    }

    /// The host took the poll and will report its end under this number.
    pub fn poll_sent(&mut self, call: CallId) {
        self.count(Metric::PollSent);
        if let Some(feed) = self.knowledge.mode_mut().feed_mut() {
            feed.sent(call);
        }
    }

    /// The host did not take the poll.
    pub fn poll_not_sent(&mut self, now: Now, randomness: Randomness) {
        if let Some(feed) = self.knowledge.mode_mut().feed_mut() {
            feed.not_sent(now, randomness);
            self.poll_failed(Failure::NotSent, now);
        }
    }

    /// True if this callout is the poll under way.
    pub fn polled(&self, call: CallId) -> bool {
        self.knowledge.mode().feed().is_some_and(|feed| feed.asked(call))
    }

    /// The poll has ended, with a page or without any. Call [`Self::poll`] after it, and [`Self::key_call`].
    pub fn poll_answered(
        &mut self,
        call: CallId,
        page: Result<&FeedAnswer, Failure>,
        now: Now,
        randomness: Randomness,
    ) {
        let Some(feed) = self.knowledge.mode_mut().feed_mut() else { return };
        let polled = feed.answered(call, page.ok(), now, randomness);
        match (polled, page) {
            (Polled::Lease, _) => self.notices.extend(self.feed_outage.ended(None, now.monotonic)),
            (Polled::NoAnswer, Err(failure)) => self.poll_failed(failure, now),
            (Polled::NoLease, _) => self.poll_failed(Failure::NoLease, now),
            (Polled::Discontinued, _) => {
                self.count(Metric::CopyRestarted);
                self.poll_failed(Failure::Discontinued, now);
            }
            (Polled::Overflow, _) => {
                self.count(Metric::CopyOverflow);
                self.notices.push(Notice::Overflow);
            }
            (Polled::Page | Polled::Left | Polled::Nothing | Polled::NoAnswer, _) => {}
        }
        self.note_lease(now);
        self.note_gauges();
        // What the copy has shown before says nothing new: the keys may be of a history that it does not know yet.
        if matches!(polled, Polled::Lease | Polled::Page | Polled::NoLease | Polled::Overflow) {
            self.note_keys_of_log(now);
        }
    }

    /// Gives the lease up for good, because another gate serves from now on. The poll to send now tells the control
    /// plane; report it as any other.
    pub fn retire(&mut self, now: Now) -> Option<Poll> {
        let poll = self.knowledge.mode_mut().feed_mut()?.retire(now);
        self.note_lease(now);
        poll
    }

    /// True if a poll is under way, or will be sent without a request.
    pub fn polls(&self) -> bool {
        self.knowledge.mode().feed().is_some_and(|feed| !feed.is_resting())
    }

    /// True if a callback is certain to come: the end of a poll, or the tick that gives it up.
    pub fn poll_is_under_way(&self) -> bool {
        self.knowledge.mode().feed().is_some_and(|feed| feed.is_polling())
    }

    /// Takes what the copy of the log holds, if that has changed since the last time.
    pub fn take_gauges(&mut self) -> Option<Gauges> {
        self.gauges.take()
    }

    fn poll_failed(&mut self, failure: Failure, now: Now) {
        self.count(Metric::PollFailed);
        self.notices.extend(self.feed_outage.ended(Some(failure), now.monotonic));
    }

    /// Counts a lease that came or ended. A lease ends without an event, so this looks whenever something else happens.
    pub(super) fn note_lease(&mut self, now: Now) {
        let leased = self.knowledge.mode().feed().is_some_and(|feed| feed.may_decide(now));
        if leased != self.leased {
            self.leased = leased;
            self.count(if leased { Metric::LeaseGained } else { Metric::LeaseLost });
        }
    }

    /// Counts a decision by the copy of the log alone.
    pub(super) fn count_own_decision(&mut self) {
        if self.knowledge.mode().feed().is_some() {
            self.count(Metric::CopyDecided);
        }
    }

    fn note_gauges(&mut self) {
        let gauges = self.knowledge.mode().feed().map(|feed| Gauges {
            seq: feed.position().map_or(0, |position| position.seq),
            entries: feed.copy().len() as u64,
            bytes: feed.copy().bytes(),
        });
        if gauges != self.shown {
            (self.gauges, self.shown) = (gauges, gauges);
        }
    }
}
