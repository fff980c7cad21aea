//! Settings under which tokens live longer than the entries that were made for them.

use curfew_control_plane::log::Cause;
use curfew_control_plane::store::command::Subject;
use curfew_control_plane::store::{self, Settings};

use crate::place::{ISSUER, Kind, NOW, Place, on_each_database, registration, settings, token};

const DAY: i64 = 24 * 3600;

async fn prolonged(place: &Place, settings: &Settings) -> u64 {
    store::prepare(&place.database(), settings, NOW, false).await.unwrap().prolonged
}

async fn ends(place: &Place) -> (i64, i64) {
    (
        place.number("SELECT max(expires_at) FROM revocations WHERE kind = 'token'").await,
        place.number("SELECT max(expires_at) FROM revocations WHERE kind = 'subject'").await,
    )
}

on_each_database! {
    async fn longer_lives_and_a_larger_skew_reach_the_entries_that_are_there(place: &Place) {
        let plane = place.open().await;
        let _ = plane.store.writer().logout(token("alice", 1)).await.unwrap();
        let bob = vec![Subject { issuer: ISSUER.to_owned(), user: "bob".to_owned() }];
        let _ = plane.store.writer().revoke_user(bob, Cause::LgtAll).await.unwrap();
        let (token_end, subject_end) = (NOW + 3600 + 5 + 2 + 60, NOW + 30 * DAY + 5 + 5 + 2 + 60);
        assert_eq!(ends(place).await, (token_end, subject_end));
        let mut longer = settings();
        longer.retention.max_token_ttl = 60 * DAY;
        assert_eq!(prolonged(place, &longer).await, 1);
        assert_eq!(ends(place).await, (token_end, subject_end + 30 * DAY));
        assert_eq!(place.number("SELECT live_until FROM subject_keyspaces").await, subject_end + 30 * DAY);
        // The new skew is longer than the margin: a token would have outlived its entry by four minutes.
        longer.retention.clock_skew = 305;
        assert_eq!(prolonged(place, &longer).await, 2);
        assert_eq!(ends(place).await, (token_end + 300, subject_end + 30 * DAY + 600));
        assert_eq!(prolonged(place, &longer).await, 0);
    }

    async fn a_start_that_asks_for_no_more_looks_at_no_entry(place: &Place) {
        let plane = place.open().await;
        let _ = plane.store.writer().logout(token("alice", 1)).await.unwrap();
        // A start that looked at the entry would find it too short.
        place.execute("UPDATE revocations SET expires_at = 1").await;
        assert_eq!(prolonged(place, &settings()).await, 0);
        place.execute("UPDATE retention_kept SET token_rest = 1").await;
        assert_eq!(prolonged(place, &settings()).await, 1);
    }

    async fn a_control_plane_with_shorter_settings_keeps_entries_for_as_long(place: &Place) {
        let plane = place.open().await;
        let mut longer = settings();
        longer.retention.clock_skew = 305;
        prolonged(place, &longer).await;
        let _ = plane.store.writer().logout(token("alice", 1)).await.unwrap();
        plane.store.writer().register(vec![registration(token("alice", 2))]).await.unwrap();
        let _ = plane.store.writer().logout_all(token("alice", 3), "alice".to_owned()).await.unwrap();
        let token_end = NOW + 3600 + 305 + 2 + 60;
        assert_eq!(ends(place).await, (token_end, NOW + 30 * DAY + 305 + 305 + 2 + 60));
        assert_eq!(place.number("SELECT min(expires_at) FROM revocations").await, token_end);
    }

    async fn many_entries_are_gone_through_in_portions(place: &Place) {
        let plane = place.open().await;
        for thousand in 0..21 {
            let tokens = (0..1000).map(|number| registration(token("alice", 1000 * thousand + number))).collect();
            plane.store.writer().register(tokens).await.unwrap();
        }
        // All tokens are dated ahead, so each of them gets its own entry.
        place.execute(&format!("UPDATE user_token_logs SET issued_at = {}", NOW + 1)).await;
        let _ = plane.store.writer().logout_all(token("alice", 7), "alice".to_owned()).await.unwrap();
        let mut longer = settings();
        longer.retention.clock_skew = 305;
        assert_eq!(prolonged(place, &longer).await, 21_001);
        assert_eq!(
            place.number("SELECT min(expires_at) FROM revocations WHERE kind = 'token'").await,
            NOW + 3600 + 305 + 2 + 60
        );
    }
}
