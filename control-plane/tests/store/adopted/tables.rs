//! Tables of many makes, and those that cannot be adopted.

use curfew_core::wire::CheckVerdict::{Active, Revoked};

use super::*;

on_each_database! {
    async fn the_old_table_keeps_its_columns_and_a_unique_token_is_no_hindrance(place: &Place) {
        let old = place.application(place.kind, "a");
        make_file(&old);
        old
            .execute(
                "CREATE TABLE user_token_logs (id integer PRIMARY KEY, user_id integer, user_token varchar(700) UNIQUE,
                     is_block integer)",
            )
            .await;
        for id in 1..=5 {
            let statement = format!("INSERT INTO user_token_logs VALUES ({id}, NULL, '{}', NULL)", living(id));
            old.execute(&statement).await;
        }
        old.execute("INSERT INTO user_token_logs VALUES (6, NULL, NULL, 1)").await;
        let done = run(&old, place, Plan { forget: true, ..PLAN }).await.unwrap().unwrap();
        let expected = Tally {
            rows: 6,
            taken: 5,
            unreadable: [("empty", 1)].into(),
            unreadable_blocked: 1,
            accepted: 1,
            forgotten: 5,
            ..Tally::default()
        };
        assert_eq!(done, expected);
        // The application finds its table unchanged.
        let columns = old.rows("SELECT * FROM user_token_logs WHERE id = 1").await[0].len();
        assert_eq!(columns, 4);
    }

    async fn ids_may_be_as_large_as_their_type(place: &Place) {
        let old = place.application(place.kind, "a");
        make_file(&old);
        let (kind, largest) = match place.kind {
            Kind::Mariadb => ("int unsigned", 4_294_967_295_i64),
            _ => ("bigint", i64::MAX),
        };
        let table = "CREATE TABLE user_token_logs (id {} PRIMARY KEY, user_token text, is_block integer NOT NULL)";
        // Of SQLite's types, only `integer` numbers the rows.
        old.execute(&table.replace("{}", if place.kind == Kind::Sqlite { "integer" } else { kind })).await;
        for (number, id) in [(1, 1), (2, 3_000_000_000_i64.min(largest)), (3, largest)] {
            let statement = format!("INSERT INTO user_token_logs VALUES ({id}, '{}', 1)", living(number));
            old.execute(&statement).await;
        }
        assert_eq!(run(&old, place, Plan { batch: 1, forget: true, ..PLAN }).await.unwrap().unwrap().revoked, 3);
        assert_eq!(texts(&old).await[2], format!("curfew:{largest}"));
        let plane = place.open().await;
        for number in 1..=3 {
            assert_eq!(plane.verdict(&record(&living(number))).await, Revoked, "{number}");
        }
    }

    async fn an_applications_table_of_a_name_that_curfew_needs_is_not_touched(place: &Place) {
        let old = place.application(place.kind, "a");
        fill(&old).await;
        for table in ["revocations", "adopted_rows", "_sqlx_migrations"] {
            old.execute(&format!("CREATE TABLE {table} (id integer)")).await;
        }
        let told = run(&old, place, Plan { apply: false, ..PLAN }).await.unwrap().unwrap();
        assert_eq!(run(&old, place, Plan { forget: true, ..PLAN }).await.unwrap().unwrap().revoked, told.revoked);
        assert_eq!(old.number("SELECT count(*) FROM revocations").await, 0);
        assert_eq!(old.number("SELECT count(*) FROM adopted_rows").await, 0);
        assert_eq!(old.number("SELECT count(*) FROM _sqlx_migrations").await, 0);
        assert_eq!(known(place).await.1, 2);
    }

    async fn is_block_may_be_a_word(place: &Place) {
        let old = place.application(place.kind, "a");
        make_file(&old);
        let word = match place.kind {
            Kind::Mariadb => "ENUM('no', 'yes', 'perhaps')",
            _ => "text",
        };
        old
            .execute(&format!(
                "CREATE TABLE user_token_logs (id integer PRIMARY KEY, user_token text, is_block {word} NOT NULL)"
            ))
            .await;
        for (id, word) in [(1, "no"), (2, "yes")] {
            let statement = format!("INSERT INTO user_token_logs VALUES ({id}, '{}', '{word}')", living(id));
            old.execute(&statement).await;
        }
        assert_eq!(adopt_all(&old, place).await.revoked, 1);
        let plane = place.open().await;
        assert_eq!(plane.verdict(&record(&living(1))).await, Active);
        assert_eq!(plane.verdict(&record(&living(2))).await, Revoked);
        old.execute(&format!("INSERT INTO user_token_logs VALUES (3, '{}', 'perhaps')", living(3))).await;
        for apply in [false, true] {
            let refused = run(&old, place, Plan { apply, ..PLAN }).await.unwrap_err().to_string();
            assert!(refused.contains("is_block says neither yes nor no in the row 3"), "{refused}");
        }
    }

    async fn nothing_is_adopted_where_there_is_nothing(place: &Place) {
        let old = place.application(place.kind, "a");
        make_file(&old);
        assert_eq!(run(&old, place, PLAN).await.unwrap(), None);
        assert!(place.is_empty().await);
        drop(place.open().await);
        assert_eq!(run(&old, place, PLAN).await.unwrap(), None);
        assert_eq!(place.number("SELECT count(*) FROM adoptions").await, 0);
    }

    async fn a_table_that_cannot_be_adopted_is_told(place: &Place) {
        let old = place.application(place.kind, "a");
        make_file(&old);
        let number = "the column id of its table user_token_logs is no whole number with a unique index of its own";
        for (columns, problem) in [
            ("id integer PRIMARY KEY, user_token text", "its table user_token_logs has no column is_block"),
            ("id integer, user_token text, is_block integer", number),
            ("id varchar(36) PRIMARY KEY, user_token text, is_block integer", number),
            ("id integer, user_token varchar(9), is_block integer, PRIMARY KEY (id, user_token)", number),
        ] {
            old.execute(&format!("CREATE TABLE user_token_logs ({columns})")).await;
            for apply in [false, true] {
                let refused = run(&old, place, Plan { apply, ..PLAN }).await.unwrap_err().to_string();
                assert!(refused.contains(&format!("{problem}, and so the table cannot be adopted")), "{refused}");
            }
            old.execute("DROP TABLE user_token_logs").await;
        }
        // The adoption made nothing.
        assert!(place.is_empty().await);
        assert_eq!(run(&old, place, PLAN).await.unwrap(), None);
        place.open().await;
    }

    async fn the_old_table_may_be_dropped_afterwards(place: &Place) {
        let old = place.application(place.kind, "a");
        fill(&old).await;
        adopt_all(&old, place).await;
        old.execute("DROP TABLE user_token_logs").await;
        place.execute("DELETE FROM adopted_rows").await;
        let plane = place.open().await;
        assert_eq!(plane.verdict(&record(&living(2))).await, Revoked);
        assert_eq!(run(&old, place, PLAN).await.unwrap(), None);
        drop(place.open().await);
    }
}
