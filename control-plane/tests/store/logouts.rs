//! The effect of logouts on tokens.

use curfew_control_plane::log::Cause;
use curfew_control_plane::store::command::{LogoutOutcome, Reached, Registered, Subject, TokenRecord};
use curfew_control_plane::store::sessions::SessionQuery;
use curfew_core::Kind as RevocationKind;
use curfew_core::wire::CheckVerdict::{Active, Revoked};

use crate::place::{ISSUER, Kind, NOW, Place, answered, on_each_database, outcome, registration, token};

on_each_database! {
    also after an adoption;

    async fn a_token_is_logged_out_once(place: &Place) {
        let plane = place.open().await;
        let (hers, his) = (token("alice", 1), token("bob", 1));
        assert_eq!(plane.verdict(&hers).await, Active);
        assert_eq!(plane.store.writer().logout(hers.clone()).await.map(outcome), Ok(LogoutOutcome::LoggedOut));
        assert_eq!((plane.verdict(&hers).await, plane.verdict(&his).await), (Revoked, Active));
        assert_eq!(plane.store.writer().logout(hers).await.map(outcome), Ok(LogoutOutcome::AlreadyRevoked));
        assert_eq!(place.counts().await, (1, 1, 1));
    }

    async fn a_logout_of_all_devices_ends_known_and_unknown_tokens(place: &Place) {
        let plane = place.open().await;
        let (first, second, unknown, his) = (token("alice", 1), token("alice", 2), token("alice", 3), token("bob", 1));
        let registrations = [&first, &second, &his].map(|token| registration(token.clone())).to_vec();
        let registered = plane.store.writer().register(registrations.clone()).await;
        assert_eq!(registered, Ok(Registered { new: 3, known: 0, revoked: 0 }));
        assert_eq!(plane.store.writer().register(registrations).await, Ok(Registered { new: 0, known: 3, revoked: 0 }));
        let ended = plane.store.writer().logout_all(first.clone(), "alice".to_owned()).await;
        assert_eq!(ended.map(outcome), Ok(LogoutOutcome::LoggedOut));
        for token in [&first, &second, &unknown] {
            assert_eq!(plane.verdict(token).await, Revoked);
        }
        assert_eq!(plane.verdict(&his).await, Active);
        // Two tokens by their token ids, and the user.
        assert_eq!(place.counts().await, (3, 3, 3));
    }

    async fn all_that_is_stored_about_a_token_is_read_at_one_moment(place: &Place) {
        let plane = place.open().await;
        let (phone, laptop) = (token("alice", 1), token("alice", 2));
        plane.store.writer().register(vec![registration(phone.clone())]).await.unwrap();
        let explain = async |token: &TokenRecord| {
            answered(async || plane.store.explain(&token.keys, token.cutoff_time).await).await
        };
        let unknown = explain(&laptop).await;
        assert_eq!((unknown.verdict, unknown.registration, unknown.revocations), (Active, None, vec![]));
        let ended = plane.store.writer().logout_all(phone.clone(), "alice".to_owned()).await;
        assert_eq!(ended.map(outcome), Ok(LogoutOutcome::LoggedOut));
        let known = explain(&phone).await;
        let found = known.revocations.iter().map(|it| (it.seq, it.kind, it.reason.as_str(), it.actor.as_str()));
        assert_eq!(
            found.collect::<Vec<_>>(),
            [(1, RevocationKind::Token, "logout_all_device", "user"), (2, RevocationKind::Subject, "logout_all_device", "user")]
        );
        assert_eq!((known.verdict, known.position.seq), (Revoked, 2));
        let row = known.registration.unwrap();
        assert_eq!((row.blocked, row.block_reason.as_deref()), (true, Some("logout_all_device")));
    }

    async fn a_user_is_logged_out_again_and_the_entry_moves_up(place: &Place) {
        let plane = place.open().await;
        let alice = || vec![Subject { issuer: ISSUER.to_owned(), user: "alice".to_owned() }];
        let _ = plane.store.writer().revoke_user(alice(), Cause::LgtAll).await.unwrap();
        place.advance(-5);
        let _ = plane.store.writer().revoke_user(alice(), Cause::LgtAll).await.unwrap();
        assert_eq!(place.counts().await, (0, 1, 2));
        assert_eq!(place.number("SELECT seq FROM revocations").await, 2);
        // The wall clock was set back, but the cutoff was not.
        assert_eq!(place.number("SELECT cutoff FROM revocations").await, NOW);
    }

    async fn a_logout_of_a_user_says_what_was_known_of_the_user(place: &Place) {
        let plane = place.open().await;
        let (phone, laptop) = (token("alice", 1), token("alice", 2));
        let registrations = [&phone, &laptop].map(|token| registration(token.clone())).to_vec();
        plane.store.writer().register(registrations).await.unwrap();
        let reached = async |user: &str| {
            let subject = Subject { issuer: ISSUER.to_owned(), user: user.to_owned() };
            *plane.store.writer().revoke_user(vec![subject], Cause::LgtAll).await.unwrap().outcome()
        };
        assert_eq!(reached("alice").await, Reached { tokens: 2, known: true });
        assert_eq!(reached("alice").await, Reached { tokens: 0, known: true });
        // A logout by itself makes no user known: the id may be misspelt each time.
        for _ in 0..2 {
            assert_eq!(reached("nobody").await, Reached { tokens: 0, known: false });
        }
    }

    async fn a_token_registered_in_the_second_of_the_logout_lives(place: &Place) {
        let plane = place.open().await;
        let alice = vec![Subject { issuer: ISSUER.to_owned(), user: "alice".to_owned() }];
        let _ = plane.store.writer().revoke_user(alice, Cause::LgtAll).await.unwrap();
        let mut new = token("alice", 1);
        new.cutoff_time = Some(NOW);
        assert_eq!(plane.verdict(&new).await, Revoked);
        plane.store.writer().register(vec![registration(new.clone())]).await.unwrap();
        assert_eq!(plane.verdict(&new).await, Active);
    }

    async fn a_tie_that_is_logged_out_before_its_registration_stays_dead(place: &Place) {
        let plane = place.open().await;
        let alice = vec![Subject { issuer: ISSUER.to_owned(), user: "alice".to_owned() }];
        let _ = plane.store.writer().revoke_user(alice, Cause::LgtAll).await.unwrap();
        for (number, all) in [(1, false), (2, true)] {
            let mut new = token("alice", number);
            (new.issued_at, new.cutoff_time) = (Some(NOW), Some(NOW));
            let writer = plane.store.writer();
            let ended = match all {
                false => writer.logout(new.clone()).await,
                true => writer.logout_all(new.clone(), "alice".to_owned()).await,
            };
            // The caller takes this for done.
            assert_eq!(ended.map(outcome), Ok(LogoutOutcome::OfSameSecond));
            let registered = writer.register(vec![registration(new.clone())]).await;
            assert_eq!(registered, Ok(Registered { new: 0, known: 1, revoked: 1 }));
            assert_eq!(plane.verdict(&new).await, Revoked);
        }
    }

    async fn the_list_of_sessions_shows_what_was_stored(place: &Place) {
        let plane = place.open().await;
        let (first, mut second) = (token("alice", 1), token("alice", 2));
        second.issued_at = Some(NOW - 5);
        second.session_id = Some("a session".to_owned());
        plane.store.writer().register(vec![registration(first.clone()), registration(second.clone())]).await.unwrap();
        let _ = plane.store.writer().logout(first.clone()).await.unwrap();
        let query = |issuer: Option<&str>| SessionQuery {
            user: "alice".to_owned(),
            issuer: issuer.map(str::to_owned),
            limit: 10,
        };
        let sessions = answered(async || plane.store.sessions(&query(None), NOW).await).await;
        assert_eq!(answered(async || plane.store.sessions(&query(Some(ISSUER)), NOW).await).await, sessions);
        assert_eq!(answered(async || plane.store.sessions(&query(Some("https://other.example.com")), NOW).await).await, []);
        assert_eq!(answered(async || plane.store.sessions(&query(None), NOW + 3600).await).await, []);
        let shown: Vec<_> = sessions.iter().map(|session| (session.token_id, session.blocked)).collect();
        assert_eq!(shown, [(second.keys.token, false), (first.keys.token, true)]);
        assert_eq!(
            serde_json::to_value(&sessions[0]).unwrap(),
            serde_json::json!({
                "token_id": second.keys.token, "issuer": ISSUER, "session_id": "a session", "issued_at": NOW - 5,
                "expires_at": NOW + 3600, "user_agent": "Browser 1.0 \u{1f98a}", "ip": "192.0.2.7", "blocked": false,
                "blocked_at": null, "block_reason": null
            })
        );
        assert_eq!((sessions[1].blocked_at, sessions[1].block_reason.as_deref()), (Some(NOW), Some("logout")));
    }

    async fn a_token_that_is_registered_twice_at_once_is_one_token(place: &Place) {
        let plane = place.open().await;
        let twice = vec![registration(token("alice", 1)), registration(token("alice", 1)), registration(token("bob", 1))];
        let registered = plane.store.writer().register(twice).await;
        assert_eq!(registered, Ok(Registered { new: 2, known: 1, revoked: 0 }));
        assert_eq!(place.counts().await, (2, 0, 0));
    }

    async fn more_tokens_than_one_logout_revokes_one_by_one_are_dead_by_the_users_entry(place: &Place) {
        let plane = place.open().await;
        for thousand in 0..21 {
            let tokens = (0..1000).map(|number| registration(token("alice", 1000 * thousand + number))).collect();
            plane.store.writer().register(tokens).await.unwrap();
        }
        // A tie, which the user's entry leaves to the token's row, and a token that is dated ahead.
        let (mut tie, mut ahead) = (token("alice", 100_000), token("alice", 100_001));
        (tie.issued_at, tie.cutoff_time) = (Some(NOW), Some(NOW));
        (ahead.issued_at, ahead.cutoff_time) = (Some(NOW + 3), Some(NOW + 3));
        plane.store.writer().register(vec![registration(tie.clone()), registration(ahead.clone())]).await.unwrap();
        let _ = plane.store.writer().logout_all(token("alice", 7), "alice".to_owned()).await.unwrap();
        assert_eq!(place.number("SELECT count(*) FROM revocations WHERE kind = 'token'").await, 20_001);
        for token in [tie, ahead].into_iter().chain((0..21_000).step_by(700).map(|number| token("alice", number))) {
            assert_eq!(plane.verdict(&token).await, Revoked);
        }
    }

    async fn ten_thousand_tokens_end_in_one_transaction(place: &Place) {
        let plane = place.open().await;
        for thousand in 0..10 {
            let tokens = (0..1000).map(|number| registration(token("alice", 1000 * thousand + number))).collect();
            plane.store.writer().register(tokens).await.unwrap();
        }
        let started = std::time::Instant::now();
        let _ = plane.store.writer().logout_all(token("alice", 7), "alice".to_owned()).await.unwrap();
        eprintln!("{:?}: {:?} for a logout of 10,000 tokens", place.kind, started.elapsed());
        assert_eq!(place.counts().await, (10_000, 10_001, 10_001));
        let alive = "SELECT count(*) FROM user_token_logs WHERE is_block = 0";
        assert_eq!(place.number(alive).await, 0);
        assert_eq!(place.number("SELECT max(seq) - min(seq) FROM revocations").await, 10_000);
    }
}
