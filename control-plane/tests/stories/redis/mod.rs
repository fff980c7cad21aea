//! The copy in a real Redis: what it answers, and that no failure of Redis makes an answer wrong or late.

mod copy;
mod kinds;
mod outage;
mod refused;

use std::time::{Duration, Instant};

use curfew_control_plane::redis::{EntryRules, Settings, Target};
use curfew_control_plane::redis_copy::Counters;
use curfew_testbed::servers::Redis;
use serde_json::{Value, json};
use sqlx::Executor;

use crate::plane::Plane;
use crate::tokens::{ISSUER, SECRET};

/// Long, because the machine may be busy with other tests.
const EVENTUALLY: Duration = Duration::from_secs(40);

fn settings(url: &str) -> Settings {
    let rules = EntryRules { prefix: "curfew:".to_owned(), least_life: None, clock_skew: 5 };
    Settings { target: Target::parse(url).unwrap(), authority: None, rules }
}

fn policy() -> Value {
    json!({"issuers": [{"issuer": ISSUER, "secret": SECRET}]})
}

/// A control plane that uses this Redis.
async fn plane_beside(url: &str) -> Plane {
    let plane = Plane::start_beside(policy(), Some(settings(url))).await;
    plane.until_up().await;
    plane
}

impl Plane {
    /// Waits until Redis is in use and nothing is missing in it.
    async fn until_up(&self) {
        self.until("Redis is in use and complete", |plane| {
            plane.state.redis_copy.is_up() == Some(true) && plane.metrics.redis.pending.get() == 0
        })
        .await;
    }

    async fn until_down(&self) {
        self.until("Redis is left alone", |plane| plane.state.redis_copy.is_up() == Some(false)).await;
    }

    async fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + EVENTUALLY;
        while !done(self) {
            assert!(Instant::now() < deadline, "not within {EVENTUALLY:?}: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes the database fail every question from now on.
    async fn lose_database(&self) {
        self.database().await.execute("DROP TABLE feed_head").await.unwrap();
    }

    /// Asks until Redis had a part in the answer. On a machine that is too busy for the limits it has none. The answer
    /// is the same in any case.
    async fn ask_until(&self, token: &str, verdict: &str, count: impl Fn(&Counters) -> u64) {
        let (deadline, before) = (Instant::now() + EVENTUALLY, count(&self.metrics.redis));
        while count(&self.metrics.redis) == before {
            assert!(Instant::now() < deadline, "Redis was not asked within {EVENTUALLY:?}");
            assert_eq!(self.verdict(token).await, verdict);
        }
    }

    /// Asks a control plane without a database until Redis answers in time.
    async fn redis_says_revoked(&self, token: &str) {
        let deadline = Instant::now() + EVENTUALLY;
        let mut verdict = self.verdict(token).await;
        while verdict != "revoked" && Instant::now() < deadline {
            assert!(verdict.contains(r#""code":"unavailable""#), "{verdict}");
            tokio::time::sleep(Duration::from_millis(50)).await;
            verdict = self.verdict(token).await;
        }
        assert_eq!(verdict, "revoked");
    }

    /// The names of the entries of a token.
    async fn names(&self, token: &str) -> Vec<String> {
        let epoch = self.store.head().await.unwrap().epoch;
        let asked = self.question(token);
        let subject = asked.subject.map(|key| format!("curfew:{epoch}:subject:{key}"));
        [format!("curfew:{epoch}:token:{}", asked.token)].into_iter().chain(subject).collect()
    }
}

fn get(redis: &Redis, name: &str) -> Option<String> {
    redis::from_redis_value(redis.command(&["GET", name]).unwrap()).unwrap()
}

/// The number of entries of a kind.
fn entries(redis: &Redis, kind: &str) -> usize {
    let names = redis.command(&["KEYS", &format!("curfew:*:{kind}:*")]).unwrap();
    redis::from_redis_value::<Vec<String>>(names).unwrap().len()
}

fn number(redis: &Redis, words: &[&str]) -> i64 {
    redis::from_redis_value(redis.command(words).unwrap()).unwrap()
}
