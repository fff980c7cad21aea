//! The real binary on a database in which another application has a table of raw tokens.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tempfile::TempDir;

use crate::binary::{Server, command};
use crate::tokens::{self, SECRET};

async fn database(directory: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(directory.join("old.db")).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn number(directory: &Path, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(&mut database(directory).await).await.unwrap()
}

/// A command with the settings that `serve` has, too.
fn configured(directory: &Path) -> Command {
    let mut command = command(directory);
    command.env("DATABASE_URL", format!("sqlite://{}/old.db", directory.display())).env("JWT_SECRET", SECRET);
    command
}

fn migrate(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = configured(directory).arg("migrate").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn token(number: u32) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    tokens::token(&json!({"sub": 7, "jti": number.to_string(), "iat": now - 10, "exp": now + 3600}))
}

/// The tokens of the table, every third of them blocked.
async fn old_table(directory: &Path, rows: u32) -> Vec<String> {
    let tokens: Vec<String> = (0..rows).map(token).collect();
    let values: Vec<String> = tokens
        .iter()
        .zip(0_u32..)
        .map(|(token, row)| format!("(7, '{token}', {})", i32::from(row.is_multiple_of(3))))
        .collect();
    let statement = format!(
        "CREATE TABLE user_token_logs (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, user_id integer NOT NULL,
             user_token text NOT NULL, is_block tinyint(1) NOT NULL DEFAULT 0, created_at datetime, updated_at datetime);
         INSERT INTO user_token_logs (user_id, user_token, is_block) VALUES {}",
        values.join(", ")
    );
    database(directory).await.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
    tokens
}

#[tokio::test]
async fn an_existing_table_is_adopted_and_served() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    let tokens = old_table(directory, 6).await;
    let refused = configured(directory).arg("serve").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let refused = String::from_utf8(refused.stderr).unwrap();
    let last = refused.lines().last().unwrap();
    assert_eq!(
        last,
        "error: DATABASE_URL: its table user_token_logs is another application's: `curfew migrate --adopt` tells what it \
         would take to bring it into use, and with --apply does it"
    );
    let numbers = "rows                    6\nnothing left to do      0\ntokens taken over       6\nduplicates              0\n\
                   expired, only marked    0\nblocked, now revoked    2\nunreadable, left alone  0\nraw tokens blanked      0\n";
    let (code, told, errors) = migrate(directory, &["--adopt"]);
    let title = "dry run, nothing was written. --apply would do this to user_token_logs:";
    assert_eq!((code, told), (Some(0), format!("{title}\n{numbers}to do it, add --apply\n")), "{errors}");
    let (code, told, errors) = migrate(directory, &["--adopt", "--apply"]);
    let end = "done: `curfew serve` can use this database; run it again at any time\n";
    assert_eq!((code, told), (Some(0), format!("adopted user_token_logs:\n{numbers}{end}")), "{errors}");
    assert_eq!(migrate(directory, &[]).1, "nothing to apply\n");

    let server = Server::spawn(directory, configured(directory));
    let logout = |token: &str| {
        let mut logout = configured(directory);
        logout.args(["logout", "--token", "-"]).env("CURFEW_PUBLIC_URL", &server.public).stdin(Stdio::piped());
        let mut process = logout.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut process.stdin.take().unwrap(), token.as_bytes()).unwrap();
        String::from_utf8(process.wait_with_output().unwrap().stderr).unwrap()
    };
    assert!(logout(&tokens[0]).contains("token_revoked"), "{}", logout(&tokens[0]));
    assert_eq!(logout(&tokens[1]), "");
    assert!(logout(&tokens[1]).contains("token_revoked"));
    assert_eq!(number(directory, "SELECT count(*) FROM user_token_logs").await, 6);
}

#[tokio::test]
async fn a_dry_run_leaves_files_as_they_are_and_makes_none() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    let (code, told, errors) = migrate(directory, &["--adopt"]);
    assert_eq!((code, told.as_str()), (Some(1), ""), "{errors}");
    assert!(errors.contains("error: DATABASE_URL: the database cannot be opened"), "{errors}");
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0);

    old_table(directory, 6).await;
    let before = std::fs::read(directory.join("old.db")).unwrap();
    assert_eq!(migrate(directory, &["--adopt"]).0, Some(0));
    assert_eq!(std::fs::read(directory.join("old.db")).unwrap(), before);
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 1);
}

#[tokio::test]
async fn an_adoption_that_is_killed_is_finished_by_the_next() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    old_table(directory, 300).await;
    let arguments = ["--adopt", "--apply", "--forget-raw-tokens", "--batch", "7", "--pause", "50ms"];
    for round in 1..=4 {
        let mut process = configured(directory)
            .arg("migrate")
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while adopted(directory).await < round * 50 {
            assert!(process.try_wait().unwrap().is_none(), "it ended by itself");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(adopted(directory).await < 300);
    }
    let (code, _, errors) = migrate(directory, &["--adopt", "--apply", "--forget-raw-tokens"]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(adopted(directory).await, 300);
    assert_eq!(number(directory, "SELECT count(*) FROM user_token_logs WHERE user_token = 'curfew:' || id").await, 300);
    assert_eq!(number(directory, "SELECT count(*) FROM curfew_token_logs").await, 300);
    assert_eq!(number(directory, "SELECT count(*) FROM curfew_token_logs WHERE is_block = 1").await, 100);
    assert_eq!(number(directory, "SELECT count(*) FROM revocations").await, 100);
    assert_eq!(number(directory, "SELECT seq FROM feed_head").await, 100);
}

/// Rows that were taken over; none before there is a note of any.
async fn adopted(directory: &Path) -> i64 {
    let mut connection = database(directory).await;
    let count = sqlx::query_scalar("SELECT count(*) FROM curfew_adopted").fetch_one(&mut connection).await;
    count.unwrap_or_default()
}
