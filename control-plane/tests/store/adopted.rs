//! The table of another application, brought into use: nothing of it is lost, and what was blocked stays refused.

use std::time::Duration;

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use curfew_control_plane::adopt::{Plan, Rules, Tally, adopt};
use curfew_control_plane::store::command::{LogoutOutcome, TokenRecord};
use curfew_control_plane::store::{self, OpenFailure};
use curfew_core::Policy;
use curfew_core::wire::CheckVerdict::{Active, Revoked};
use serde_json::json;
use sqlx::Row;

use crate::place::{ISSUER, Kind, NOW, Place, on_each_database, outcome, settings, token};

const PLAN: Plan = Plan { apply: true, forget: false, batch: 3, pause: Duration::ZERO, accept_unreadable: true };

/// As Laravel's migrations make it.
pub(crate) async fn make_old_table(place: &Place) {
    let (id, number, truth, time) = match place.kind {
        Kind::Sqlite => ("integer NOT NULL PRIMARY KEY AUTOINCREMENT", "integer", "tinyint(1)", "datetime"),
        Kind::Postgres => ("bigserial PRIMARY KEY", "bigint", "boolean", "timestamp(0)"),
        Kind::Mariadb => (
            "bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY",
            "bigint unsigned",
            "tinyint(1)",
            "timestamp NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP",
        ),
    };
    let table = format!(
        "CREATE TABLE IF NOT EXISTS user_token_logs (id {id}, user_id {number} NOT NULL, user_token text NOT NULL,
             is_block {truth} NOT NULL DEFAULT {}, created_at {time}, updated_at {time})",
        no(place)
    );
    make_file(place);
    place.execute(&table).await;
}

/// Somebody else's connection makes no file.
fn make_file(place: &Place) {
    if place.kind == Kind::Sqlite {
        std::fs::File::options().append(true).create(true).open(place.file()).unwrap();
    }
}

fn no(place: &Place) -> &'static str {
    if place.kind == Kind::Postgres { "false" } else { "0" }
}

fn yes(place: &Place) -> &'static str {
    if place.kind == Kind::Postgres { "true" } else { "1" }
}

async fn insert(place: &Place, text: &str, blocked: bool) {
    let blocked = if blocked { yes(place) } else { no(place) };
    let time = "'2026-11-01 10:00:00'";
    place
        .execute(&format!(
            "INSERT INTO user_token_logs (user_id, user_token, is_block, created_at, updated_at)
             VALUES (7, '{text}', {blocked}, {time}, {time})"
        ))
        .await;
}

fn policy() -> Policy {
    Policy::from_document(&json!({"issuers": [{"issuer": ISSUER, "secret": "0".repeat(32)}]})).unwrap().0
}

/// A token's text, with a signature that nobody made.
fn text(number: u32, expires_at: i64) -> String {
    let encode = |text: String| Base64UrlSafeNoPadding::encode_to_string(text).unwrap();
    let claims = json!({"iss": ISSUER, "sub": 7, "jti": number.to_string(), "iat": NOW - 10, "exp": expires_at});
    format!("{}.{}.c2lnbmF0dXJl", encode(json!({"alg": "HS256"}).to_string()), encode(claims.to_string()))
}

fn living(number: u32) -> String {
    text(number, NOW + 3600)
}

fn record(text: &str) -> TokenRecord {
    policy().read_unproven(text.as_bytes()).ok().unwrap().into()
}

async fn run(place: &Place, plan: Plan) -> Result<Option<Tally>, OpenFailure> {
    let (policy, settings, clock) = (policy(), settings(), place.clock());
    let rules = Rules { policy: &policy, settings: &settings, clock: &clock };
    adopt(&place.database(), rules, plan, |_| {}).await
}

pub(crate) async fn adopt_all(place: &Place) -> Tally {
    run(place, PLAN).await.unwrap().unwrap()
}

/// Everything that the other application sees.
async fn old_rows(place: &Place) -> Vec<String> {
    let statement = match place.kind {
        Kind::Mariadb => {
            "SELECT CONCAT_WS(' ', id, user_id, user_token, is_block, created_at, updated_at) FROM user_token_logs ORDER BY id"
        }
        _ => {
            "SELECT CAST(id AS text) || ' ' || CAST(user_id AS text) || ' ' || user_token || ' ' || CAST(is_block AS text) || ' ' || CAST(created_at AS text) || ' ' || CAST(updated_at AS text) FROM user_token_logs ORDER BY id"
        }
    };
    place.rows(statement).await.iter().map(|row| row.get(0)).collect()
}

/// What Curfew knows: tokens with their state, and how many revocations there are.
async fn known(place: &Place) -> (Vec<(String, i64)>, i64, i64) {
    let statement = match place.kind {
        Kind::Mariadb => {
            "SELECT CAST(LOWER(HEX(token_id)) AS CHAR), CAST(is_block AS SIGNED) FROM curfew_token_logs ORDER BY token_id"
        }
        Kind::Postgres => {
            "SELECT encode(token_id, 'hex'), CAST(is_block AS bigint) FROM curfew_token_logs ORDER BY token_id"
        }
        Kind::Sqlite => "SELECT lower(hex(token_id)), is_block FROM curfew_token_logs ORDER BY token_id",
    };
    let tokens = place.rows(statement).await.iter().map(|row| (row.get(0), row.get(1))).collect();
    let revocations = place.number("SELECT count(*) FROM revocations").await;
    (tokens, revocations, place.number("SELECT seq FROM feed_head").await)
}

/// What stands in the column of tokens.
async fn texts(place: &Place) -> Vec<String> {
    place.rows("SELECT user_token FROM user_token_logs ORDER BY id").await.iter().map(|row| row.get(0)).collect()
}

async fn fill(place: &Place) {
    make_old_table(place).await;
    insert(place, &living(1), false).await;
    insert(place, &living(2), true).await;
    insert(place, "not a token", true).await;
    // Blocked in one row and not in the others.
    insert(place, &living(3), false).await;
    insert(place, &format!("Bearer {}", living(3)), true).await;
    insert(place, &living(3), false).await;
    insert(place, &text(4, NOW - 1000), true).await;
    insert(place, "", false).await;
}

on_each_database! {
    async fn a_dry_run_tells_what_would_be_done_and_writes_nothing(place: &Place) {
        fill(place).await;
        let before = old_rows(place).await;
        let refused = store::migrate(&place.database()).await.unwrap_err().to_string();
        assert!(refused.contains("`curfew migrate --adopt`") && !refused.contains('\n'), "{refused}");
        let told = run(place, Plan { apply: false, ..PLAN }).await.unwrap().unwrap();
        let expected = Tally {
            rows: 8,
            taken: 3,
            duplicates: 2,
            expired: 1,
            revoked: 2,
            unreadable: [("empty", 1), ("not_compact", 1)].into(),
            unreadable_blocked: 1,
            ..Tally::default()
        };
        assert_eq!(told, expected);
        assert_eq!(old_rows(place).await, before);
        assert!(store::migrate(&place.database()).await.is_err());
        // And so it is done.
        assert_eq!(adopt_all(place).await, expected);
        assert_eq!(old_rows(place).await, before);
    }

    async fn what_was_blocked_stays_refused(place: &Place) {
        fill(place).await;
        adopt_all(place).await;
        let plane = place.open().await;
        for (number, verdict) in [(1, Active), (2, Revoked), (3, Revoked)] {
            assert_eq!(plane.verdict(&record(&living(number))).await, verdict, "{number}");
        }
        let (tokens, revocations, seq) = known(place).await;
        assert_eq!((tokens.len(), revocations, seq), (3, 2, 2));
        // The others can be logged out, and no table of another application has a say in it.
        let first = record(&living(1));
        let ended = plane.store.writer().logout_all(first.clone(), "7".to_owned()).await;
        assert_eq!(ended.map(outcome), Ok(LogoutOutcome::LoggedOut));
        assert_eq!(plane.verdict(&first).await, Revoked);
    }

    async fn a_second_run_does_nothing(place: &Place) {
        fill(place).await;
        adopt_all(place).await;
        let (rows, tokens) = (old_rows(place).await, known(place).await);
        let again = Tally {
            rows: 8,
            before: 6,
            unreadable: [("empty", 1), ("not_compact", 1)].into(),
            unreadable_blocked: 1,
            ..Tally::default()
        };
        assert_eq!(adopt_all(place).await, again);
        assert_eq!(run(place, Plan { apply: false, ..PLAN }).await.unwrap().unwrap(), again);
        assert_eq!((old_rows(place).await, known(place).await), (rows, tokens));
    }

    async fn what_the_application_writes_later_is_taken_over_by_another_run(place: &Place) {
        fill(place).await;
        adopt_all(place).await;
        let plane = place.open().await;
        insert(place, &living(5), true).await;
        place.execute(&format!("UPDATE user_token_logs SET is_block = {} WHERE id = 1", yes(place))).await;
        for number in [1, 5] {
            assert_eq!(plane.verdict(&record(&living(number))).await, Active);
        }
        let later = adopt_all(place).await;
        assert_eq!((later.rows, later.before, later.taken, later.revoked), (9, 5, 1, 2));
        for number in [1, 5] {
            assert_eq!(plane.verdict(&record(&living(number))).await, Revoked);
        }
    }

    async fn raw_tokens_are_blanked_when_that_is_asked_for(place: &Place) {
        fill(place).await;
        let forget = Plan { forget: true, ..PLAN };
        assert_eq!(run(place, Plan { apply: false, ..forget }).await.unwrap().unwrap().forgotten, 6);
        assert_eq!(run(place, forget).await.unwrap().unwrap().forgotten, 6);
        // What nobody could read is not thrown away.
        assert_eq!(
            texts(place).await,
            ["curfew:1", "curfew:2", "not a token", "curfew:4", "curfew:5", "curfew:6", "curfew:7", ""]
        );
        assert_eq!(place.number("SELECT count(*) FROM user_token_logs WHERE updated_at = '2026-11-01 10:00:00'").await, 8);
        assert_eq!(run(place, forget).await.unwrap().unwrap().before, 6);
        let plane = place.open().await;
        assert_eq!(plane.verdict(&record(&living(2))).await, Revoked);
        // A row that is blocked after its token is gone is still known by its mark.
        place.execute(&format!("UPDATE user_token_logs SET is_block = {} WHERE id = 1", yes(place))).await;
        assert_eq!(run(place, Plan { apply: false, ..PLAN }).await.unwrap().unwrap().revoked, 1);
        assert_eq!(adopt_all(place).await.revoked, 1);
        assert_eq!(plane.verdict(&record(&living(1))).await, Revoked);
    }

    async fn raw_tokens_can_be_blanked_later(place: &Place) {
        fill(place).await;
        adopt_all(place).await;
        assert_eq!(run(place, Plan { forget: true, ..PLAN }).await.unwrap().unwrap().forgotten, 6);
        assert_eq!(adopt_all(place).await.before, 6);
    }

    async fn rows_with_one_token_that_is_gone_are_revoked_once(place: &Place) {
        make_old_table(place).await;
        for _ in 0..2 {
            insert(place, &living(1), false).await;
        }
        run(place, Plan { forget: true, ..PLAN }).await.unwrap();
        place.execute(&format!("UPDATE user_token_logs SET is_block = {}", yes(place))).await;
        assert_eq!(run(place, Plan { apply: false, ..PLAN }).await.unwrap().unwrap().revoked, 1);
        assert_eq!(adopt_all(place).await.revoked, 1);
        assert_eq!(known(place).await, (vec![(record(&living(1)).keys.token.to_string(), 1)], 1, 1));
        assert_eq!(adopt_all(place).await.before, 2);
    }

    async fn rows_with_one_token_that_are_blocked_later_are_revoked_once(place: &Place) {
        make_old_table(place).await;
        for _ in 0..5 {
            insert(place, &living(1), false).await;
        }
        adopt_all(place).await;
        place.execute(&format!("UPDATE user_token_logs SET is_block = {} WHERE id <> 1", yes(place))).await;
        assert_eq!(adopt_all(place).await.revoked, 1);
        assert_eq!(known(place).await, (vec![(record(&living(1)).keys.token.to_string(), 1)], 1, 1));
    }

    async fn a_token_that_takes_the_place_of_another_meanwhile_is_not_blanked_unread(place: &Place) {
        make_old_table(place).await;
        insert(place, &living(1), false).await;
        adopt_all(place).await;
        // The application's transaction has the row while it is read as it was before.
        let begin = if place.kind == Kind::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
        let mut application = place.connection().await;
        let replace = format!("UPDATE user_token_logs SET user_token = '{}' WHERE id = 1", living(2));
        for statement in [begin, replace.as_str()] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut application).await.unwrap();
        }
        let committed = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            sqlx::raw_sql("COMMIT").execute(&mut application).await.unwrap();
        };
        let (ended, ()) = tokio::join!(run(place, Plan { forget: true, ..PLAN }), committed);
        ended.unwrap();
        // Whatever was read when: a token that is gone from the old table is known.
        let (tokens, ..) = known(place).await;
        let is_known = tokens.contains(&(record(&living(2)).keys.token.to_string(), 0));
        assert!(is_known || texts(place).await == [living(2)], "{tokens:?}");
        run(place, Plan { forget: true, ..PLAN }).await.unwrap();
        assert_eq!((texts(place).await, known(place).await.0.len()), (vec!["curfew:1".to_owned()], 2));
    }

    async fn the_text_that_is_blanked_is_compared_to_the_byte(place: &Place) {
        make_old_table(place).await;
        insert(place, &living(1), false).await;
        let shout = "UPDATE user_token_logs SET user_token = upper(user_token) WHERE id = 2";
        insert(place, &living(1), false).await;
        place.execute(shout).await;
        assert_eq!(run(place, Plan { forget: true, ..PLAN }).await.unwrap().unwrap().forgotten, 1);
        assert_eq!(texts(place).await, ["curfew:1".to_owned(), living(1).to_uppercase()]);
    }

    async fn the_old_table_keeps_its_columns_and_a_unique_token_is_no_hindrance(place: &Place) {
        make_file(place);
        place
            .execute(
                "CREATE TABLE user_token_logs (id integer PRIMARY KEY, user_id integer, user_token varchar(700) UNIQUE,
                     is_block integer)",
            )
            .await;
        for id in 1..=5 {
            let statement = format!("INSERT INTO user_token_logs VALUES ({id}, NULL, '{}', NULL)", living(id));
            place.execute(&statement).await;
        }
        place.execute("INSERT INTO user_token_logs VALUES (6, NULL, NULL, 1)").await;
        let done = run(place, Plan { forget: true, ..PLAN }).await.unwrap().unwrap();
        let expected = Tally {
            rows: 6,
            taken: 5,
            unreadable: [("empty", 1)].into(),
            unreadable_blocked: 1,
            forgotten: 5,
            ..Tally::default()
        };
        assert_eq!(done, expected);
        // Its application finds the table as it made it.
        let columns = place.rows("SELECT * FROM user_token_logs WHERE id = 1").await[0].len();
        assert_eq!(columns, 4);
    }

    async fn ids_may_be_as_large_as_their_type(place: &Place) {
        make_file(place);
        let (kind, largest) = match place.kind {
            Kind::Mariadb => ("int unsigned", 4_294_967_295_i64),
            _ => ("bigint", i64::MAX),
        };
        let table = "CREATE TABLE user_token_logs (id {} PRIMARY KEY, user_token text, is_block integer NOT NULL)";
        // Of SQLite's types only this one numbers the rows.
        place.execute(&table.replace("{}", if place.kind == Kind::Sqlite { "integer" } else { kind })).await;
        for (number, id) in [(1, 1), (2, 3_000_000_000_i64.min(largest)), (3, largest)] {
            let statement = format!("INSERT INTO user_token_logs VALUES ({id}, '{}', 1)", living(number));
            place.execute(&statement).await;
        }
        assert_eq!(run(place, Plan { batch: 1, forget: true, ..PLAN }).await.unwrap().unwrap().revoked, 3);
        assert_eq!(texts(place).await[2], format!("curfew:{largest}"));
        let plane = place.open().await;
        for number in 1..=3 {
            assert_eq!(plane.verdict(&record(&living(number))).await, Revoked, "{number}");
        }
    }

    async fn blocked_rows_without_a_token_keep_an_adoption_from_its_end(place: &Place) {
        fill(place).await;
        let plan = Plan { accept_unreadable: false, ..PLAN };
        assert_eq!(run(place, plan).await.unwrap().unwrap().unreadable_blocked, 1);
        let unfinished = "SELECT count(*) FROM curfew_adoption WHERE finished_at IS NOT NULL";
        assert_eq!(place.number(unfinished).await, 0);
        assert_eq!(run(place, PLAN).await.unwrap().unwrap().unreadable_blocked, 1);
        assert_eq!(place.number(unfinished).await, 1);
    }

    async fn a_table_of_a_name_that_curfew_needs_is_not_touched(place: &Place) {
        make_old_table(place).await;
        place.execute("CREATE TABLE revocations (id integer)").await;
        for apply in [false, true] {
            let refused = run(place, Plan { apply, ..PLAN }).await.unwrap_err().to_string();
            assert!(refused.contains("another application's table revocations, whose name Curfew needs"), "{refused}");
        }
        place.execute("DROP TABLE revocations").await;
        adopt_all(place).await;
    }

    async fn is_block_may_be_a_word(place: &Place) {
        make_file(place);
        let word = match place.kind {
            Kind::Mariadb => "ENUM('no', 'yes', 'perhaps')",
            _ => "text",
        };
        place
            .execute(&format!(
                "CREATE TABLE user_token_logs (id integer PRIMARY KEY, user_token text, is_block {word} NOT NULL)"
            ))
            .await;
        for (id, word) in [(1, "no"), (2, "yes")] {
            let statement = format!("INSERT INTO user_token_logs VALUES ({id}, '{}', '{word}')", living(id));
            place.execute(&statement).await;
        }
        assert_eq!(adopt_all(place).await.revoked, 1);
        let plane = place.open().await;
        assert_eq!(plane.verdict(&record(&living(1))).await, Active);
        assert_eq!(plane.verdict(&record(&living(2))).await, Revoked);
        place.execute(&format!("INSERT INTO user_token_logs VALUES (3, '{}', 'perhaps')", living(3))).await;
        for apply in [false, true] {
            let refused = run(place, Plan { apply, ..PLAN }).await.unwrap_err().to_string();
            assert!(refused.contains("is_block says neither yes nor no in the row 3"), "{refused}");
        }
    }

    async fn logouts_go_on_while_a_table_is_adopted(place: &Place) {
        make_old_table(place).await;
        adopt_all(place).await;
        let plane = place.open().await;
        let row = |number: u32| format!("(7, '{}', {}, NULL, NULL)", living(number), yes(place));
        let rows: Vec<String> = (0..300).map(row).collect();
        let columns = "user_id, user_token, is_block, created_at, updated_at";
        place.execute(&format!("INSERT INTO user_token_logs ({columns}) VALUES {}", rows.join(", "))).await;
        let (done, stop) = (std::sync::atomic::AtomicBool::new(false), std::sync::atomic::Ordering::SeqCst);
        let adopting = async {
            let plan = Plan { batch: 50, pause: Duration::from_millis(5), forget: true, ..PLAN };
            let tally = run(place, plan).await.unwrap().unwrap();
            done.store(true, stop);
            tally
        };
        let logging_out = async {
            let mut logouts = 0_u64;
            while !done.load(stop) {
                let ended = plane.store.writer().logout(token("alice", logouts)).await;
                assert_eq!(ended.map(outcome), Ok(LogoutOutcome::LoggedOut));
                logouts += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            logouts
        };
        let (tally, logouts) = tokio::join!(adopting, logging_out);
        assert_eq!((tally.taken, tally.revoked, tally.forgotten), (300, 300, 300));
        assert!(logouts > 1);
        let (tokens, revocations, seq) = known(place).await;
        let all = i64::try_from(logouts).unwrap() + 300;
        assert_eq!((i64::try_from(tokens.len()).unwrap(), revocations, seq), (all, all, all));
    }

    async fn one_that_is_broken_off_anywhere_goes_on_from_there(place: &Place) {
        make_old_table(place).await;
        if place.kind == Kind::Mariadb {
            // Half a schema is not taken back there, as docs/troubleshooting.md says.
            adopt_all(place).await;
        }
        let row = |number: u32| {
            let blocked = if number.is_multiple_of(3) { yes(place) } else { no(place) };
            format!("(7, '{}', {blocked}, NULL, NULL)", living(number / 2))
        };
        let rows: Vec<String> = (0..200).map(row).collect();
        let columns = "user_id, user_token, is_block, created_at, updated_at";
        place.execute(&format!("INSERT INTO user_token_logs ({columns}) VALUES {}", rows.join(", "))).await;
        let mut attempts = 0_u64;
        loop {
            attempts += 1;
            // Its connection goes with it, as it does when the process is killed.
            let limit = Duration::from_millis(attempts.saturating_mul(15));
            match tokio::time::timeout(limit, run(place, PLAN)).await {
                Err(_) => {}
                // What was broken off may hold its locks for a moment.
                Ok(Err(error)) => assert!(attempts < 500, "{error}"),
                Ok(Ok(_)) => break,
            }
        }
        eprintln!("{:?}: broken off {} times", place.kind, attempts - 1);
        let (tokens, revocations, seq) = known(place).await;
        // Rows 3n are blocked: of each three tokens two.
        let blocked = (0..200_u32).filter(|row| row.is_multiple_of(3)).map(|row| row / 2).collect::<std::collections::BTreeSet<_>>();
        let mut expected: Vec<_> = (0..100)
            .map(|number| (record(&living(number)).keys.token.to_string(), i64::from(blocked.contains(&number))))
            .collect();
        expected.sort();
        assert_eq!(tokens, expected);
        let count = i64::try_from(blocked.len()).unwrap();
        assert_eq!((revocations, seq), (count, count));
        assert_eq!(place.number("SELECT count(*) FROM curfew_adopted").await, 200);
    }

    async fn nothing_is_adopted_where_there_is_nothing(place: &Place) {
        assert_eq!(run(place, PLAN).await.unwrap(), None);
        drop(place.open().await);
        assert_eq!(run(place, PLAN).await.unwrap(), None);
    }

    async fn a_table_that_cannot_be_adopted_is_told(place: &Place) {
        make_file(place);
        let number = "the column id of its table user_token_logs is no whole number with a unique index of its own";
        for (columns, problem) in [
            ("id integer PRIMARY KEY, user_token text", "its table user_token_logs has no column is_block"),
            ("id integer, user_token text, is_block integer", number),
            ("id varchar(36) PRIMARY KEY, user_token text, is_block integer", number),
            ("id integer, user_token varchar(9), is_block integer, PRIMARY KEY (id, user_token)", number),
        ] {
            place.execute(&format!("CREATE TABLE user_token_logs ({columns})")).await;
            for apply in [false, true] {
                let refused = run(place, Plan { apply, ..PLAN }).await.unwrap_err().to_string();
                assert!(refused.contains(&format!("{problem}, and so the table cannot be adopted")), "{refused}");
            }
            place.execute("DROP TABLE user_token_logs").await;
        }
        // Nothing was made.
        assert_eq!(run(place, PLAN).await.unwrap(), None);
        place.open().await;
    }

    async fn the_old_table_may_be_dropped_afterwards(place: &Place) {
        fill(place).await;
        adopt_all(place).await;
        place.execute("DROP TABLE user_token_logs").await;
        place.execute("DROP TABLE curfew_adopted").await;
        let plane = place.open().await;
        assert_eq!(plane.verdict(&record(&living(2))).await, Revoked);
        assert_eq!(run(place, PLAN).await.unwrap(), None);
        drop(place.open().await);
    }
}
