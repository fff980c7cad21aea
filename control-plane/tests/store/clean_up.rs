//! The purge removes what is no longer needed, in portions, and never by a clock that has jumped ahead.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use curfew_control_plane::clock::{Clock, ClockMark, Doubt};
use curfew_control_plane::log::Cause;
use curfew_control_plane::store::command::{Purged, Subject, Unavailable};
use curfew_control_plane::store::{self, purge};

use crate::place::{ISSUER, Kind, NOW, Place, on_each_database, registration, token};

/// Seconds of Unix time, as the servers of the databases show it.
fn true_time() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

on_each_database! {
    also after an adoption;

    async fn many_rows_go_in_portions(place: &Place) {
        let plane = place.open().await;
        let tokens = (0..1000).map(|number| registration(token("alice", number))).collect();
        plane.store.writer().register(tokens).await.unwrap();
        let _ = plane.store.writer().logout_all(token("alice", 0), "alice".to_owned()).await.unwrap();
        place.advance(3600 + 5 + 2 + 60);
        assert_eq!(plane.store.writer().purge().await, Ok(Purged { tokens: 0, revocations: 0 }));
        place.advance(1);
        assert_eq!(plane.store.writer().purge().await, Ok(Purged { tokens: 500, revocations: 500 }));
        let rest = purge::everything(plane.store.writer(), &plane.counters).await;
        assert_eq!(rest, Ok(Purged { tokens: 500, revocations: 500 }));
        // The user's entry is still needed, and the seqs go on where they were.
        assert_eq!(place.counts().await, (0, 1, 1001));
    }

    async fn two_control_planes_purge_and_log_out_at_once(place: &Place) {
        let (one, other) = (place.open().await, place.open().await);
        let tokens: Vec<_> = (0..2000).map(|number| token("alice", number)).collect();
        for part in tokens.chunks(1000) {
            one.store.writer().register(part.iter().cloned().map(registration).collect()).await.unwrap();
        }
        let _ = one.store.writer().logout_all(tokens[0].clone(), "alice".to_owned()).await.unwrap();
        place.advance(3600 + 5 + 2 + 60 + 1);
        let purge = |plane: &crate::place::Plane| {
            let (writer, counters) = (plane.store.writer().clone(), plane.counters.clone());
            tokio::spawn(async move { purge::everything(&writer, &counters).await })
        };
        let purges = [purge(&one), purge(&other)];
        for number in 0..100 {
            let mut token = token("bob", number);
            token.expires_at = NOW + 100_000;
            let plane = if number % 2 == 0 { &one } else { &other };
            let _ = plane.store.writer().logout(token).await.unwrap();
        }
        let mut purged = 0;
        for purge in purges {
            purged += purge.await.unwrap().unwrap().tokens;
        }
        assert_eq!(purged, 2000);
        assert_eq!(place.counts().await.0, 100);
    }

    async fn a_clock_that_jumped_ahead_purges_nothing_that_lives(place: &Place) {
        let plane = place.open().await;
        let _ = plane.store.writer().logout(token("alice", 1)).await.unwrap();
        let jumped = Clock::new(|| NOW + 1_000_000).checked_by(|| NOW);
        let (store, _) = (place.open_with(jumped), plane);
        assert_eq!(store.store.writer().purge().await, Ok(Purged { tokens: 0, revocations: 0 }));
        assert_eq!(place.counts().await, (1, 1, 1));
        if place.kind != Kind::Sqlite {
            // A server's clock is a third clock. It is years behind the time of these stories.
            let both = Clock::new(|| NOW + 1_000_000).checked_by(|| NOW + 1_000_000);
            let store = place.open_with(both);
            assert_eq!(store.store.writer().purge().await, Ok(Purged { tokens: 0, revocations: 0 }));
        }
    }

    async fn a_start_with_the_clock_ahead_purges_nothing_that_lives(place: &Place) {
        drop(place.open().await);
        let now = true_time();
        let started = async |ahead: i64| {
            let clock = Clock::new(move || true_time() + ahead).checked_by(move || true_time() + ahead);
            store::reckon(&place.database(), &clock).await.unwrap();
            (place.open_with(clock.clone()), clock)
        };
        // The mark of this database is that of the stories, which is ahead of true time.
        place.execute(&format!("UPDATE clock_mark SET marked_at = {now}")).await;
        let (plane, clock) = started(0).await;
        assert_eq!(clock.moment().doubt(), None);
        let mut alive = token("alice", 1);
        alive.expires_at = now + 3600;
        let _ = plane.store.writer().logout(alive).await.unwrap();
        let before = place.counts().await;
        let nothing = Ok(Purged { tokens: 0, revocations: 0 });
        assert_eq!(plane.store.writer().purge().await, nothing);

        let (plane, clock) = started(40 * 24 * 3600).await;
        assert_eq!(clock.moment().doubt(), Some(Doubt::Ahead));
        for _ in 0..3 {
            assert_eq!(plane.store.writer().purge().await, nothing);
        }
        assert_eq!(place.counts().await, before);
        assert!(place.number("SELECT marked_at FROM clock_mark").await <= true_time());

        // With the clock behind, a logout of all devices is dated by the server's clock, or not carried out.
        let (plane, clock) = started(-1800).await;
        assert_eq!(clock.moment().doubt(), Some(Doubt::Behind));
        let subject = Subject { issuer: ISSUER.to_owned(), user: "carol".to_owned() };
        let revoked = plane.store.writer().revoke_user(vec![subject], Cause::LogoutAllDevice).await;
        if place.kind == Kind::Sqlite {
            assert_eq!(revoked.unwrap_err(), Unavailable::NotWritten);
            assert_eq!(place.counts().await, before);
            return;
        }
        let _ = revoked.unwrap();
        let cutoff = place.number("SELECT max(cutoff) FROM revocations WHERE kind = 'subject'").await;
        assert!(cutoff >= now, "{cutoff}, {now}");
    }

    async fn an_operator_sets_the_mark_and_control_planes_that_run_follow(place: &Place) {
        drop(place.open().await);
        let now = true_time();
        // The first start had a clock that was far ahead.
        place.execute(&format!("UPDATE clock_mark SET marked_at = {}", now + 1_000_000)).await;
        let clock = Clock::new(true_time).checked_by(true_time);
        store::reckon(&place.database(), &clock).await.unwrap();
        let plane = place.open_with(clock.clone());
        assert_eq!(clock.moment().doubt(), Some(Doubt::Behind));
        let (old, new) = store::accept_clock(&place.database(), &clock).await.unwrap();
        assert_eq!(old, Some(ClockMark { at: now + 1_000_000, accepted: 0 }));
        assert!(new.is_some_and(|mark| mark.accepted == 1 && (now..=true_time()).contains(&mark.at)), "{new:?}");
        plane.store.writer().purge().await.unwrap();
        assert_eq!(clock.moment().doubt(), None);
        assert!(place.number("SELECT marked_at FROM clock_mark").await <= true_time());
    }

    async fn rows_stay_for_the_audit_and_revocations_go(place: &Place) {
        drop(place.open().await);
        let kept = place.open_keeping(86_400);
        let _ = kept.store.writer().logout(token("alice", 1)).await.unwrap();
        let rest = 5 + 2 + 60;
        place.advance(3600 + rest + 1);
        assert_eq!(kept.store.writer().purge().await, Ok(Purged { tokens: 0, revocations: 1 }));
        place.advance(86_399);
        assert_eq!(kept.store.writer().purge().await, Ok(Purged { tokens: 0, revocations: 0 }));
        place.advance(1);
        assert_eq!(kept.store.writer().purge().await, Ok(Purged { tokens: 1, revocations: 0 }));
    }

    async fn a_logout_of_all_devices_leaves_rows_alone_that_are_kept_for_the_audit(place: &Place) {
        drop(place.open().await);
        let kept = place.open_keeping(86_400);
        kept.store.writer().register(vec![registration(token("alice", 1))]).await.unwrap();
        place.advance(3600 + 5 + 2 + 60 + 1);
        let subject = Subject { issuer: ISSUER.to_owned(), user: "alice".to_owned() };
        let _ = kept.store.writer().revoke_user(vec![subject], Cause::LogoutAllDevice).await.unwrap();
        assert_eq!(place.number("SELECT count(*) FROM revocations WHERE kind = 'token'").await, 0);
    }

    async fn logouts_are_not_held_up_by_many_rows_that_go(place: &Place) {
        let plane = place.open().await;
        place.fill_with_expired(40_000).await;
        let (writer, counters) = (plane.store.writer().clone(), plane.counters.clone());
        let purging = tokio::spawn(async move { purge::everything(&writer, &counters).await });
        let mut longest = Duration::ZERO;
        let mut meanwhile = 0;
        for number in 0..2000 {
            let mut token = token("bob", number);
            token.expires_at = NOW + 100_000;
            let asked = Instant::now();
            let _ = plane.store.writer().logout(token).await.unwrap();
            longest = longest.max(asked.elapsed());
            meanwhile = number + 1;
            if purging.is_finished() {
                break;
            }
        }
        let purged = purging.await.unwrap().unwrap();
        eprintln!("{:?}: {meanwhile} logouts while 40,000 rows went, the longest {longest:?}", place.kind);
        assert_eq!(purged.tokens, 40_000);
        // There are eighty portions, and each logout waits for one of them and not for all. This machine may be busy
        // with other tests.
        assert!(meanwhile >= 20, "{meanwhile}");
        assert!(longest < Duration::from_secs(5), "{longest:?}");
    }
}
