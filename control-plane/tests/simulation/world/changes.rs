//! Changes of the keys that the control plane hands out, and its answers to the workers that ask for keys.

use std::sync::Arc;
use std::time::Duration;

use curfew_core::wire::KeysAnswer;

use super::World;
use super::logouts::{Logout, Scope};
use crate::events::{Call, Event, Returned, Statement};
use crate::keys::{Change, KEYS, Key, Stored, sibling};
use crate::scene::ms;

/// How long a control plane may take to ask an issuer for its keys.
const LONGEST_REFRESH: Duration = ms(2500);

/// How late a control plane answers that has read the keys.
const LATEST: Duration = ms(2000);

/// The interval between changes when the faults have ended. Workers must have the keys long before the next change.
const LATER: Duration = ms(3000);

impl World {
    pub(super) fn begin_keys(&mut self) {
        let stored = self.database.keys.clone();
        self.keys.is(&stored, &stored, self.now);
        if self.scene.keys.is_some() {
            self.queue.push(ms(200), Event::KeysGoOn);
        }
    }

    pub(super) fn keys_go_on(&mut self) {
        let Some(keys) = self.scene.keys else { return };
        let pause = if self.is_stormy() { self.about(keys.every) } else { LATER };
        self.queue.push(self.now + pause, Event::KeysGoOn);
        let key = self.dice.below(KEYS);
        // Sometimes a change that has been made already.
        let adds = self.database.keys.has(key) == self.dice.per_mille(100);
        self.change_if_few(Change { key, adds });
    }

    /// So few that worlds with keys are not much slower than others.
    fn change_if_few(&mut self, change: Change) {
        if self.scene.keys.is_some_and(|keys| self.keys.asked < keys.most) {
            self.keys.asked += 1;
            self.change_keys(change);
        }
    }

    pub(super) fn change_keys(&mut self, change: Change) {
        self.call(Logout::new(0, Scope::Token, Some(change), self.now));
    }

    /// Makes a change of keys durable.
    pub(super) fn change_committed(&mut self, logout: usize, began: Duration, change: Change) -> Returned {
        self.database.before_commit_of(logout);
        let (before, from) = (self.database.keys.clone(), self.database.head);
        let head = self.database.commit_change(change);
        self.checks.reached.keys_changed += u64::from(head != from);
        self.keys_are_stored(&before);
        self.changes.push((logout, before));
        let came = self.keys.came(change.key);
        self.logouts.iter_mut().skip(logout).take(1).for_each(|logout| logout.came = came);
        Returned::Committed { logout, began, head, rows: None }
    }

    /// What is stored in the place of what was stored before.
    pub(super) fn keys_are_stored(&mut self, before: &Stored) {
        self.keys.is(&self.database.keys, before, self.now);
    }

    /// A call for keys arrives at a control plane, which asks an issuer first if it is to refresh.
    pub(super) fn keys_arrive(&mut self, index: usize, call: Call, refresh: bool) {
        let Some(plane) = self.planes.get(index).filter(|plane| plane.runs) else {
            return self.answer_worker(index, call, &Event::KeysEnd { call, answer: None });
        };
        if !refresh {
            return self.ask_database(index, plane.life, Statement::Keys { call });
        }
        if self.is_stormy() && self.dice.per_mille(300) {
            let key = self.dice.below(KEYS);
            self.change_if_few(Change { key, adds: true });
        }
        let asked = self.now + self.dice.between(Duration::ZERO, LONGEST_REFRESH);
        self.queue.push(asked, Event::KeysArrive { plane: index, call, refresh: false });
    }

    /// Sends keys that were read to the worker that asked, some of them late.
    pub(super) fn answer_with_keys(&mut self, index: usize, call: Call, answer: Option<Arc<KeysAnswer>>) {
        let event = Event::KeysEnd { call, answer };
        match self.is_stormy() && self.dice.per_mille(200) {
            true => {
                let late = self.dice.between(Duration::ZERO, LATEST);
                self.queue.push(self.now + late, event);
            }
            false => self.answer_worker(index, call, &event),
        }
    }

    pub(super) fn read_keys(&self) -> KeysAnswer {
        let (epoch, keys) = (self.database.head.epoch, &self.database.keys);
        KeysAnswer { epoch, keys_seq: keys.seq, sets: keys.sets() }
    }

    /// The key that signs a new token, if it is a handed-out one, and a key that signs the same token once more. Mostly one
    /// that is there.
    pub(super) fn draw_key(&mut self) -> (Option<Key>, Option<Key>) {
        if !self.scene.keys.is_some_and(|keys| self.dice.per_mille(keys.tokens)) {
            return (None, None);
        }
        let drawn = [self.dice.below(KEYS), self.dice.below(KEYS)];
        let key = drawn.into_iter().find(|key| self.database.keys.has(*key)).unwrap_or(drawn[0]);
        (Some(key), self.dice.per_mille(200).then(|| sibling(key)))
    }
}
