//! The issuers whose keys the control plane hands out: their keys, those that are stored, and what is true about each.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use curfew_core::wire::IssuerKeys;
use curfew_core::{IssuerKey, KeySet, KeySets, Policy};
use serde_json::{Value, json};

use crate::clocks::Moment;
use crate::dice::Dice;
use crate::scene::ms;

/// One of the keys that are ever handed out, counted over all issuers.
pub(crate) type Key = usize;

/// The issuers whose keys are handed out. The policy names them after one whose secret stands in the configuration.
const ISSUERS: [&str; 2] = ["https://one.example.com", "https://two.example.com"];

/// How many keys each of them ever has.
const EACH: usize = 3;

/// How many keys there are in all.
pub(crate) const KEYS: usize = ISSUERS.len() * EACH;

/// After a change of keys, every worker has them in this time if nothing fails. Keys count as current for a second after
/// they were read, by the worker's clock.
const SETTLED: Duration = ms(1500);

/// The configuration of a filter.
pub(crate) struct Rules {
    pub(crate) policy: Policy,
    pub(crate) sets: KeySets,
}

impl Rules {
    #[expect(clippy::unwrap_used, reason = "the document is always the same")]
    fn of(issuers: &[Value]) -> Self {
        let (policy, sets) = Policy::from_document(&json!({ "issuers": issuers })).unwrap();
        Self { policy, sets }
    }
}

static WITH_KEYS: LazyLock<Rules> = LazyLock::new(|| {
    let [one, two] = ISSUERS.map(|name| json!({ "issuer": name, "algorithms": ["HS256"] }));
    Rules::of(&[own_issuer(), one, two])
});

static WITHOUT: LazyLock<Rules> = LazyLock::new(|| Rules::of(&[own_issuer()]));

/// All keys, as tokens name them that were proven.
static ALL: LazyLock<Vec<IssuerKey>> = LazyLock::new(|| {
    let read = |key: Key| {
        let (set, _) = KeySet::read(&json!({ "keys": [jwk(key)] }), WITH_KEYS.policy.algorithms(place(key))).ok()?;
        set.keys().next().map(|read| IssuerKey::new(place(key), read.id()))
    };
    (0..KEYS).filter_map(read).collect()
});

fn own_issuer() -> Value {
    json!({ "issuer": "https://own.example.com", "secret": "0123456789abcdef0123456789abcdef" })
}

/// A secret is read faster than a public key, and a set is all that matters here.
fn jwk(key: Key) -> Value {
    let text = format!("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZ{key}YwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg");
    json!({ "kty": "oct", "alg": "HS256", "kid": key.to_string(), "k": text })
}

/// The place in the policy of the issuer of a key.
pub(crate) fn place(key: Key) -> usize {
    1 + key / EACH
}

/// A key as a token names it that it has proven.
#[expect(clippy::indexing_slicing, reason = "there is no other key")]
pub(crate) fn issuer_key(key: Key) -> IssuerKey {
    ALL[key]
}

/// Another key of the same issuer.
pub(crate) fn sibling(key: Key) -> Key {
    key - key % EACH + (key + 1) % EACH
}

/// The keys of a world that has some.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandedOut {
    /// The average time between two changes, while faults may happen.
    pub(crate) every: Duration,
    /// The most changes.
    pub(crate) most: usize,
    /// The number of tokens of these issuers in a thousand tokens.
    pub(crate) tokens: u64,
    /// True if the control plane has no keys of one issuer at the beginning.
    unknown_at_first: bool,
}

impl HandedOut {
    /// Draws from dice of its own, so that worlds without keys stay as they were before there were any.
    pub(crate) fn draw(seed: u64) -> Option<Self> {
        let mut dice = Dice::new(!seed);
        dice.per_mille(400).then(|| Self {
            every: ms(dice.pick(700, &[300, 1500])),
            most: 3 + dice.below(6),
            tokens: dice.pick(400, &[150, 800]),
            unknown_at_first: dice.per_mille(200),
        })
    }
}

/// The configuration of the filters in a world.
pub(crate) fn rules(keys: Option<HandedOut>) -> &'static Rules {
    if keys.is_some() { &WITH_KEYS } else { &WITHOUT }
}

/// A change: one key is added or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) adds: bool,
}

/// The rows of the key sets in the database.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    /// The newest change; 0 for none.
    pub(crate) seq: u64,
    present: BTreeSet<Key>,
    /// The places of the issuers of which some keys are or were known.
    known: BTreeSet<usize>,
}

impl Stored {
    pub(crate) fn draw(keys: Option<HandedOut>, dice: &mut Dice) -> Self {
        let Some(keys) = keys else { return Self::default() };
        let unknown = if keys.unknown_at_first { place(0) } else { 0 };
        let present = (0..KEYS).filter(|key| place(*key) != unknown && dice.per_mille(700)).collect();
        Self { seq: 0, present, known: (1..=ISSUERS.len()).filter(|place| *place != unknown).collect() }
    }

    pub(crate) fn has(&self, key: Key) -> bool {
        self.present.contains(&key)
    }

    /// True if something has changed.
    pub(crate) fn change(&mut self, change: Change) -> bool {
        match change.adds {
            true => {
                self.known.insert(place(change.key));
                self.present.insert(change.key)
            }
            false => self.present.remove(&change.key),
        }
    }

    /// What is handed out.
    pub(crate) fn sets(&self) -> Vec<IssuerKeys> {
        let set = |(place, name): (usize, &str)| {
            let keys: Vec<_> =
                self.present.iter().filter(|key| self::place(**key) == place).map(|key| jwk(*key)).collect();
            let jwks = self.known.contains(&place).then(|| json!({ "keys": keys }));
            IssuerKeys { issuer: name.to_owned(), jwks }
        };
        (1..).zip(ISSUERS).map(set).collect()
    }
}

/// What is true about one key.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    /// How often it has come.
    came: u64,
    /// The step at which its removal was answered, if it has not come back since.
    gone: Option<u64>,
    /// True if it was missing at some time.
    was_missing: bool,
}

/// What is true about all keys.
#[derive(Default)]
pub(crate) struct Truth {
    lives: [Life; KEYS],
    changed_at: Moment,
    /// How many changes were asked for.
    pub(crate) asked: usize,
}

impl Truth {
    /// These keys are there from now on.
    pub(crate) fn is(&mut self, stored: &Stored, before: &Stored, now: Moment) {
        for (key, life) in self.lives.iter_mut().enumerate() {
            life.was_missing |= !stored.has(key);
            if stored.has(key) && !before.has(key) {
                life.came += 1;
                life.gone = None;
            }
            if stored.has(key) != before.has(key) {
                self.changed_at = now;
            }
        }
    }

    /// How often a key has come.
    pub(crate) fn came(&self, key: Key) -> u64 {
        self.lives.get(key).map_or(0, |life| life.came)
    }

    /// The removal of a key was answered. It counts unless the key has come back since it was committed.
    pub(crate) fn removal_answered(&mut self, key: Key, came: u64, step: u64) {
        if let Some(life) = self.lives.get_mut(key).filter(|life| life.came == came) {
            life.gone.get_or_insert(step);
        }
    }

    /// The step from which on nobody may admit what this key has proven.
    pub(crate) fn gone(&self, key: Key) -> Option<u64> {
        self.lives.get(key).and_then(|life| life.gone)
    }

    pub(crate) fn was_missing(&self, key: Key) -> bool {
        self.lives.get(key).is_some_and(|life| life.was_missing)
    }

    /// True if no key has changed lately, by true clocks.
    pub(crate) fn are_settled(&self, now: Moment) -> bool {
        now >= self.changed_at + SETTLED
    }
}
