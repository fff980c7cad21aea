//! The purge removes what is no longer needed, and not a second earlier.

use curfew_control_plane::store::command::Purged;
use curfew_control_plane::store::purge;
use serde_json::json;

use crate::plane::Plane;
use crate::tokens::token_of;

async fn everything(plane: &Plane) -> (u64, u64) {
    let Purged { tokens, revocations } = purge::everything(plane.store.writer(), &plane.metrics.store).await.unwrap();
    (tokens, revocations)
}

#[tokio::test]
async fn a_logout_is_forgotten_when_the_token_is_dead_everywhere() {
    let plane = Plane::start().await;
    plane.logout(&token_of("alice", "1")).await;
    plane.advance(3600 + 5 + 2 + 60);
    assert_eq!(everything(&plane).await, (0, 0));
    plane.advance(1);
    assert_eq!(everything(&plane).await, (1, 1));
    // The seqs go on where they were.
    assert_eq!(plane.rows().await, (0, 0, 1));
}

#[tokio::test]
async fn a_users_cutoff_outlives_the_longest_token() {
    let plane = Plane::start().await;
    plane.lgt_all(json!({"user_id": "alice", "app_id": "app", "app_key": "key"})).await;
    plane.advance(30 * 24 * 3600 + 5 + 5 + 2 + 60);
    assert_eq!(everything(&plane).await, (0, 0));
    plane.advance(1);
    assert_eq!(everything(&plane).await, (0, 2));
}

#[tokio::test]
async fn many_rows_go_in_portions() {
    let plane = Plane::start().await;
    let tokens: Vec<_> = (0..1000).map(|jti| token_of("alice", &jti.to_string())).collect();
    plane.register(&tokens.iter().map(String::as_str).collect::<Vec<_>>()).await;
    plane.logout_all(&tokens[0]).await;
    plane.advance(4000);
    let alive = token_of("bob", "1");
    assert_eq!(plane.store.writer().purge().await, Ok(Purged { tokens: 500, revocations: 500 }));
    assert_eq!(everything(&plane).await, (500, 500));
    // Alice's subject entry is still needed.
    assert_eq!(plane.rows().await.1, 1);
    assert_eq!(plane.logout(&alive).await.problem(), (401, "token_expired".to_owned()));
    let metrics = plane.state.measured().unwrap();
    assert!(metrics.contains("curfew_purged_rows_total{table=\"user_token_logs\"} 500\n"), "{metrics}");
}
