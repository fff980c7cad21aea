//! What becomes of the rows of an application's table.

use curfew_control_plane::store;
use curfew_control_plane::store::command::LogoutOutcome;
use curfew_core::wire::CheckVerdict::{Active, Revoked};

use super::*;
use crate::place::outcome;

on_each_database! {
    async fn a_dry_run_tells_what_would_be_done_and_writes_nothing(place: &Place) {
        let old = place.application(place.kind, "a");
        fill(&old).await;
        let before = old_rows(&old).await;
        let refused = store::migrate(&old.database()).await.unwrap_err().to_string();
        let remedy = "give Curfew a database of its own, and run `curfew adopt --from` with the URL of this one";
        assert!(refused.contains(remedy) && !refused.contains('\n'), "{refused}");
        let told = run(&old, place, Plan { apply: false, ..PLAN }).await.unwrap().unwrap();
        let expected = Tally {
            rows: 8,
            taken: 3,
            duplicates: 2,
            expired: 1,
            revoked: 2,
            unreadable: [("empty", 1), ("not_compact", 1)].into(),
            unreadable_blocked: 1,
            accepted: 1,
            ..Tally::default()
        };
        assert_eq!(told, expected);
        assert_eq!(old_rows(&old).await, before);
        assert!(place.is_empty().await);
        assert!(store::migrate(&old.database()).await.is_err());
        // The adoption does the same.
        assert_eq!(adopt_all(&old, place).await, expected);
        assert_eq!(old_rows(&old).await, before);
    }

    async fn blocked_tokens_stay_refused(place: &Place) {
        let old = place.application(place.kind, "a");
        fill(&old).await;
        adopt_all(&old, place).await;
        let plane = place.open().await;
        for (number, verdict) in [(1, Active), (2, Revoked), (3, Revoked)] {
            assert_eq!(plane.verdict(&record(&living(number))).await, verdict, "{number}");
        }
        let (tokens, revocations, seq) = known(place).await;
        assert_eq!((tokens.len(), revocations, seq), (3, 2, 2));
        // The other tokens can be logged out, whatever the other application's table says.
        let first = record(&living(1));
        let ended = plane.store.writer().logout_all(first.clone(), "7".to_owned()).await;
        assert_eq!(ended.map(outcome), Ok(LogoutOutcome::LoggedOut));
        assert_eq!(plane.verdict(&first).await, Revoked);
    }

    async fn a_second_run_does_nothing(place: &Place) {
        let old = place.application(place.kind, "a");
        fill(&old).await;
        adopt_all(&old, place).await;
        let (rows, tokens) = (old_rows(&old).await, known(place).await);
        let again = Tally {
            rows: 8,
            before: 6,
            unreadable: [("empty", 1), ("not_compact", 1)].into(),
            unreadable_blocked: 1,
            accepted: 1,
            ..Tally::default()
        };
        assert_eq!(adopt_all(&old, place).await, again);
        assert_eq!(run(&old, place, Plan { apply: false, ..PLAN }).await.unwrap().unwrap(), again);
        assert_eq!((old_rows(&old).await, known(place).await), (rows, tokens));
    }

    async fn rows_that_are_written_later_are_taken_over_by_another_run(place: &Place) {
        let old = place.application(place.kind, "a");
        fill(&old).await;
        adopt_all(&old, place).await;
        let plane = place.open().await;
        insert(&old, &living(5), true).await;
        old.execute(&format!("UPDATE user_token_logs SET is_block = {} WHERE id = 1", yes(&old))).await;
        for number in [1, 5] {
            assert_eq!(plane.verdict(&record(&living(number))).await, Active);
        }
        let later = adopt_all(&old, place).await;
        assert_eq!((later.rows, later.before, later.taken, later.revoked), (9, 5, 1, 2));
        for number in [1, 5] {
            assert_eq!(plane.verdict(&record(&living(number))).await, Revoked);
        }
    }

    async fn an_unreadable_text_in_the_place_of_a_token_that_was_taken_over_is_reported(place: &Place) {
        let old = place.application(place.kind, "a");
        make_old_table(&old).await;
        insert(&old, &living(1), true).await;
        adopt_all(&old, place).await;
        old.execute("UPDATE user_token_logs SET user_token = 'not a token'").await;
        let unreadable = [("not_compact", 1)].into();
        let expected = Tally { rows: 1, unreadable, unreadable_blocked: 1, accepted: 1, ..Tally::default() };
        assert_eq!(run(&old, place, Plan { apply: false, ..PLAN }).await.unwrap().unwrap(), expected);
        assert_eq!(adopt_all(&old, place).await, expected);
    }

    async fn a_token_that_lives_too_long_is_counted_and_not_kept_for_ever(place: &Place) {
        let old = place.application(place.kind, "a");
        make_old_table(&old).await;
        let longest = NOW - 10 + settings().retention.max_token_ttl + settings().retention.clock_skew;
        insert(&old, &text(1, longest), true).await;
        insert(&old, &text(2, longest + 1), true).await;
        insert(&old, &text(3, 253_402_300_799), false).await;
        let expected = Tally {
            rows: 3,
            taken: 1,
            revoked: 1,
            unreadable: [("lives_too_long", 2)].into(),
            unreadable_blocked: 1,
            accepted: 1,
            ..Tally::default()
        };
        assert_eq!(run(&old, place, Plan { apply: false, ..PLAN }).await.unwrap().unwrap(), expected);
        assert_eq!(adopt_all(&old, place).await, expected);
        let last = place.number("SELECT max(expires_at) FROM revocations").await;
        assert!(last < longest + 3600, "{last}");
    }

    async fn rows_with_one_token_that_are_blocked_later_are_revoked_once(place: &Place) {
        let old = place.application(place.kind, "a");
        make_old_table(&old).await;
        for _ in 0..5 {
            insert(&old, &living(1), false).await;
        }
        adopt_all(&old, place).await;
        old.execute(&format!("UPDATE user_token_logs SET is_block = {} WHERE id <> 1", yes(&old))).await;
        assert_eq!(adopt_all(&old, place).await.revoked, 1);
        assert_eq!(known(place).await, (vec![(record(&living(1)).keys.token.to_string(), 1)], 1, 1));
    }
}
