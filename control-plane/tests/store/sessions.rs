//! Logouts of a session, and of all other sessions.

use curfew_control_plane::log::Cause;
use curfew_control_plane::store::command::{LogoutOutcome, LogoutScope, Subject, TokenRecord};
use curfew_core::wire::CheckVerdict::{Active, Revoked};
use curfew_core::{Kind as RevocationKind, RevocationKey};

use crate::place::{ISSUER, Kind, NOW, Place, Plane, answered, on_each_database, outcome, registration, token};

fn of_session(user: &str, number: u64, session: &str) -> TokenRecord {
    let mut token = token(user, number);
    token.session_id = Some(session.to_owned());
    token.keys.session = Some(RevocationKey::session(ISSUER, session));
    token
}

fn issued_at(token: &TokenRecord, at: i64) -> TokenRecord {
    TokenRecord { issued_at: Some(at), cutoff_time: Some(at), ..token.clone() }
}

async fn log_out(plane: &Plane, token: &TokenRecord, scope: LogoutScope) -> LogoutOutcome {
    plane.store.writer().logout_scope(token.clone(), scope).await.map(outcome).unwrap()
}

async fn log_out_others(plane: &Plane, token: &TokenRecord) {
    let ended = log_out(plane, token, LogoutScope::Others("alice".to_owned())).await;
    assert_eq!(ended, LogoutOutcome::LoggedOut);
}

fn session(name: &str) -> LogoutScope {
    LogoutScope::Session(name.to_owned())
}

on_each_database! {
    also after an adoption;

    async fn a_session_ends_with_all_its_tokens_and_no_other(place: &Place) {
        let plane = place.open().await;
        let [old, new, later] = [1, 2, 3].map(|number| of_session("alice", number, "s"));
        let (other, plain) = (of_session("alice", 4, "t"), token("alice", 5));
        let known = [&old, &other, &plain].map(|token| registration(token.clone())).to_vec();
        plane.store.writer().register(known).await.unwrap();
        assert_eq!(log_out(&plane, &new, session("s")).await, LogoutOutcome::LoggedOut);
        for token in [&old, &new, &later, &issued_at(&later, NOW + 100)] {
            assert_eq!(plane.verdict(token).await, Revoked);
        }
        assert_eq!((plane.verdict(&other).await, plane.verdict(&plain).await), (Active, Active));
        let blocked = "SELECT count(*) FROM user_token_logs WHERE is_block = 1 AND block_reason = 'logout_session'";
        assert_eq!(place.number(blocked).await, 2, "the known one, and that of the call");
        // What is registered later is dead from the start.
        let registered = plane.store.writer().register(vec![registration(later.clone())]).await.unwrap();
        assert_eq!((registered.new, registered.revoked), (1, 1));
        assert_eq!(log_out(&plane, &later, session("s")).await, LogoutOutcome::AlreadyRevoked);
    }

    async fn a_session_of_another_user_or_issuer_is_another_one(place: &Place) {
        let plane = place.open().await;
        let hers = of_session("alice", 1, "s");
        let mut elsewhere = of_session("alice", 2, "s");
        elsewhere.issuer = "https://other.example.com".to_owned();
        elsewhere.keys.session = Some(RevocationKey::session(&elsewhere.issuer, "s"));
        plane.store.writer().register(vec![registration(elsewhere.clone())]).await.unwrap();
        log_out(&plane, &hers, session("s")).await;
        assert_eq!(plane.verdict(&elsewhere).await, Active);
        assert_eq!(place.number("SELECT count(*) FROM user_token_logs WHERE is_block = 1").await, 1);
    }

    async fn a_logout_of_the_others_spares_the_callers_session_registered_or_not(place: &Place) {
        let plane = place.open().await;
        let [mine, refreshed, theirs, unknown] =
            [(1, "m"), (2, "m"), (3, "t"), (4, "u")].map(|(number, name)| of_session("alice", number, name));
        let (plain, his) = (token("alice", 5), of_session("bob", 1, "b"));
        let known = [&mine, &theirs, &plain, &his].map(|token| registration(token.clone())).to_vec();
        plane.store.writer().register(known).await.unwrap();
        log_out_others(&plane, &mine).await;
        for token in [&mine, &refreshed, &his, &issued_at(&of_session("alice", 7, "t"), NOW + 1)] {
            assert_eq!(plane.verdict(token).await, Active);
        }
        for token in [&theirs, &unknown, &plain] {
            assert_eq!(plane.verdict(token).await, Revoked);
        }
        let blocked = "SELECT count(*) FROM user_token_logs WHERE is_block = 1 AND block_reason = 'logout_others'";
        assert_eq!(place.number(blocked).await, 2);
        // Others may log out the caller in turn, from a session that began later.
        let newer = of_session("alice", 6, "n");
        log_out_others(&plane, &issued_at(&newer, NOW + 1)).await;
        assert_eq!((plane.verdict(&mine).await, plane.verdict(&issued_at(&newer, NOW + 1)).await), (Revoked, Active));
        assert_eq!(plane.verdict(&refreshed).await, Revoked);
    }

    async fn a_caller_that_was_registered_under_another_session_stays_all_the_same(place: &Place) {
        let plane = place.open().await;
        let (mine, other) = (of_session("alice", 1, "m"), of_session("alice", 2, "t"));
        let under_other_settings = TokenRecord { session_id: Some("another claim's".to_owned()), ..mine.clone() };
        let known = [&under_other_settings, &other].map(|token| registration(token.clone())).to_vec();
        plane.store.writer().register(known).await.unwrap();
        log_out_others(&plane, &mine).await;
        assert_eq!((plane.verdict(&mine).await, plane.verdict(&other).await), (Active, Revoked));
        // Another claim would spare other sessions.
        let mut settings = crate::place::settings();
        settings.rules[1].claim = "session_state".to_owned();
        let prepared = curfew_control_plane::store::prepare(&place.database(), &settings, NOW, false).await.unwrap();
        assert_eq!(prepared.orphaned.len(), 1);
    }

    async fn without_a_session_the_token_itself_is_spared(place: &Place) {
        let plane = place.open().await;
        let [mine, other] = [1, 2].map(|number| token("alice", number));
        let known = [&mine, &other].map(|token| registration(token.clone())).to_vec();
        plane.store.writer().register(known).await.unwrap();
        log_out_others(&plane, &mine).await;
        log_out_others(&plane, &mine).await;
        assert_eq!((plane.verdict(&mine).await, plane.verdict(&other).await), (Active, Revoked));
        assert_eq!(place.number("SELECT count(*) FROM revocations WHERE kind IN ('others', 'spared')").await, 2);
        // A logout of all devices spares nothing.
        let _ = plane.store.writer().logout_all(mine.clone(), "alice".to_owned()).await.unwrap();
        assert_eq!(plane.verdict(&mine).await, Revoked);
    }

    async fn the_same_call_in_the_same_second_writes_nothing_new(place: &Place) {
        let plane = place.open().await;
        let (mine, other) = (of_session("alice", 1, "m"), of_session("alice", 2, "t"));
        log_out_others(&plane, &mine).await;
        let written = place.counts().await;
        for _ in 0..3 {
            log_out_others(&plane, &mine).await;
        }
        assert_eq!(place.counts().await, written);
        // What was registered since is revoked all the same.
        plane.store.writer().register(vec![registration(issued_at(&other, NOW))]).await.unwrap();
        log_out_others(&plane, &mine).await;
        assert_eq!(plane.verdict(&issued_at(&other, NOW)).await, Revoked);
        assert!(place.counts().await.2 > written.2);
        place.advance(1);
        let before = place.counts().await.2;
        log_out_others(&plane, &mine).await;
        assert_eq!(place.counts().await.2, before + 2, "a later cutoff, and what it spares");
    }

    async fn what_was_spared_is_explained(place: &Place) {
        let plane = place.open().await;
        let (mine, theirs) = (of_session("alice", 1, "m"), of_session("alice", 2, "t"));
        log_out_others(&plane, &mine).await;
        let explain = async |token: &TokenRecord| {
            let explained = answered(async || plane.store.explain(&token.keys, token.cutoff_time).await).await;
            let found = explained.revocations.iter().map(|it| (it.kind, format!("{:?}", it.covers)));
            (explained.verdict, found.collect::<Vec<_>>())
        };
        assert_eq!(explain(&mine).await, (Active, vec![(RevocationKind::Others, "Spared".to_owned())]));
        assert_eq!(explain(&theirs).await, (Revoked, vec![(RevocationKind::Others, "Yes".to_owned())]));
        let late = issued_at(&theirs, NOW + 1);
        assert_eq!(explain(&late).await, (Active, vec![(RevocationKind::Others, "No".to_owned())]));
    }

    async fn the_log_names_what_is_spared_before_what_would_cover_it(place: &Place) {
        let plane = place.open().await;
        log_out_others(&plane, &of_session("alice", 1, "m")).await;
        place.advance(5);
        log_out_others(&plane, &issued_at(&of_session("alice", 2, "n"), NOW + 3)).await;
        for (seq, kind) in [(3, "subject"), (4, "spared"), (5, "others")] {
            let found = format!("SELECT count(*) FROM revocations WHERE seq = {seq} AND kind = '{kind}'");
            assert_eq!(place.number(&found).await, 1, "{kind}");
        }
        let all = "SELECT cutoff FROM revocations WHERE kind = 'subject'";
        assert_eq!(place.number(all).await, NOW, "both were logged out up to the first call");
    }

    async fn entries_of_sessions_outlive_the_longest_token(place: &Place) {
        let plane = place.open().await;
        log_out(&plane, &of_session("alice", 1, "s"), session("s")).await;
        log_out_others(&plane, &of_session("bob", 1, "t")).await;
        let life = 30 * 24 * 3600 + 5 + 5 + 2 + 60;
        let kept = "SELECT count(*) FROM revocations WHERE kind IN ('session', 'others', 'spared') AND expires_at = ";
        assert_eq!(place.number(&format!("{kept}{}", NOW + life)).await, 3);
        // Other settings for sessions are told as those for users are.
        let mut settings = crate::place::settings();
        settings.rules[1].claim = "session_state".to_owned();
        let prepared = curfew_control_plane::store::prepare(&place.database(), &settings, NOW, false).await.unwrap();
        let told: Vec<_> = prepared.orphaned.iter().map(ToString::to_string).collect();
        assert_eq!(told, [format!("issuer \"{ISSUER}\", CURFEW_SESSION_CLAIM=sid, in force until {}", NOW + life)]);
        // Longer lives of tokens prolong them.
        settings = crate::place::settings();
        settings.retention.max_token_ttl *= 2;
        let prepared = curfew_control_plane::store::prepare(&place.database(), &settings, NOW, false).await.unwrap();
        assert!(prepared.prolonged >= 3, "{prepared:?}");
        assert_eq!(place.number(&format!("{kept}{}", NOW + life)).await, 0);
    }

    async fn logouts_of_users_and_of_others_add_up(place: &Place) {
        let plane = place.open().await;
        let mine = of_session("alice", 1, "m");
        log_out_others(&plane, &mine).await;
        place.advance(10);
        let alice = vec![Subject { issuer: ISSUER.to_owned(), user: "alice".to_owned() }];
        let _ = plane.store.writer().revoke_user(alice, Cause::LgtAll).await.unwrap();
        assert_eq!(plane.verdict(&mine).await, Revoked);
        let newer = issued_at(&of_session("alice", 2, "m"), NOW + 11);
        assert_eq!(plane.verdict(&newer).await, Active);
    }
}
