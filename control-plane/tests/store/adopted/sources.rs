//! The databases that tokens are taken over from: of any kind, several of them, and never Curfew's own.

use curfew_control_plane::store::{self, Database};
use curfew_core::wire::CheckVerdict::{Active, Revoked};

use super::*;

on_each_database! {
    async fn a_database_of_another_kind_is_adopted_from(place: &Place) {
        for (name, kind) in [("s", Kind::Sqlite), ("p", Kind::Postgres), ("m", Kind::Mariadb)] {
            // Databases of the same kind are two databases of one server.
            let (old, own) = (place.application(kind, name), place.application(place.kind, &format!("own_{name}")));
            fill(&old).await;
            let before = old_rows(&old).await;
            let told = run(&old, &own, Plan { apply: false, ..PLAN }).await.unwrap().unwrap();
            assert_eq!((told.rows, told.taken, told.revoked), (8, 3, 2));
            assert!(own.is_empty().await);
            assert_eq!(adopt_all(&old, &own).await, told);
            assert_eq!(old_rows(&old).await, before);
            let plane = own.open().await;
            for (number, verdict) in [(1, Active), (2, Revoked), (3, Revoked)] {
                assert_eq!(plane.verdict(&record(&living(number))).await, verdict, "{kind:?} {number}");
            }
            assert_eq!(run(&old, &own, Plan { forget: true, ..PLAN }).await.unwrap().unwrap().forgotten, 6);
            old.execute(&format!("UPDATE user_token_logs SET is_block = {} WHERE id = 1", yes(&old))).await;
            assert_eq!(adopt_all(&old, &own).await.revoked, 1);
            assert_eq!(plane.verdict(&record(&living(1))).await, Revoked);
        }
    }

    async fn two_applications_are_adopted_from(place: &Place) {
        let (shop, forum) = (place.application(place.kind, "shop"), place.application(place.kind, "forum"));
        for old in [&shop, &forum] {
            make_old_table(old).await;
        }
        // Both tables have the same ids, and one token in common.
        insert(&shop, &living(1), true).await;
        insert(&shop, &living(2), false).await;
        insert(&forum, &living(3), false).await;
        insert(&forum, &living(2), true).await;
        insert(&forum, &living(4), true).await;
        let first = adopt_all(&shop, place).await;
        assert_eq!((first.rows, first.taken, first.revoked), (2, 2, 1));
        let second = run(&forum, place, Plan { forget: true, ..PLAN }).await.unwrap().unwrap();
        assert_eq!((second.rows, second.before, second.taken, second.revoked, second.forgotten), (3, 0, 2, 2, 3));
        assert_eq!(texts(&shop).await, [living(1), living(2)]);
        for old in [&shop, &forum] {
            let again = adopt_all(old, place).await;
            assert_eq!((again.before, again.taken, again.duplicates, again.revoked), (again.rows, 0, 0, 0));
        }
        let plane = place.open().await;
        for (number, verdict) in [(1, Revoked), (2, Revoked), (3, Active), (4, Revoked)] {
            assert_eq!(plane.verdict(&record(&living(number))).await, verdict, "{number}");
        }
        assert_eq!(place.number("SELECT count(*) FROM adopted_rows").await, 5);
        // Each is known by a name without user and password.
        let statement = match place.kind {
            Kind::Mariadb => "SELECT CAST(source AS CHAR) FROM adoptions ORDER BY id",
            _ => "SELECT source FROM adoptions ORDER BY id",
        };
        let sources: Vec<String> = place.rows(statement).await.iter().map(|row| row.get(0)).collect();
        assert_eq!(sources, [shop.database().name(), forum.database().name()]);
        assert!(sources.iter().all(|source| !source.contains("only-for-tests") && !source.contains('@')), "{sources:?}");
    }

    async fn curfews_own_database_is_not_adopted_from(place: &Place) {
        let same = "CURFEW_ADOPT_FROM: DATABASE_URL names the same database: give Curfew a database of its own";
        let own = "CURFEW_ADOPT_FROM: its table user_token_logs is Curfew's own: name the application's database";
        let fresh = place.application(place.kind, "fresh");
        drop(place.open().await);
        let before = place.counts().await;
        for apply in [false, true] {
            let plan = Plan { apply, forget: true, ..PLAN };
            assert_eq!(run(place, place, plan).await.unwrap_err().to_string(), same);
            // The same database under another name.
            assert_eq!(run(place, &fresh, plan).await.unwrap_err().to_string(), own);
        }
        assert_eq!(place.counts().await, before);
        assert!(fresh.is_empty().await);
    }

    async fn an_applications_database_is_not_taken_for_curfews(place: &Place) {
        let (old, other) = (place.application(place.kind, "a"), place.application(place.kind, "c"));
        fill(&old).await;
        fill(&other).await;
        let before = (old_rows(&old).await, old_rows(&other).await);
        for apply in [false, true] {
            let plan = Plan { apply, forget: true, ..PLAN };
            let refused = run(&other, &old, plan).await.unwrap_err().to_string();
            let foreign = "DATABASE_URL: its table user_token_logs is another application's: give Curfew a database";
            assert!(refused.starts_with(foreign), "{refused}");
            let refused = run(&old, &old, plan).await.unwrap_err().to_string();
            assert!(refused.starts_with("CURFEW_ADOPT_FROM: DATABASE_URL names the same database"), "{refused}");
        }
        assert_eq!((old_rows(&old).await, old_rows(&other).await), before);
    }

    async fn a_dry_run_knows_what_an_older_version_of_curfew_has_in_its_tables(place: &Place) {
        let old = place.application(place.kind, "a");
        fill(&old).await;
        let plane = place.open().await;
        let _ = plane.store.writer().logout(record(&living(2))).await.unwrap();
        for table in ["adopted_rows", "adoptions", "accepted_rows"] {
            place.execute(&format!("DROP TABLE {table}")).await;
        }
        place.execute("DELETE FROM _sqlx_migrations WHERE version IN (5, 7)").await;
        let told = run(&old, place, Plan { apply: false, ..PLAN }).await.unwrap().unwrap();
        assert_eq!((told.taken, told.duplicates, told.revoked), (2, 3, 1));
        assert_eq!(adopt_all(&old, place).await, told);
    }
}

#[tokio::test]
async fn a_file_is_the_same_under_each_of_its_names() {
    let place = Place::new(Kind::Sqlite, "names");
    fill(&place).await;
    let link = place.file().with_file_name("link.db");
    std::os::unix::fs::symlink(place.file(), &link).unwrap();
    let (own, from) = (place.database(), Database::in_file(&link));
    assert_eq!(own.name(), from.name());
    assert!(store::migrate(&from).await.is_err());
}
