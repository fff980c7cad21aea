//! A history of the log that is replaced between a logout's commit and its confirmation. The new history may lack the
//! logout, so no caller is told that it is in force.

use std::sync::Arc;
use std::time::{Duration, Instant};

use curfew_control_plane::leases::Settings;
use curfew_control_plane::leases::protocol::LeaseTimes;
use curfew_control_plane::logout::{Finished, Logouts, Wait};
use curfew_control_plane::secret::Secret;
use curfew_control_plane::store::command::{TokenRecord, Unavailable};
use curfew_control_plane::store::{self, Database};
use curfew_core::verify_natively;
use serde_json::json;
use sqlx::Executor;

use crate::plane::{INTERNAL_SECRET, Plane};
use crate::tokens::{ISSUER, NOW, SECRET, token_of};
use crate::worker::Worker;

/// Long enough for a change of the history within it, on a busy machine.
const LEASE: Duration = Duration::from_millis(1_500);

async fn plane() -> Plane {
    let times = LeaseTimes { lease: LEASE, hold: LEASE / 3, ..LeaseTimes::default() };
    let policy = json!({"issuers": [{"issuer": ISSUER, "secret": SECRET}]});
    Plane::start_on_terms(policy, None, Settings { times, ..Settings::default() }).await
}

fn record(plane: &Plane, token: &str) -> TokenRecord {
    let (state, text) = (&plane.state, token.as_bytes());
    TokenRecord::from(&state.policy.prove(text, NOW, &state.keys.current(), verify_natively).unwrap())
}

async fn replace_history(plane: &Plane) {
    store::bump_epoch(&Database::in_file(&plane.file())).await.unwrap();
}

#[tokio::test]
async fn only_its_own_commit_confirms_a_logout_and_not_the_newest_one() {
    let plane = plane().await;
    let logouts = Logouts::new(Arc::clone(&plane.state.leases), &Secret::new(INTERNAL_SECRET));
    let writer = plane.store.writer();
    let first = writer.logout(record(&plane, &token_of("alice", "1"))).await.unwrap();
    replace_history(&plane).await;
    let second = writer.logout(record(&plane, &token_of("bob", "2"))).await.unwrap();
    assert_ne!(first.commit().head.epoch, second.commit().head.epoch);
    // The newest commit is confirmed. The first one is not, although nothing else waits.
    let finished = logouts.finish(second, Wait::UntilConfirmed).await;
    assert!(matches!(finished, Ok(Finished::Confirmed(_))), "{finished:?}");
    assert_eq!(logouts.confirm(first).await.unwrap_err(), Unavailable::Unconfirmed);
}

#[tokio::test]
async fn a_caller_that_waits_meanwhile_is_told_that_it_is_not_known() {
    let plane = plane().await;
    let mut dead = Worker::new(1);
    dead.start(&plane).await;
    let (waits, later) = (token_of("alice", "1"), token_of("bob", "2"));
    let replaced = async {
        // Waits until the first logout is committed.
        while plane.rows().await.2 == 0 {
            tokio::task::yield_now().await;
        }
        replace_history(&plane).await;
        plane.logout(&later).await
    };
    let (waited, after) = tokio::join!(plane.logout(&waits), replaced);
    assert_eq!(
        waited.whole(),
        "503\ncache-control: no-store\ncontent-type: application/problem+json\nretry-after: 1\n\n\
         {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
         \"detail\":\"The request was not confirmed: a token to be logged out may still be valid. Try again.\",\
         \"code\":\"unavailable\"}"
    );
    assert_eq!(after.status, 200, "{}", after.whole());
}

#[tokio::test]
async fn a_caller_that_waits_while_the_database_turns_out_not_to_be_believed_is_told_that_it_is_not_known() {
    let plane = plane().await;
    let mut dead = Worker::new(1);
    dead.start(&plane).await;
    let token = token_of("alice", "1");
    let goes_back = async {
        while plane.rows().await.2 == 0 {
            tokio::task::yield_now().await;
        }
        // The control plane has seen the commit, and the log lacks it now.
        let mut database = plane.database().await;
        database.execute("UPDATE feed_head SET seq = seq - 1").await.unwrap();
        assert!(plane.store.head().await.is_err());
    };
    let (waited, ()) = tokio::join!(plane.logout(&token), goes_back);
    assert_eq!(waited.problem(), (503, "unavailable".to_owned()), "{}", waited.whole());
    assert!(dead.lease_until.unwrap() > Instant::now(), "the wait ended with the lease, and not with the distrust");
}
