//! The only writes to the application's table: blanks in the place of raw tokens.

use std::time::Duration;

use curfew_core::wire::CheckVerdict::Revoked;

use super::*;

on_each_database! {
    async fn raw_tokens_are_blanked_when_that_is_asked_for(place: &Place) {
        let old = place.application(place.kind, "a");
        fill(&old).await;
        let forget = Plan { forget: true, ..PLAN };
        assert_eq!(run(&old, place, Plan { apply: false, ..forget }).await.unwrap().unwrap().forgotten, 6);
        assert_eq!(run(&old, place, forget).await.unwrap().unwrap().forgotten, 6);
        // A text that is not a readable token is not thrown away.
        assert_eq!(
            texts(&old).await,
            ["curfew:1", "curfew:2", "not a token", "curfew:4", "curfew:5", "curfew:6", "curfew:7", ""]
        );
        assert_eq!(old.number("SELECT count(*) FROM user_token_logs WHERE updated_at = '2026-11-01 10:00:00'").await, 8);
        assert_eq!(run(&old, place, forget).await.unwrap().unwrap().before, 6);
        let plane = place.open().await;
        assert_eq!(plane.verdict(&record(&living(2))).await, Revoked);
        // A row that is blocked after its token is gone is still known by its mark.
        old.execute(&format!("UPDATE user_token_logs SET is_block = {} WHERE id = 1", yes(&old))).await;
        assert_eq!(run(&old, place, Plan { apply: false, ..PLAN }).await.unwrap().unwrap().revoked, 1);
        assert_eq!(adopt_all(&old, place).await.revoked, 1);
        assert_eq!(plane.verdict(&record(&living(1))).await, Revoked);
    }

    async fn raw_tokens_can_be_blanked_later(place: &Place) {
        let old = place.application(place.kind, "a");
        fill(&old).await;
        adopt_all(&old, place).await;
        assert_eq!(run(&old, place, Plan { forget: true, ..PLAN }).await.unwrap().unwrap().forgotten, 6);
        assert_eq!(adopt_all(&old, place).await.before, 6);
    }

    async fn rows_with_one_token_that_is_gone_are_revoked_once(place: &Place) {
        let old = place.application(place.kind, "a");
        make_old_table(&old).await;
        for _ in 0..2 {
            insert(&old, &living(1), false).await;
        }
        run(&old, place, Plan { forget: true, ..PLAN }).await.unwrap();
        old.execute(&format!("UPDATE user_token_logs SET is_block = {}", yes(&old))).await;
        assert_eq!(run(&old, place, Plan { apply: false, ..PLAN }).await.unwrap().unwrap().revoked, 1);
        assert_eq!(adopt_all(&old, place).await.revoked, 1);
        assert_eq!(known(place).await, (vec![(record(&living(1)).keys.token.to_string(), 1)], 1, 1));
        assert_eq!(adopt_all(&old, place).await.before, 2);
    }

    async fn a_token_that_takes_the_place_of_another_meanwhile_is_not_blanked_unread(place: &Place) {
        let old = place.application(place.kind, "a");
        make_old_table(&old).await;
        insert(&old, &living(1), false).await;
        adopt_all(&old, place).await;
        // The application's transaction has changed the row, while the run reads the row as it was before.
        let begin = if place.kind == Kind::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
        let mut application = old.connection().await;
        let replace = format!("UPDATE user_token_logs SET user_token = '{}' WHERE id = 1", living(2));
        for statement in [begin, replace.as_str()] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut application).await.unwrap();
        }
        let committed = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            sqlx::raw_sql("COMMIT").execute(&mut application).await.unwrap();
        };
        let (ended, ()) = tokio::join!(run(&old, place, Plan { forget: true, ..PLAN }), committed);
        ended.unwrap();
        // Whatever the run read and when, a token that is gone from the old table is known.
        let (tokens, ..) = known(place).await;
        let is_known = tokens.contains(&(record(&living(2)).keys.token.to_string(), 0));
        assert!(is_known || texts(&old).await == [living(2)], "{tokens:?}");
        run(&old, place, Plan { forget: true, ..PLAN }).await.unwrap();
        assert_eq!((texts(&old).await, known(place).await.0.len()), (vec!["curfew:1".to_owned()], 2));
    }

    async fn the_text_that_is_blanked_is_compared_to_the_byte(place: &Place) {
        let old = place.application(place.kind, "a");
        make_old_table(&old).await;
        insert(&old, &living(1), false).await;
        let shout = "UPDATE user_token_logs SET user_token = upper(user_token) WHERE id = 2";
        insert(&old, &living(1), false).await;
        old.execute(shout).await;
        assert_eq!(run(&old, place, Plan { forget: true, ..PLAN }).await.unwrap().unwrap().forgotten, 1);
        assert_eq!(texts(&old).await, ["curfew:1".to_owned(), living(1).to_uppercase()]);
    }
}
