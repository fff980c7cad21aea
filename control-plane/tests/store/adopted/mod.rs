//! Tokens that are taken over from another application's table: nothing in it is lost, and blocked tokens stay refused.

mod blanks;
mod rows;
mod running;
mod sources;
mod tables;

use std::time::Duration;

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use curfew_control_plane::adopt::{AdoptFailure, Databases, Plan, Rules, Tally, Unfinished, adopt};
use curfew_control_plane::store::command::TokenRecord;
use curfew_core::Policy;
use serde_json::json;
use sqlx::Row;

use crate::place::{ISSUER, Kind, NOW, Place, on_each_database, settings};

/// There are no workers, and so no leases to wait for.
const PLAN: Plan = Plan {
    apply: true,
    forget: false,
    batch: 3,
    pause: Duration::ZERO,
    accept_unreadable: true,
    leases_over: Duration::ZERO,
};

/// Makes the table as Laravel's migrations make it.
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

/// Makes the file of an SQLite database, because the tests' own connection makes none.
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

/// A token's text, with a made-up signature.
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

/// Adopts the table of the database `old` into the database `place`.
async fn run(old: &Place, place: &Place, plan: Plan) -> Result<Option<Tally>, AdoptFailure> {
    let (policy, settings, clock) = (policy(), settings(), place.clock());
    let rules = Rules { policy: &policy, settings: &settings, clock: &clock };
    let (from, own) = (old.database(), place.database());
    let adopted = adopt(Databases { from: &from, own: &own }, rules, plan, |_| {}).await?;
    Ok(adopted.map(|adopted| adopted.tally))
}

pub(crate) async fn adopt_all(old: &Place, place: &Place) -> Tally {
    run(old, place, PLAN).await.unwrap().unwrap()
}

/// The rows with all columns, as the other application sees them.
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

/// What Curfew knows: tokens with their state, the number of revocations, and the head's seq.
async fn known(place: &Place) -> (Vec<(String, i64)>, i64, i64) {
    let statement = match place.kind {
        Kind::Mariadb => {
            "SELECT CAST(LOWER(HEX(token_id)) AS CHAR), CAST(is_block AS SIGNED) FROM user_token_logs ORDER BY token_id"
        }
        Kind::Postgres => {
            "SELECT encode(token_id, 'hex'), CAST(is_block AS bigint) FROM user_token_logs ORDER BY token_id"
        }
        Kind::Sqlite => "SELECT lower(hex(token_id)), is_block FROM user_token_logs ORDER BY token_id",
    };
    let tokens = place.rows(statement).await.iter().map(|row| (row.get(0), row.get(1))).collect();
    let revocations = place.number("SELECT count(*) FROM revocations").await;
    (tokens, revocations, place.number("SELECT seq FROM feed_head").await)
}

/// The texts in the column of tokens.
async fn texts(place: &Place) -> Vec<String> {
    place.rows("SELECT user_token FROM user_token_logs ORDER BY id").await.iter().map(|row| row.get(0)).collect()
}

async fn fill(place: &Place) {
    make_old_table(place).await;
    insert(place, &living(1), false).await;
    insert(place, &living(2), true).await;
    insert(place, "not a token", true).await;
    // A token that is blocked in one row and not in the others.
    insert(place, &living(3), false).await;
    insert(place, &format!("Bearer {}", living(3)), true).await;
    insert(place, &living(3), false).await;
    insert(place, &text(4, NOW - 1000), true).await;
    insert(place, "", false).await;
}
