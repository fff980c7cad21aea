//! Users and issuers are compared by their bytes, even where a database's collation finds them equal.

use curfew_control_plane::log::Cause;
use curfew_control_plane::store::command::Subject;
use curfew_control_plane::store::sessions::SessionQuery;
use curfew_core::wire::CheckVerdict::{Active, Revoked};

use crate::place::{ISSUER, Kind, NOW, Place, answered, on_each_database, registration, token};

on_each_database! {
    async fn users_that_look_alike_are_different_users(place: &Place) {
        let plane = place.open().await;
        let users = ["a", "A", "a ", "\u{e4}", "a\u{308}", "\u{ff41}", " a", "\u{df}", "ss", "%", "_", "a'--"];
        let tokens: Vec<_> = users.iter().map(|user| token(user, 1)).collect();
        let registrations = tokens.iter().map(|token| registration(token.clone())).collect();
        plane.store.writer().register(registrations).await.unwrap();
        for (ended, user) in users.iter().enumerate() {
            let query = SessionQuery { user: (*user).to_owned(), issuer: None, limit: 10 };
            let sessions = answered(async || plane.store.sessions(&query, NOW).await).await;
            assert_eq!(sessions.iter().map(|session| session.token_id).collect::<Vec<_>>(), [tokens[ended].keys.token]);
            let subject = Subject { issuer: ISSUER.to_owned(), user: (*user).to_owned() };
            let _ = plane.store.writer().revoke_user(vec![subject], Cause::LgtAll).await.unwrap();
            for (index, token) in tokens.iter().enumerate() {
                let expected = if index <= ended { Revoked } else { Active };
                assert_eq!(plane.verdict(token).await, expected, "{user:?} and {:?}", users[index]);
            }
        }
    }

    async fn the_longest_names_fit(place: &Place) {
        let plane = place.open().await;
        let mut longest = token(&"\u{1f98a}".repeat(64), 1);
        longest.issuer = "i".repeat(1024);
        longest.session_id = Some("s".repeat(256));
        let mut registration = registration(longest.clone());
        registration.user_agent = Some("\u{1f98a}".repeat(128));
        plane.store.writer().register(vec![registration]).await.unwrap();
        let _ = plane.store.writer().logout(longest.clone()).await.unwrap();
        assert_eq!(plane.verdict(&longest).await, Revoked);
    }
}
