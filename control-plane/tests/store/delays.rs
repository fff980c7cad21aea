//! No statement waits for the network's delayed acknowledgements.

use std::time::{Duration, Instant};

use crate::place::{Kind, Place, on_each_database, registration, token};

/// A delayed acknowledgement takes 40 ms, and a registration that meets one takes at least that.
const STALL: Duration = Duration::from_millis(40);

on_each_database! {
    async fn statements_of_any_length_do_not_stall(place: &Place) {
        let plane = place.open().await;
        let mut took = Vec::new();
        for number in 0..30 {
            // Each registration has another number of tokens, so its three statements have texts of their own.
            let tokens = (0..=number % 10).map(|place_in| registration(token("alice", number * 100 + place_in)));
            let tokens: Vec<_> = tokens.collect();
            let began = Instant::now();
            plane.store.writer().register(tokens).await.unwrap();
            took.push(began.elapsed());
        }
        // A busy machine holds up some of them. A stall would hold up all.
        assert!(took.iter().min() < Some(&STALL), "{took:?}");
    }
}
