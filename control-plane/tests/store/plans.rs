//! How PostgreSQL looks a token up.

use curfew_control_plane::store::CHECK_ON_POSTGRES;
use sqlx::{AssertSqlSafe, Row};

use crate::place::{Kind, Place};

#[tokio::test]
async fn a_check_is_answered_from_indexes_alone() {
    let place = Place::new(Kind::Postgres, "plans");
    drop(place.open().await);
    place
        .execute(
            "INSERT INTO user_token_logs (token_id, issuer, expires_at, created_at, updated_at)
             SELECT uuid_send(gen_random_uuid()), 'i', n, n, n FROM generate_series(1, 50000) AS n;
             INSERT INTO revocations
             SELECT n, uuid_send(gen_random_uuid()), 'token', n, n, 'logout', 'user', n FROM generate_series(1, 50000) AS n",
        )
        .await;
    // Each of these statements runs alone, because it must not be in a transaction.
    place.execute("VACUUM ANALYZE user_token_logs").await;
    place.execute("VACUUM ANALYZE revocations").await;
    // The generic plan, which a connection uses after some checks.
    let explain = format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE checked (bytea, bytea, bytea, bytea, bytea, bytea) AS {CHECK_ON_POSTGRES};
         EXPLAIN EXECUTE checked ('\\x00000000000000000000000000000001', '\\x00000000000000000000000000000002', NULL,
                                  '\\x00000000000000000000000000000003', NULL,
                                  '\\x00000000000000000000000000000004')"
    );
    let mut connection = place.connection().await;
    let plan = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("Index Only Scan using user_token_logs_pkey"), "{plan}");
    assert!(plan.contains("Index Only Scan using revocations_pkey"), "{plan}");
    assert!(!plan.contains("Seq Scan on revocations") && !plan.contains("Seq Scan on user_token_logs"), "{plan}");
}
