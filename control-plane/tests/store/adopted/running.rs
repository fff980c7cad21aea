//! A run during logouts, a run that is broken off, and a run that must not finish.

use std::time::{Duration, Instant};

use curfew_control_plane::store;
use curfew_control_plane::store::command::LogoutOutcome;

use super::*;
use crate::place::{outcome, token};

on_each_database! {
    async fn logouts_go_on_while_a_table_is_adopted(place: &Place) {
        let old = place.application(place.kind, "a");
        make_old_table(&old).await;
        adopt_all(&old, place).await;
        let plane = place.open().await;
        let row = |number: u32| format!("(7, '{}', {}, NULL, NULL)", living(number), yes(&old));
        let rows: Vec<String> = (0..300).map(row).collect();
        let columns = "user_id, user_token, is_block, created_at, updated_at";
        old.execute(&format!("INSERT INTO user_token_logs ({columns}) VALUES {}", rows.join(", "))).await;
        let (done, stop) = (std::sync::atomic::AtomicBool::new(false), std::sync::atomic::Ordering::SeqCst);
        let adopting = async {
            let plan = Plan { batch: 50, pause: Duration::from_millis(5), forget: true, ..PLAN };
            let tally = run(&old, place, plan).await.unwrap().unwrap();
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

    async fn a_run_that_is_broken_off_anywhere_is_continued_by_the_next(place: &Place) {
        let old = place.application(place.kind, "a");
        make_old_table(&old).await;
        if place.kind == Kind::Mariadb {
            // MariaDB does not roll back half a schema, as docs/troubleshooting.md says.
            adopt_all(&old, place).await;
        }
        let row = |number: u32| {
            let blocked = if number.is_multiple_of(3) { yes(&old) } else { no(&old) };
            format!("(7, '{}', {blocked}, NULL, NULL)", living(number / 2))
        };
        let rows: Vec<String> = (0..200).map(row).collect();
        let columns = "user_id, user_token, is_block, created_at, updated_at";
        old.execute(&format!("INSERT INTO user_token_logs ({columns}) VALUES {}", rows.join(", "))).await;
        let mut attempts = 0_u64;
        loop {
            attempts += 1;
            // Dropping the run drops its connection, as it happens when the process is killed. The later runs are
            // broken off later: a run that has little left to do still looks through the whole table.
            let limit = Duration::from_millis(attempts * 15 + attempts.saturating_sub(60) * 60);
            match tokio::time::timeout(limit, run(&old, place, PLAN)).await {
                Err(_) => {}
                // The run that was broken off may hold its locks for a moment.
                Ok(Err(error)) => assert!(attempts < 500, "{error}"),
                Ok(Ok(_)) => break,
            }
        }
        eprintln!("{:?}: broken off {} times", place.kind, attempts - 1);
        let (tokens, revocations, seq) = known(place).await;
        // Every third row is blocked, and so two of three tokens.
        let blocked = (0..200_u32).filter(|row| row.is_multiple_of(3)).map(|row| row / 2).collect::<std::collections::BTreeSet<_>>();
        let mut expected: Vec<_> = (0..100)
            .map(|number| (record(&living(number)).keys.token.to_string(), i64::from(blocked.contains(&number))))
            .collect();
        expected.sort();
        assert_eq!(tokens, expected);
        let count = i64::try_from(blocked.len()).unwrap();
        assert_eq!((revocations, seq), (count, count));
        assert_eq!(place.number("SELECT count(*) FROM adopted_rows").await, 200);
    }

    async fn the_first_start_waits_for_the_end_of_an_adoption_and_later_ones_warn(place: &Place) {
        let unfinished = Plan { accept_unreadable: false, ..PLAN };
        let (old, other) = (place.application(place.kind, "a"), place.application(place.kind, "c"));
        fill(&old).await;
        run(&old, place, unfinished).await.unwrap();
        let prepare = async || store::prepare(&place.database(), &settings(), NOW, false).await;
        let refused = prepare().await.unwrap_err().to_string();
        let expected = format!(
            "the adoption from {} has not ended, and tokens that are blocked there may not be revoked yet: run \
             `curfew adopt --apply` again",
            old.database().name()
        );
        assert_eq!(refused, expected);
        adopt_all(&old, place).await;
        assert_eq!(prepare().await.unwrap().warnings, Vec::<String>::new());
        // Control planes run by now, and a restart must not be an outage.
        fill(&other).await;
        run(&other, place, unfinished).await.unwrap();
        let warnings = prepare().await.unwrap().warnings;
        assert_eq!(warnings, [expected.replace(&old.database().name(), &other.database().name())]);
        // An adoption that has ended once stays ended.
        run(&old, place, unfinished).await.unwrap();
        adopt_all(&other, place).await;
        assert_eq!(prepare().await.unwrap().warnings, Vec::<String>::new());
    }

    async fn an_application_that_goes_on_changing_rows_keeps_an_adoption_from_its_end(place: &Place) {
        let old = place.application(place.kind, "a");
        make_old_table(&old).await;
        insert(&old, &living(1), true).await;
        put_tokens_back(&old).await;
        let finished = "SELECT count(*) FROM adoptions WHERE finished_at IS NOT NULL";
        let tally = run(&old, place, Plan { forget: true, ..PLAN }).await.unwrap().unwrap();
        assert_eq!((tally.taken, tally.revoked, tally.late), (1, 1, 1));
        assert_eq!(tally.unfinished(), Some(Unfinished::Changing(1)));
        assert_eq!(place.number(finished).await, 0);
        // As soon as a pass finds nothing, it has ended.
        let tally = adopt_all(&old, place).await;
        assert_eq!((tally.before, tally.late, tally.unfinished()), (1, 0, None));
        assert_eq!(place.number(finished).await, 1);
    }

    async fn a_run_ends_when_leases_from_before_its_commits_are_over(place: &Place) {
        let old = place.application(place.kind, "a");
        make_old_table(&old).await;
        insert(&old, &living(1), true).await;
        let leases_over = Duration::from_millis(700);
        // The second one finds nothing to do, but the first one could have been killed before its end.
        for _ in 0..2 {
            let began = Instant::now();
            run(&old, place, Plan { leases_over, ..PLAN }).await.unwrap();
            assert!(began.elapsed() >= leases_over, "{:?}", began.elapsed());
        }
    }

    async fn a_history_that_ends_before_the_leases_do_ends_no_adoption(place: &Place) {
        let old = place.application(place.kind, "a");
        make_old_table(&old).await;
        insert(&old, &living(1), true).await;
        let plan = Plan { leases_over: Duration::from_secs(4), ..PLAN };
        assert_eq!(run_until_the_history_ends(&old, place, plan).await, HISTORY_ENDED);
        let finished = "SELECT count(*) FROM adoptions WHERE finished_at IS NOT NULL";
        assert_eq!(place.number(finished).await, 0);
        assert_eq!(adopt_all(&old, place).await.before, 1);
        assert_eq!(place.number(finished).await, 1);
    }

    async fn no_raw_token_is_blanked_after_the_history_has_ended(place: &Place) {
        let old = place.application(place.kind, "a");
        make_old_table(&old).await;
        for number in 1..=30 {
            insert(&old, &living(number), true).await;
        }
        let plan = Plan { forget: true, batch: 1, pause: Duration::from_millis(200), ..PLAN };
        assert_eq!(run_until_the_history_ends(&old, place, plan).await, HISTORY_ENDED);
        assert_eq!(texts(&old).await.last(), Some(&living(30)));
    }

    async fn blocked_rows_without_a_token_keep_an_adoption_from_its_end(place: &Place) {
        let old = place.application(place.kind, "a");
        fill(&old).await;
        let plan = Plan { accept_unreadable: false, ..PLAN };
        assert_eq!(run(&old, place, plan).await.unwrap().unwrap().unreadable_blocked, 1);
        let unfinished = "SELECT count(*) FROM adoptions WHERE finished_at IS NOT NULL";
        assert_eq!(place.number(unfinished).await, 0);
        assert_eq!(run(&old, place, PLAN).await.unwrap().unwrap().unreadable_blocked, 1);
        assert_eq!(place.number(unfinished).await, 1);
    }

    async fn accepted_rows_stay_accepted_and_others_are_told(place: &Place) {
        let old = place.application(place.kind, "a");
        fill(&old).await;
        let (plan, dry) = (Plan { accept_unreadable: false, ..PLAN }, Plan { apply: false, accept_unreadable: false, ..PLAN });
        let told = async |plan| {
            let tally = run(&old, place, plan).await.unwrap().unwrap();
            (tally.unreadable_blocked, tally.accepted, tally.unfinished())
        };
        let new = Some(Unfinished::Unreadable(1));
        assert_eq!(told(plan).await, (1, 0, new));
        assert_eq!(told(PLAN).await, (1, 1, None));
        for plan in [plan, dry, plan] {
            assert_eq!(told(plan).await, (1, 1, None));
        }
        // A further row, and then another text in the accepted one.
        insert(&old, "not a token either", true).await;
        assert_eq!(told(dry).await, (2, 1, new));
        assert_eq!(told(plan).await, (2, 1, new));
        assert_eq!(told(PLAN).await, (2, 2, None));
        old.execute("UPDATE user_token_logs SET user_token = 'another token' WHERE user_token = 'not a token'").await;
        assert_eq!(told(plan).await, (2, 1, new));
        assert_eq!(told(PLAN).await, (2, 2, None));
        assert_eq!(told(plan).await, (2, 2, None));
        assert_eq!(place.number("SELECT count(*) FROM accepted_rows").await, 2);
    }
}

const HISTORY_ENDED: &str = "DATABASE_URL: the database was replaced, restored or taken over by a standby during this run, \
    and may lack what was taken over: run `curfew adopt --apply` again";

/// Runs an adoption, and gives the history another name as soon as something is revoked; returns why the run fails.
async fn run_until_the_history_ends(old: &Place, place: &Place, plan: Plan) -> String {
    store::migrate(&place.database()).await.unwrap();
    let ending = async {
        while place.number("SELECT count(*) FROM revocations").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        store::bump_epoch(&place.database()).await.unwrap();
    };
    let (ended, ()) = tokio::join!(run(old, place, plan), ending);
    ended.unwrap_err().to_string()
}

/// From now on an application writes each token back that is blanked: every pass finds something to do.
async fn put_tokens_back(old: &Place) {
    let trigger = match old.kind {
        Kind::Sqlite => {
            "CREATE TRIGGER put_back AFTER UPDATE ON user_token_logs
             BEGIN UPDATE user_token_logs SET user_token = OLD.user_token WHERE id = OLD.id; END"
        }
        Kind::Postgres => {
            "CREATE FUNCTION put_back() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
             CREATE TRIGGER put_back BEFORE UPDATE ON user_token_logs FOR EACH ROW EXECUTE FUNCTION put_back()"
        }
        Kind::Mariadb => {
            "CREATE TRIGGER put_back BEFORE UPDATE ON user_token_logs FOR EACH ROW SET NEW.user_token = OLD.user_token"
        }
    };
    old.execute(trigger).await;
}
