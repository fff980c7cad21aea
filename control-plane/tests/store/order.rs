//! The order of revocations: seqs without gaps, never given twice, in the order of commits, from any number of control
//! planes.

use std::time::{Duration, Instant};

use curfew_control_plane::store;
use curfew_control_plane::store::command::LogoutOutcome;
use curfew_core::wire::CheckVerdict::Revoked;
use sqlx::Row;

use crate::place::{Kind, Place, on_each_database, outcome, token};

on_each_database! {
    async fn two_control_planes_number_without_gaps(place: &Place) {
        let planes = [place.open().await, place.open().await];
        let until = Instant::now() + Duration::from_secs(3);
        let mut clients = Vec::new();
        for client in 0..16_u64 {
            let store = planes[usize::from(client % 2 == 0)].store.clone();
            clients.push(tokio::spawn(async move {
                let mut done = 0;
                while Instant::now() < until {
                    let token = token("alice", client * 1_000_000 + done);
                    assert_eq!(store.writer().logout(token.clone()).await.map(outcome), Ok(LogoutOutcome::LoggedOut));
                    // A late answer is an error, and this machine may be busy with other tests.
                    let checked = loop {
                        if let Ok(checked) = store.check(&token.keys, token.cutoff_time).await {
                            break checked;
                        }
                        assert!(Instant::now() < until + Duration::from_secs(20));
                    };
                    assert_eq!(checked.verdict, Revoked);
                    done += 1;
                }
                done
            }));
        }
        let mut logouts = 0;
        for client in clients {
            logouts += client.await.unwrap();
        }
        let numbers: Vec<i64> =
            place.rows("SELECT seq FROM revocations ORDER BY seq").await.iter().map(|row| row.get(0)).collect();
        eprintln!("{:?}: {logouts} logouts in 3 s", place.kind);
        assert_eq!(numbers, (1..=i64::try_from(logouts).unwrap()).collect::<Vec<_>>());
        assert_eq!(place.number("SELECT seq FROM feed_head").await, i64::try_from(logouts).unwrap());
    }

    async fn several_starts_at_once_make_one_schema(place: &Place) {
        let database = place.database();
        let start = || async { store::migrate(&database).await.unwrap().len() };
        let (first, second, third, fourth) = tokio::join!(start(), start(), start(), start());
        assert!(first.max(second).max(third).max(fourth) > 0);
        assert_eq!(place.counts().await, (0, 0, 0));
        assert_eq!(place.number("SELECT count(*) FROM feed_head").await, 1);
    }
}
