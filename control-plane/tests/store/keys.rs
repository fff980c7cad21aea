//! Key sets: a change of them is a change of the log.

use curfew_control_plane::log::ControlPlaneId;
use curfew_control_plane::store::keys::{
    ChangeKeys, HandedOut, KeyRefusal, KeyStep, KeyTexts, KeysChange, MAX_ALL_BYTES, MAX_SET_BYTES, StoredFetch,
};
use curfew_control_plane::store::{self, watch};
use curfew_core::IssuerId;

use crate::place::{ISSUER, Kind, NOW, Place, Plane, answered, on_each_database, token};

fn texts(jwks: &str) -> KeyTexts {
    let (jwks, listed) = (jwks.to_owned(), jwks.to_owned());
    KeyTexts { jwks, listed, holds: "{}".into(), source: "a file".into(), listed_at: NOW }
}

fn put(texts: KeyTexts) -> ChangeKeys {
    Box::new(move |_| KeyStep::Put(texts.clone()))
}

async fn change(plane: &Plane, issuer: &str, change: ChangeKeys) -> KeysChange {
    plane.store.writer().change_keys(issuer.into(), change).await.unwrap().outcome().clone()
}

fn changed(before: Option<&str>, after: Option<&str>) -> KeysChange {
    KeysChange::Changed { before: before.map(str::to_owned), after: after.map(str::to_owned) }
}

/// The head's seq and the newest change of keys, as every kind of reading shows them.
async fn shown(plane: &Plane) -> (u64, u64) {
    let sets = answered(async || plane.store.key_sets().await).await;
    let newest = answered(async || plane.store.newest_keys().await).await;
    let token = token("alice", 1);
    let checked = answered(async || plane.store.check(&token.keys, token.cutoff_time).await).await;
    let page = answered(async || plane.store.log_page(ControlPlaneId::from_bytes([1; 16]), 0, 9).await).await;
    let all = [(sets.head, sets.keys_seq), (newest.head, newest.keys_seq), (checked.head, checked.keys_seq)];
    assert_eq!(all, [(page.head, page.keys_seq); 3]);
    (page.head.seq, page.keys_seq)
}

on_each_database! {
    async fn a_change_of_keys_takes_a_place_in_the_log_and_is_shown_by_each_reading(place: &Place) {
        let plane = place.open().await;
        let before = plane.head().await.seq;
        assert_eq!(shown(&plane).await, (before, 0));
        let _ = plane.store.writer().logout(token("alice", 1)).await.unwrap();
        assert_eq!(shown(&plane).await, (before + 1, 0));
        assert_eq!(change(&plane, ISSUER, put(texts("one"))).await, changed(None, Some("one")));
        assert_eq!(shown(&plane).await, (before + 2, before + 2));
        let _ = plane.store.writer().logout(token("alice", 2)).await.unwrap();
        assert_eq!(shown(&plane).await, (before + 3, before + 2));
        assert_eq!(change(&plane, "", put(texts("two"))).await, changed(None, Some("two")));
        assert_eq!(shown(&plane).await, (before + 4, before + 4));
        let mut sets = answered(async || plane.store.key_sets().await).await.what;
        sets.sort_by(|one, other| one.issuer.cmp(&other.issuer));
        let set = |issuer: &str, seq, jwks: &str| HandedOut { issuer: issuer.into(), seq, jwks: jwks.into() };
        assert_eq!(sets, [set("", before + 4, "two"), set(ISSUER, before + 2, "one")]);
        // No revocation has the place of a change, and none is lost beside it.
        let page = answered(async || plane.store.log_page(ControlPlaneId::from_bytes([1; 16]), before, 9).await).await;
        let places: Vec<_> = page.entries.iter().map(|entry| entry.seq).collect();
        assert_eq!((places, page.more), (vec![before + 1, before + 3], false));
    }

    async fn where_the_keys_stay_the_same_the_log_stays_too(place: &Place) {
        let plane = place.open().await;
        change(&plane, ISSUER, put(texts("one"))).await;
        let before = shown(&plane).await;
        assert_eq!(change(&plane, ISSUER, put(texts("one"))).await, KeysChange::Same);
        let noted = KeyTexts { listed: "more".into(), holds: "held".into(), listed_at: NOW + 5, ..texts("one") };
        place.advance(5);
        assert_eq!(change(&plane, ISSUER, put(noted.clone())).await, KeysChange::Same);
        assert_eq!(shown(&plane).await, before);
        let shelves = answered(async || plane.store.shelves().await).await.what;
        let [row] = &shelves[..] else { panic!("{shelves:?}") };
        let keys = row.keys.clone().unwrap();
        assert_eq!((row.issuer, keys.texts, keys.seq, keys.changed_at), (IssuerId::of(ISSUER), noted, before.1, NOW));
        let refused: ChangeKeys = Box::new(|_| KeyStep::Refuse(KeyRefusal::UnknownKey));
        assert_eq!(change(&plane, ISSUER, refused).await, KeysChange::Refused(KeyRefusal::UnknownKey));
        assert_eq!(shown(&plane).await, before);
        assert_eq!(change(&plane, ISSUER, Box::new(|_| KeyStep::Forget)).await, changed(Some("one"), None));
        assert_eq!(shown(&plane).await, (before.0 + 1, before.0 + 1));
        assert_eq!(change(&plane, ISSUER, Box::new(|_| KeyStep::Forget)).await, KeysChange::Same);
    }

    async fn changes_of_one_batch_see_each_other(place: &Place) {
        let plane = place.open().await;
        let before = plane.head().await.seq;
        let writer = plane.store.writer();
        let append = |letter: &'static str| -> ChangeKeys {
            Box::new(move |stored| {
                let text = stored.map(|stored| stored.texts.jwks.clone()).unwrap_or_default();
                KeyStep::Put(texts(&(text + letter)))
            })
        };
        let (one, two, _) = tokio::join!(
            writer.change_keys(ISSUER.into(), append("a")),
            writer.change_keys(ISSUER.into(), append("b")),
            writer.logout(token("alice", 1)),
        );
        assert_eq!(*one.unwrap().outcome(), changed(None, Some("a")));
        assert_eq!(*two.unwrap().outcome(), changed(Some("a"), Some("ab")));
        assert_eq!(shown(&plane).await, (before + 3, before + 2));
    }

    async fn long_sets_of_any_alphabet_are_kept_byte_by_byte_and_what_has_no_room_is_not(place: &Place) {
        let plane = place.open().await;
        let long = "\u{1f511}é'\\\"".repeat(MAX_SET_BYTES / 9);
        assert_eq!(change(&plane, "a", put(texts(&long))).await, changed(None, Some(&long)));
        let rest = "x".repeat(MAX_ALL_BYTES - long.len());
        assert_eq!(change(&plane, "b", put(texts(&rest))).await, changed(None, Some(&rest)));
        let before = shown(&plane).await;
        assert_eq!(change(&plane, "c", put(texts("y"))).await, KeysChange::NoRoom { bytes: 1 });
        let larger = format!("{rest}x");
        assert_eq!(change(&plane, "b", put(texts(&larger))).await, KeysChange::NoRoom { bytes: larger.len() });
        assert_eq!(shown(&plane).await, before);
        let sets = answered(async || plane.store.key_sets().await).await.what;
        let text = |issuer: &str| sets.iter().find(|set| set.issuer == issuer).map(|set| set.jwks.clone());
        assert_eq!((text("a"), text("b"), text("c")), (Some(long), Some(rest), None));
    }

    async fn what_is_known_of_fetches_moves_no_head(place: &Place) {
        let plane = place.open().await;
        let before = shown(&plane).await;
        let fetch = StoredFetch {
            started_at_ms: Some(1_800_000_000_123),
            source_hash: Some(u32::MAX.into()),
            demanded_at_ms: Some(1_800_000_000_100),
            next_at_ms: Some(1_800_000_600_000),
            etag: Some("\"v1\"".into()),
            failures: 2,
            error_code: Some("no_answer".into()),
            error: Some("é".repeat(600)),
            ..StoredFetch::default()
        };
        let writer = plane.store.writer();
        let given = fetch.clone();
        assert!(writer.change_fetch(ISSUER.into(), Box::new(move |_| Some(given.clone()))).await.unwrap());
        assert!(!writer.change_fetch(ISSUER.into(), Box::new(|stored| stored.cloned())).await.unwrap());
        assert!(!writer.change_fetch(ISSUER.into(), Box::new(|_| None)).await.unwrap());
        let shelves = answered(async || plane.store.shelves().await).await.what;
        let stored = shelves[0].fetch.clone().unwrap();
        assert_eq!(stored, StoredFetch { error: Some("é".repeat(512)), ..fetch.clone() });
        let next = StoredFetch { failures: 0, error_code: None, error: None, etag: Some("e".repeat(1025)), ..fetch };
        let given = next.clone();
        assert!(writer.change_fetch(ISSUER.into(), Box::new(move |_| Some(given.clone()))).await.unwrap());
        let shelves = answered(async || plane.store.shelves().await).await.what;
        assert_eq!(shelves[0].fetch, Some(StoredFetch { etag: None, ..next }));
        assert_eq!((shelves.len(), shown(&plane).await), (1, before));
    }

    async fn keys_stay_when_the_history_gets_another_name(place: &Place) {
        let plane = place.open().await;
        change(&plane, ISSUER, put(texts("one"))).await;
        let (before, seqs) = (plane.head().await, shown(&plane).await);
        store::bump_epoch(&place.database()).await.unwrap();
        watch::look(&plane.store).await;
        assert_ne!(plane.head().await.epoch, before.epoch);
        assert_eq!(shown(&plane).await, seqs);
        // In a log that went back, no change of keys is newer than the log.
        place.execute("UPDATE feed_head SET seq = seq - 1").await;
        watch::look(&plane.store).await;
        assert_eq!(shown(&plane).await, (seqs.0 - 1, seqs.1 - 1));
    }
}
