//! Settings under which earlier logouts of all devices would no longer cover any token.

use curfew_control_plane::log::Cause;
use curfew_control_plane::store::command::Subject;
use curfew_control_plane::store::{self, Prepared, Settings};

use crate::place::{ISSUER, Kind, NOW, Place, on_each_database, settings};

fn with_claim(claim: &str) -> Settings {
    let mut settings = settings();
    settings.rules[0].claim = claim.to_owned();
    settings
}

async fn prepared(place: &Place, settings: &Settings, now: i64, accept: bool) -> Prepared {
    store::prepare(&place.database(), settings, now, accept).await.unwrap()
}

on_each_database! {
    async fn a_new_claim_is_told_while_old_logouts_are_in_force(place: &Place) {
        let plane = place.open().await;
        // No user has been logged out yet, so any settings are accepted.
        assert_eq!(prepared(place, &with_claim("user_id"), NOW, false).await, Prepared::default());
        let alice = vec![Subject { issuer: ISSUER.to_owned(), user: "alice".to_owned() }];
        let _ = plane.store.writer().revoke_user(alice, Cause::LgtAll).await.unwrap();
        let until = NOW + 30 * 24 * 3600 + 5 + 5 + 2 + 60;
        let told = prepared(place, &with_claim("user_id"), NOW, false).await;
        let lines: Vec<_> = told.orphaned.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [format!(
                "issuer \"{ISSUER}\", CURFEW_USER_CLAIM=sub, CURFEW_ISSUED_AT_CLAIM=iat, in force until {until}"
            )]
        );
        // The old settings are accepted, and so are others when no logout is in force any more.
        assert_eq!(prepared(place, &settings(), NOW, false).await.orphaned, []);
        assert_eq!(prepared(place, &with_claim("user_id"), until, false).await.orphaned, []);
        assert_eq!(prepared(place, &with_claim("user_id"), NOW, true).await.orphaned.len(), 1);
        assert_eq!(prepared(place, &with_claim("user_id"), NOW, false).await.orphaned, []);
    }

    async fn entries_from_before_rules_were_written_down_count(place: &Place) {
        let plane = place.open().await;
        let alice = vec![Subject { issuer: ISSUER.to_owned(), user: "alice".to_owned() }];
        let _ = plane.store.writer().revoke_user(alice, Cause::LgtAll).await.unwrap();
        place.execute("DELETE FROM subject_keyspaces").await;
        assert_eq!(prepared(place, &settings(), NOW, false).await.orphaned, []);
        assert_eq!(prepared(place, &with_claim("user_id"), NOW, false).await.orphaned.len(), 1);
    }
}
