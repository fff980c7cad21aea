//! The control planes' rows, and the reading that shows the log together with the own row.

use curfew_control_plane::log::LogPage;
use curfew_control_plane::log::{Beat, ControlPlaneId, ControlPlaneRow, LogPosition};

use crate::place::{Kind, Place, answered, on_each_database, token};

const ONE: ControlPlaneId = ControlPlaneId::from_bytes([1; 16]);
const OTHER: ControlPlaneId = ControlPlaneId::from_bytes([2; 16]);

on_each_database! {
    async fn a_row_is_raised_and_never_lowered(place: &Place) {
        let plane = place.open().await;
        let epoch = plane.head().await.epoch;
        let mut rows = plane.store.row_writer();
        let head = |seq| Some(LogPosition { epoch, seq });
        let row = |beat, confirmed| vec![ControlPlaneRow { id: ONE, beat, confirmed }];
        let read = async || answered(async || plane.store.control_planes().await).await.rows;
        rows.write(ONE, Beat { beat: 1, confirmed: None }).await.unwrap();
        assert_eq!(read().await, row(1, None));
        rows.write(ONE, Beat { beat: 3, confirmed: head(7) }).await.unwrap();
        assert_eq!(read().await, row(3, head(7)));
        // A write that was under way for a long time.
        rows.write(ONE, Beat { beat: 2, confirmed: head(9) }).await.unwrap();
        assert_eq!(read().await, row(3, head(7)));
        rows.write(ONE, Beat { beat: 4, confirmed: None }).await.unwrap();
        assert_eq!(read().await, row(4, None));
    }

    async fn a_row_is_removed_only_at_the_number_that_was_seen(place: &Place) {
        let plane = place.open().await;
        let mut rows = plane.store.row_writer();
        for id in [ONE, OTHER] {
            rows.write(id, Beat { beat: 5, confirmed: None }).await.unwrap();
        }
        rows.remove(ONE, 4).await.unwrap();
        rows.remove(OTHER, 5).await.unwrap();
        let left = answered(async || plane.store.control_planes().await).await.rows;
        assert_eq!(left, [ControlPlaneRow { id: ONE, beat: 5, confirmed: None }]);
    }

    async fn a_row_is_replaced_by_one_that_belongs_to_nobody(place: &Place) {
        let plane = place.open().await;
        let epoch = plane.head().await.epoch;
        let mut rows = plane.store.row_writer();
        let read = async || answered(async || plane.store.control_planes().await).await.rows;
        rows.write(ONE, Beat { beat: 5, confirmed: Some(LogPosition { epoch, seq: 7 }) }).await.unwrap();
        rows.replace(ONE, 4).await.unwrap();
        assert_eq!(read().await.first().map(|row| (row.id, row.beat)), Some((ONE, 5)), "it was written since");
        rows.replace(ONE, 5).await.unwrap();
        let [row] = read().await[..] else { panic!("one row takes the place of another") };
        assert_eq!(row, ControlPlaneRow::nobody(row.id));
        assert_ne!(row.id, ONE);
        assert_eq!(answered(async || plane.store.log_page(ONE, 0, 1).await).await.own_beat, None);
        // Its owner is alive all the same.
        rows.write(ONE, Beat { beat: 6, confirmed: None }).await.unwrap();
        assert_eq!(read().await.len(), 2);
        rows.remove(row.id, ControlPlaneRow::NOBODY).await.unwrap();
        assert_eq!(read().await, [ControlPlaneRow { id: ONE, beat: 6, confirmed: None }]);
    }

    async fn a_reading_shows_the_log_and_the_askers_own_row(place: &Place) {
        let plane = place.open().await;
        let empty = plane.head().await;
        let page = async |after, limit| answered(async || plane.store.log_page(ONE, after, limit).await).await;
        let nothing = LogPage { head: empty, keys_seq: 0, own_beat: None, entries: vec![], more: false };
        assert_eq!(page(0, 3).await, nothing);
        let mut rows = plane.store.row_writer();
        rows.write(OTHER, Beat { beat: 9, confirmed: None }).await.unwrap();
        assert_eq!(page(0, 3).await, nothing);
        rows.write(ONE, Beat { beat: 5, confirmed: None }).await.unwrap();
        for number in 1..=3 {
            let _ = plane.store.writer().logout(token("alice", number)).await.unwrap();
        }
        let whole = page(0, 3).await;
        assert_eq!((whole.head.epoch, whole.head.seq, whole.own_beat, whole.more), (empty.epoch, 3, Some(5), false));
        let keys: Vec<_> = whole.entries.iter().map(|entry| (entry.seq, entry.key)).collect();
        assert_eq!(keys, [1, 2, 3].map(|seq| (seq, token("alice", seq).keys.token)));
        let part = page(0, 2).await;
        assert_eq!((part.entries.as_slice(), part.more), (&whole.entries[..2], true));
        let rest = page(2, 2).await;
        assert_eq!((rest.entries.as_slice(), rest.more), (&whole.entries[2..], false));
        assert_eq!(page(3, 2).await, LogPage { entries: vec![], ..whole.clone() });
        assert_eq!(page(u64::MAX, 2).await, LogPage { entries: vec![], ..whole });
    }
}
