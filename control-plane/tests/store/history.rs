//! The epoch. It stays while the history stays, and changes when the history may have changed.

use curfew_control_plane::store::{self, watch};
use curfew_core::wire::CheckVerdict::{Active, Revoked};

use crate::place::{Kind, NOW, Place, on_each_database, settings, token};

on_each_database! {
    async fn the_epoch_stays_over_restarts(place: &Place) {
        let first = place.open().await.head().await;
        assert_eq!(place.open().await.head().await, first);
    }

    async fn an_operator_gives_the_history_another_name(place: &Place) {
        let plane = place.open().await;
        let _ = plane.store.writer().logout(token("alice", 1)).await.unwrap();
        let before = plane.head().await;
        let (old, new) = store::bump_epoch(&place.database()).await.unwrap();
        assert_eq!(before.epoch, old);
        assert_ne!(old, new);
        // Revocations and their seqs stay, and a running control plane goes on under the new epoch.
        let after = plane.head().await;
        assert_eq!((after.epoch, after.seq), (new, 1));
        let _ = plane.store.writer().logout(token("alice", 2)).await.unwrap();
        let last = plane.head().await;
        assert_eq!((last.epoch, last.seq), (new, 2));
    }

    async fn another_place_is_not_read_until_it_is_taken_over(place: &Place) {
        let plane = place.open().await;
        let _ = plane.store.writer().logout(token("alice", 1)).await.unwrap();
        let before = plane.head().await;
        // The identity that a copy in another place would have.
        let elsewhere = if place.kind == Kind::Sqlite { "inode=1" } else { "server=another" };
        place.execute(&format!("UPDATE feed_head SET identity = '{elsewhere}'")).await;
        let fresh = place.open_with(place.clock());
        assert!(fresh.store.head().await.is_err());
        watch::look(&plane.store).await;
        let after = plane.head().await;
        assert_ne!(after.epoch, before.epoch);
        assert_eq!((after.seq, plane.verdict(&token("alice", 1)).await), (1, Revoked));
        watch::look(&fresh.store).await;
        assert_eq!(fresh.head().await, after);
    }

    async fn a_log_that_went_back_is_another_one(place: &Place) {
        let plane = place.open().await;
        for number in 0..3 {
            let _ = plane.store.writer().logout(token("alice", number)).await.unwrap();
        }
        let before = plane.head().await;
        place.execute("DELETE FROM revocations WHERE seq > 1").await;
        place.execute("UPDATE feed_head SET seq = 1").await;
        let _ = plane.store.writer().logout(token("bob", 1)).await.unwrap();
        let after = plane.head().await;
        assert_eq!(after.seq, 2);
        assert_ne!(after.epoch, before.epoch);
    }

    async fn a_log_that_went_back_is_noticed_by_the_next_read(place: &Place) {
        let plane = place.open().await;
        for number in 0..3 {
            let _ = plane.store.writer().logout(token("alice", number)).await.unwrap();
        }
        let (before, kept) = (plane.head().await, token("alice", 0));
        place.execute("DELETE FROM revocations WHERE seq > 1").await;
        place.execute("UPDATE feed_head SET seq = 1").await;
        assert!(plane.store.check(&kept.keys, kept.cutoff_time).await.is_err());
        // Nothing more is read before the watch has looked.
        assert!(plane.store.head().await.is_err());
        watch::look(&plane.store).await;
        let after = plane.head().await;
        assert_ne!(after.epoch, before.epoch);
        assert_eq!((after.seq, plane.verdict(&kept).await), (1, Revoked));
    }

    async fn a_log_that_went_back_is_noticed_by_the_watch(place: &Place) {
        let plane = place.open().await;
        let _ = plane.store.writer().logout(token("alice", 1)).await.unwrap();
        let before = plane.head().await;
        place.execute("UPDATE feed_head SET seq = 0").await;
        watch::look(&plane.store).await;
        let after = plane.head().await;
        assert_eq!((after.epoch == before.epoch, after.seq), (false, 0));
    }

    async fn a_start_elsewhere_begins_a_new_epoch(place: &Place) {
        let before = place.open().await.head().await;
        let elsewhere = if place.kind == Kind::Sqlite { "inode=1" } else { "server=another" };
        place.execute(&format!("UPDATE feed_head SET identity = '{elsewhere}'")).await;
        store::prepare(&place.database(), &settings(), NOW, false).await.unwrap();
        assert_ne!(place.open().await.head().await.epoch, before.epoch);
    }
}

#[tokio::test]
async fn a_file_that_is_replaced_under_a_running_server_is_noticed() {
    let place = Place::new(Kind::Sqlite, "replaced");
    let plane = place.open().await;
    let (early, late) = (token("alice", 1), token("alice", 2));
    let _ = plane.store.writer().logout(early.clone()).await.unwrap();
    let backup = place.file().with_file_name("backup.db");
    place.execute(&format!("VACUUM INTO '{}'", backup.display())).await;
    let _ = plane.store.writer().logout(late.clone()).await.unwrap();
    let before = plane.head().await;
    for file in ["curfew.db-wal", "curfew.db-shm"] {
        let _ = std::fs::remove_file(place.file().with_file_name(file));
    }
    std::fs::rename(&backup, place.file()).unwrap();
    // Nothing is read from a copy that has not been taken over, and nothing from the file that is gone.
    assert!(plane.store.check(&late.keys, late.cutoff_time).await.is_err());
    watch::look(&plane.store).await;
    let after = plane.head().await;
    assert_ne!(after.epoch, before.epoch);
    assert_eq!((plane.verdict(&early).await, plane.verdict(&late).await), (Revoked, Active));
    let _ = plane.store.writer().logout(late.clone()).await.unwrap();
    assert_eq!(plane.verdict(&late).await, Revoked);
    assert_eq!(place.counts().await, (2, 2, 2));
}
