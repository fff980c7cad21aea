//! The real binary takes over the tokens of another application, whose database has a table of raw tokens.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tempfile::TempDir;

use crate::binary::{Server, command};
use crate::tokens::{self, SECRET};

/// The application's database, and Curfew's.
const OLD: &str = "old.db";
const OWN: &str = "own.db";

async fn database(directory: &Path, file: &str) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(directory.join(file)).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn number(directory: &Path, file: &str, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(&mut database(directory, file).await).await.unwrap()
}

fn url(directory: &Path, file: &str) -> String {
    format!("sqlite://{}/{file}", directory.display())
}

/// A command with the same settings as `serve`.
fn configured(directory: &Path) -> Command {
    let mut command = command(directory);
    command.env("DATABASE_URL", url(directory, OWN)).env("JWT_SECRET", SECRET);
    command
}

fn ended(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn adopting(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = configured(directory);
    command.env("CURFEW_ADOPT_FROM", url(directory, OLD)).arg("adopt").args(arguments);
    command
}

fn adopt(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    ended(adopting(directory, arguments))
}

/// Makes Curfew's database; returns what the command says.
fn migrate(directory: &Path) -> String {
    let mut command = configured(directory);
    command.arg("migrate");
    let (code, told, errors) = ended(command);
    assert_eq!(code, Some(0), "{errors}");
    told
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
    database(directory, OLD).await.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
    tokens
}

#[tokio::test]
async fn an_existing_table_is_adopted_and_served() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    let tokens = old_table(directory, 6).await;
    for refusing in ["serve", "migrate"] {
        let mut command = configured(directory);
        command.env("DATABASE_URL", url(directory, OLD)).arg(refusing);
        let (code, _, refused) = ended(command);
        assert_eq!(code, Some(1));
        assert_eq!(
            refused.lines().last().unwrap(),
            "error: DATABASE_URL: its table user_token_logs is another application's: give Curfew a database of its own, and \
             run `curfew adopt --from` with the URL of this one to take over what is blocked there"
        );
    }
    let numbers = "rows                    6\nnothing left to do      0\ntokens taken over       6\nduplicates              0\n\
                   expired, only marked    0\nblocked, now revoked    2\nunreadable, left alone  0\nraw tokens blanked      0\n";
    let [old, own] = [OLD, OWN].map(|file| directory.join(file).display().to_string());
    let (code, told, errors) = adopt(directory, &[]);
    let title = format!("dry run, nothing was written. --apply would adopt user_token_logs of {old} into {own}:");
    let first = format!("name the database of `curfew serve` in DATABASE_URL, or make {own} with `curfew migrate`");
    let end = format!("to do it, {first}; then add --apply\n");
    assert_eq!((code, told), (Some(0), format!("{title}\n{numbers}{end}")), "{errors}");
    migrate(directory);
    let (code, told, errors) = adopt(directory, &[]);
    assert_eq!((code, told), (Some(0), format!("{title}\n{numbers}to do it, add --apply\n")), "{errors}");
    let (code, told, errors) = adopt(directory, &["--apply"]);
    let adopted = format!("adopted user_token_logs of {old} into {own}:\n{numbers}done: run it again at any time\n");
    assert_eq!((code, told), (Some(0), adopted), "{errors}");
    assert_eq!(migrate(directory), "nothing to apply\n");

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
    for file in [OLD, OWN] {
        assert_eq!(number(directory, file, "SELECT count(*) FROM user_token_logs").await, 6, "{file}");
    }
}

#[tokio::test]
async fn a_dry_run_leaves_files_as_they_are_and_makes_none() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    let (code, told, errors) = adopt(directory, &[]);
    assert_eq!((code, told.as_str()), (Some(1), ""), "{errors}");
    assert!(errors.contains("error: CURFEW_ADOPT_FROM: the database cannot be opened"), "{errors}");
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0);

    old_table(directory, 6).await;
    let before = std::fs::read(directory.join(OLD)).unwrap();
    assert_eq!(adopt(directory, &[]).0, Some(0));
    let mut without_a_database = adopting(directory, &[]);
    without_a_database.env_remove("DATABASE_URL");
    assert_eq!(ended(without_a_database).0, Some(0));
    assert_eq!(std::fs::read(directory.join(OLD)).unwrap(), before);
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 1);
}

#[tokio::test]
async fn an_adoption_makes_no_database_and_blanks_nothing_without_one() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    old_table(directory, 6).await;
    let before = std::fs::read(directory.join(OLD)).unwrap();
    let arguments = ["--apply", "--forget-raw-tokens"];
    let remedy = "name the database of `curfew serve`, or make it with `curfew migrate`";
    let absent = directory.join(OWN).display().to_string();
    let (code, told, errors) = adopt(directory, &arguments);
    let expected = format!("error: DATABASE_URL: names {absent}, and there is no such file: {remedy}\n");
    assert_eq!((code, told, errors), (Some(2), String::new(), expected));

    let mut without_a_database = adopting(directory, &arguments);
    without_a_database.env_remove("DATABASE_URL");
    let expected = format!("error: DATABASE_URL: is not set, and there is no ./curfew-data/curfew.db: {remedy}\n");
    assert_eq!(ended(without_a_database), (Some(2), String::new(), expected));
    assert_eq!(std::fs::read(directory.join(OLD)).unwrap(), before);
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 1);
}

#[tokio::test]
async fn an_adoption_goes_into_the_database_that_serve_has_made_by_default() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    old_table(directory, 6).await;
    let with_the_default = |mut command: Command| {
        command.env_remove("DATABASE_URL");
        command
    };
    drop(Server::spawn(directory, with_the_default(configured(directory))));
    let (code, told, errors) = ended(with_the_default(adopting(directory, &["--apply"])));
    assert_eq!(code, Some(0), "{errors}");
    let old = directory.join(OLD).display().to_string();
    let title = format!("adopted user_token_logs of {old} into ./curfew-data/curfew.db:");
    assert_eq!(told.lines().next(), Some(title.as_str()));
}

#[tokio::test]
async fn the_applications_database_is_named_by_a_flag_a_variable_or_a_file_and_no_password_is_told() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    old_table(directory, 6).await;
    let file = directory.join("url");
    std::fs::write(&file, format!("{}\n", url(directory, OLD))).unwrap();
    let file = file.display().to_string();
    for arguments in [["--from", &url(directory, OLD)], ["--from-file", &file]] {
        let mut command = configured(directory);
        command.arg("adopt").args(arguments);
        assert!(ended(command).1.contains("tokens taken over       6"), "{arguments:?}");
    }
    let adopting = |settings: &[(&str, &str)]| {
        let mut command = configured(directory);
        command.arg("adopt").envs(settings.iter().copied());
        ended(command)
    };
    let secret = "postgres://ada:hunter2@127.0.0.1:1/shop";
    for (settings, code, error) in [
        (vec![], 2, "CURFEW_ADOPT_FROM: must name the application's database, as --from or --from-file do"),
        (
            vec![("CURFEW_ADOPT_FROM", secret), ("CURFEW_ADOPT_FROM_FILE", file.as_str())],
            2,
            "CURFEW_ADOPT_FROM: is set, and so is CURFEW_ADOPT_FROM_FILE: set one of them",
        ),
        (
            vec![("CURFEW_ADOPT_FROM", "hunter2")],
            2,
            "CURFEW_ADOPT_FROM: must be sqlite://PATH, postgres://... or mysql://...",
        ),
        (vec![("CURFEW_ADOPT_FROM_FILE", "/absent")], 2, "CURFEW_ADOPT_FROM_FILE: /absent cannot be read: "),
        (vec![("CURFEW_ADOPT_FROM", secret)], 1, "CURFEW_ADOPT_FROM: the database cannot be opened: "),
    ] {
        let (ended, told, errors) = adopting(&settings);
        assert_eq!((ended, told.as_str()), (Some(code), ""), "{errors}");
        assert!(errors.starts_with(&format!("error: {error}")), "{errors}");
        assert!(!errors.contains("hunter2") && errors.lines().count() == 1, "{errors}");
    }
}

#[tokio::test]
async fn what_was_accepted_once_is_no_error_for_a_timer_and_what_is_new_is() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    old_table(directory, 3).await;
    let unreadable = async |rows: std::ops::Range<u32>| {
        let values: Vec<_> = rows.map(|row| format!("(7, 'unreadable {row}', 1)")).collect();
        let insert =
            format!("INSERT INTO user_token_logs (user_id, user_token, is_block) VALUES {}", values.join(", "));
        database(directory, OLD).await.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await.unwrap();
    };
    unreadable(0..22).await;
    migrate(directory);
    let problem = |rows: u32| {
        format!(
            "error: {rows} blocked rows hold no token that these settings accept, and nothing of them is revoked: mend the \
             settings, or say --accept-unreadable; "
        )
    };
    let (code, told, errors) = adopt(directory, &["--apply"]);
    let refused = problem(22) + "the first `curfew serve` refuses its database until then\n";
    assert_eq!((code, errors.as_str()), (Some(2), refused.as_str()), "{told}");
    let ids: Vec<_> = (4..24).map(|id| format!("{id} (not_compact)")).collect();
    assert!(told.contains(&format!("\nblocked and unreadable  {} and 2 more\n", ids.join(", "))), "{told}");
    assert!(told.ends_with("\n--unreadable-to FILE lists all of them\nnot done yet\n"), "{told}");

    assert_eq!(adopt(directory, &["--apply", "--accept-unreadable"]).0, Some(0));
    let (code, told, errors) = adopt(directory, &["--apply"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{told}");
    assert!(told.contains("22 (not_compact 22; 22 of them blocked, 22 of these accepted)"), "{told}");
    assert!(told.ends_with("raw tokens blanked      0\ndone: run it again at any time\n"), "{told}");

    unreadable(22..23).await;
    let (code, told, errors) = adopt(directory, &["--apply", "--unreadable-to", "rows.csv"]);
    let goes_on = problem(1) + "`curfew serve` starts as before, because an earlier run has ended this adoption\n";
    assert_eq!((code, errors.as_str()), (Some(2), goes_on.as_str()), "{told}");
    assert!(
        told.contains("\nblocked and unreadable  26 (not_compact)\nall unreadable rows are listed in rows.csv\n"),
        "{told}"
    );
    let file = std::fs::read_to_string(directory.join("rows.csv")).unwrap();
    assert_eq!(file.lines().count(), 24, "{file}");
    assert!(file.starts_with("id,blocked,accepted,reason\n4,yes,yes,not_compact\n"), "{file}");
    assert!(file.ends_with("\n26,yes,no,not_compact\n"), "{file}");
    // What the message says of a start is true.
    drop(Server::spawn(directory, configured(directory)));
}

#[tokio::test]
async fn an_adoption_that_is_killed_is_finished_by_the_next() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    old_table(directory, 300).await;
    migrate(directory);
    let arguments = ["--apply", "--forget-raw-tokens", "--batch", "7", "--pause", "50ms"];
    for round in 1..=4 {
        let mut process = adopting(directory, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while adopted(directory).await < round * 50 {
            assert!(process.try_wait().unwrap().is_none(), "it ended by itself");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(adopted(directory).await < 300);
    }
    let (code, _, errors) = adopt(directory, &["--apply", "--forget-raw-tokens"]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(adopted(directory).await, 300);
    let blanked = "SELECT count(*) FROM user_token_logs WHERE user_token = 'curfew:' || id";
    assert_eq!(number(directory, OLD, blanked).await, 300);
    assert_eq!(number(directory, OWN, "SELECT count(*) FROM user_token_logs").await, 300);
    assert_eq!(number(directory, OWN, "SELECT count(*) FROM user_token_logs WHERE is_block = 1").await, 100);
    assert_eq!(number(directory, OWN, "SELECT count(*) FROM revocations").await, 100);
    assert_eq!(number(directory, OWN, "SELECT seq FROM feed_head").await, 100);
    assert_eq!(number(directory, OWN, "SELECT count(*) FROM adoptions WHERE finished_at IS NOT NULL").await, 1);
}

/// The number of rows that were taken over; 0 if none has been noted yet.
async fn adopted(directory: &Path) -> i64 {
    let mut connection = database(directory, OWN).await;
    let count = sqlx::query_scalar("SELECT count(*) FROM adopted_rows").fetch_one(&mut connection).await;
    count.unwrap_or_default()
}
