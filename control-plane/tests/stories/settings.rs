//! A start refuses wrong settings, and names each of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs the binary in an empty directory with nothing but these settings.
pub(crate) fn curfew(directory: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_curfew"))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied())
        .current_dir(directory)
        .output()
        .unwrap()
}

pub(crate) const SECRET: &str = "a token signing secret of 32 bytes or more";

pub(crate) const SECRET_OF_CALLERS: &str = "an-internal-secret-that-is-long-enough";

/// Settings, and the lines that refuse them.
type Refusal<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

pub(crate) fn refused(settings: &[(&str, &str)], lines: &[&str]) {
    let directory = TempDir::new().unwrap();
    let output = curfew(directory.path(), &["serve"], settings);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().collect::<Vec<_>>(), lines, "{settings:?}");
    assert_eq!(output.status.code(), Some(2), "{settings:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    assert!(!directory.path().join("curfew-data/secrets.json").exists(), "{settings:?}");
}

#[test]
fn one_mistake_is_one_line() {
    let address = r#"must be an IP address and a port, such as "0.0.0.0:8080" or "[::]:8080""#;
    let interval = r#"CURFEW_PURGE_INTERVAL: must be a duration from 1s to 1day, such as "5s""#;
    let check = r#"CURFEW_CHECK_TIMEOUT: must be a duration from 50ms to 10s, such as "5s""#;
    let timeout = r#"CURFEW_REQUEST_TIMEOUT: must be a duration from 100ms to 1m, such as "5s""#;
    let ascii = "CURFEW_INTERNAL_SECRET: must be visible ASCII without spaces: it travels in a header";
    let failures = "must be a number from 0 to 1000000";
    let expiry = "REDIS_BLACKLIST_OBJECT_EXPIRY_IN_SEC: must be a whole number of seconds over zero";
    let redis = "must be redis://HOST, rediss://HOST, unix:///SOCKET, redis+sentinel://HOST,HOST/SERVICE or \
                 redis+cluster://HOST,HOST, with user:password@ before the host where Redis asks for it";
    let prefix = "must be 1 to 64 visible ASCII characters without spaces and braces";
    let cases = [
        ("CURFEW_PUBLIC_LISTEN", "8080", format!("CURFEW_PUBLIC_LISTEN: {address}")),
        ("CURFEW_INTERNAL_LISTEN", "localhost:8081", format!("CURFEW_INTERNAL_LISTEN: {address}")),
        (
            "CURFEW_INTERNAL_LISTEN",
            "127.0.0.1:8080",
            "CURFEW_INTERNAL_LISTEN: is the same address as CURFEW_PUBLIC_LISTEN".to_owned(),
        ),
        ("CURFEW_PURGE_INTERVAL", "0s", interval.to_owned()),
        ("CURFEW_PURGE_INTERVAL", "999ms", interval.to_owned()),
        ("CURFEW_PURGE_INTERVAL", "25h", interval.to_owned()),
        ("CURFEW_CHECK_TIMEOUT", "49ms", check.to_owned()),
        ("CURFEW_CHECK_TIMEOUT", "11s", check.to_owned()),
        ("CURFEW_PURGE_RATE", "99", "CURFEW_PURGE_RATE: must be a number from 100 to 1000000".to_owned()),
        (
            "CURFEW_AUDIT_RETENTION",
            "forever",
            r#"CURFEW_AUDIT_RETENTION: must be a duration from 0s to 10years, such as "5s""#.to_owned(),
        ),
        ("CURFEW_REQUEST_TIMEOUT", "soon", timeout.to_owned()),
        ("CURFEW_REQUEST_TIMEOUT", "99ms", timeout.to_owned()),
        ("CURFEW_REQUEST_TIMEOUT", "61s", timeout.to_owned()),
        ("CURFEW_FAILED_LOGOUTS_PER_MINUTE", "many", format!("CURFEW_FAILED_LOGOUTS_PER_MINUTE: {failures}")),
        ("CURFEW_FAILED_LOGOUTS_PER_TOKEN", "-1", format!("CURFEW_FAILED_LOGOUTS_PER_TOKEN: {failures}")),
        ("CURFEW_TRUSTED_PROXIES", "10.0.0.0/8", "CURFEW_TRUSTED_PROXIES: must be a number from 0 to 16".to_owned()),
        ("CURFEW_LOG_FORMAT", "xml", "CURFEW_LOG_FORMAT: must be auto, json or text".to_owned()),
        ("CURFEW_INTERNAL_SECRET", "", "CURFEW_INTERNAL_SECRET: is set, but empty".to_owned()),
        (
            "CURFEW_INTERNAL_SECRET",
            "short",
            "CURFEW_INTERNAL_SECRET: must have at least 16 bytes: make one with `openssl rand -hex 32`".to_owned(),
        ),
        ("APP_ID", "shop", "APP_KEY: must be set, because APP_ID is".to_owned()),
        ("CURFEW_INTERNAL_SECRET", "an internal secret", ascii.to_owned()),
        ("CURFEW_INTERNAL_SECRET", "ein-geheimnis-f\u{fc}r-innen", ascii.to_owned()),
        ("REDIS_BLACKLIST_OBJECT_EXPIRY_IN_SEC", "0", expiry.to_owned()),
        ("REDIS_BLACKLIST_OBJECT_EXPIRY_IN_SEC", "1.5", expiry.to_owned()),
        ("REDIS_BLACKLIST_OBJECT_EXPIRY_IN_SEC", "", expiry.to_owned()),
        ("APP_KEY", "a-key-of-16-bytes", "APP_ID: must be set, because APP_KEY is".to_owned()),
        ("REDIS_URL", "http://:hunter2@cache.example.com", format!("REDIS_URL: {redis}")),
        ("REDIS_URL", "redis://cache.example.com/first", format!("REDIS_URL: {redis}")),
        ("REDIS_URL", "", "REDIS_URL: is set, but empty".to_owned()),
        (
            "REDIS_URL_FILE",
            "absent",
            "REDIS_URL_FILE: absent cannot be read: No such file or directory (os error 2)".to_owned(),
        ),
        (
            "REDIS_URL",
            "redis+sentinel://cache.example.com",
            "REDIS_URL: must name the service: HOST,HOST/SERVICE".to_owned(),
        ),
        ("CURFEW_REDIS_PREFIX", "{a}", format!("CURFEW_REDIS_PREFIX: {prefix}")),
        ("CURFEW_REDIS_PREFIX", "a b", format!("CURFEW_REDIS_PREFIX: {prefix}")),
        ("CURFEW_REDIS_PREFIX", "", format!("CURFEW_REDIS_PREFIX: {prefix}")),
        (
            "CURFEW_REDIS_CA_FILE",
            "absent",
            "CURFEW_REDIS_CA_FILE: absent cannot be read: No such file or directory (os error 2)".to_owned(),
        ),
        (
            "DATABASE_URL",
            "oracle://user:hunter2@db/curfew",
            "DATABASE_URL: must be sqlite://PATH, postgres://... or mysql://...".to_owned(),
        ),
        ("JWKS_FILE", "absent", "JWKS_FILE: absent cannot be read: No such file or directory (os error 2)".to_owned()),
    ];
    for (name, value, line) in cases {
        refused(&[(name, value)], &[&format!("error: {line}")]);
    }
}

#[test]
fn mistakes_in_what_tokens_must_be_are_named_by_their_settings() {
    for (name, value) in [
        ("JWT_SECRET", "short"),
        ("CURFEW_MAX_TOKEN_TTL", "0s"),
        ("CURFEW_CLOCK_SKEW", "5"),
        ("CURFEW_ALLOW_MISSING_EXP", "perhaps"),
        ("CURFEW_ISSUED_AT_CLAIM", "nbf"),
        ("CURFEW_USER_CLAIM", ""),
        ("CURFEW_USER_CLAIM", " "),
        ("CURFEW_USER_CLAIM", "user_id "),
        ("CURFEW_ALGORITHM", "none"),
        ("CURFEW_ALGORITHMS", "HS256,none"),
        ("CURFEW_TRY_ALL_KEYS", "perhaps"),
    ] {
        let directory = TempDir::new().unwrap();
        let settings = [("JWT_SECRET", SECRET), (name, value)];
        let output = curfew(directory.path(), &["serve"], &settings);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(&format!("error: {name}: ")), "{name}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{name}: {stderr}");
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
}

#[test]
fn settings_that_are_not_text_are_refused_and_other_variables_are_not() {
    use std::os::unix::ffi::OsStrExt;

    let directory = TempDir::new().unwrap();
    let run = |arguments: &[&str], name: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_curfew"))
            .args(arguments)
            .env_clear()
            .env(name, std::ffi::OsStr::from_bytes(b"\xff"))
            .current_dir(directory.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for name in ["JWT_SECRET", "CURFEW_USER_CLAIM", "CURFEW_INTERNAL_SECRET", "DATABASE_URL", "JWKS_FILE"] {
        assert_eq!(run(&["serve"], name), (Some(2), format!("error: {name}: is not valid UTF-8\n")));
    }
    assert_eq!(run(&["--help"], "JWT_SECRET").0, Some(0));
    assert_eq!(run(&["migrate"], "SOMEBODY_ELSES").0, Some(0));
}

#[test]
fn all_mistakes_are_told_at_once() {
    refused(
        &[("CURFEW_LOG_FORMAT", "xml"), ("REDIS_URL", "redis+cluster://a/1"), ("CURFEW_PURGE_INTERVAL", "0s")],
        &[
            "error: REDIS_URL: names a database, but a Cluster has only one",
            "error: CURFEW_LOG_FORMAT: must be auto, json or text",
            r#"error: CURFEW_PURGE_INTERVAL: must be a duration from 1s to 1day, such as "5s""#,
        ],
    );
}

#[test]
fn a_database_that_cannot_be_made_is_named() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let listen = [("CURFEW_PUBLIC_LISTEN", "127.0.0.1:0"), ("CURFEW_INTERNAL_LISTEN", "127.0.0.1:0")];
    let mut settings = vec![("DATABASE_URL", "sqlite://nowhere/curfew.db")];
    settings.extend(listen);
    let output = curfew(directory.path(), &["serve"], &settings);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("error: DATABASE_URL: the database cannot be opened: "), "{stderr}");
    assert_eq!(output.status.code(), Some(1));

    let output = curfew(directory.path(), &["serve", "--data-dir", "file"], &listen);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("error: CURFEW_DATA_DIR: file cannot be created: "), "{stderr}");
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_schema_from_the_future_is_left_alone() {
    use sqlx::{Connection, Executor};

    let directory = TempDir::new().unwrap();
    let migrated = curfew(directory.path(), &["migrate"], &[]);
    assert_eq!(
        String::from_utf8(migrated.stdout).unwrap(),
        "applied 0001 logout state\napplied 0002 history and keyspaces\napplied 0003 retention kept\napplied 0004 control planes\napplied 0005 adoptions\napplied 0006 clock mark\napplied 0007 accepted rows\napplied 0008 key sets\napplied 0009 asked sources\napplied 0010 sessions\n"
    );
    let again = curfew(directory.path(), &["migrate"], &[]);
    assert_eq!(String::from_utf8(again.stdout).unwrap(), "nothing to apply\n");

    let file = directory.path().join("curfew-data/curfew.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut database = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let future = "INSERT INTO _sqlx_migrations VALUES (9999, 'future', CURRENT_TIMESTAMP, 1, x'00', 0)";
    database.execute(future).await.unwrap();
    database.close().await.unwrap();
    for command in ["migrate", "serve"] {
        let settings = [("CURFEW_PUBLIC_LISTEN", "127.0.0.1:0"), ("CURFEW_INTERNAL_LISTEN", "127.0.0.1:0")];
        let output = curfew(directory.path(), &[command], &settings);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let line =
            "error: DATABASE_URL: the schema has migration 9999, this binary knows 10 and older: use the newer binary";
        assert_eq!(stderr.lines().last(), Some(line), "{command}");
        assert_eq!(output.status.code(), Some(1), "{command}");
    }
}

#[test]
fn mistakes_in_a_file_of_issuers_are_named_by_their_place_in_it() {
    let directory = TempDir::new().unwrap();
    let issuers = r#"[{"issuer": "https://a.example.com", "secret": "short"}, {"issuer": "https://b.example.com", "audience": "shop"}]"#;
    std::fs::write(directory.path().join("issuers.json"), issuers).unwrap();
    let settings = [("CURFEW_ISSUERS_FILE", "issuers.json"), ("CURFEW_ISSUER", "https://a.example.com")];
    let output = curfew(directory.path(), &["serve"], &settings);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let named: Vec<_> = stderr.lines().map(|line| line.split(": ").take(3).collect::<Vec<_>>().join(": ")).collect();
    assert_eq!(
        named,
        [
            "error: CURFEW_ISSUER: is set, and so is CURFEW_ISSUERS_FILE, which has it for each issuer",
            "error: CURFEW_ISSUERS_FILE: issuers[1].audience",
            "error: CURFEW_ISSUERS_FILE: issuers[0].secret",
        ],
        "{stderr}"
    );
    assert!(!stderr.contains("short\""), "{stderr}");
}

#[test]
fn mistakes_about_where_keys_come_from_are_named_by_their_settings() {
    let url = ("JWKS_URL", "https://issuer.example.com/keys");
    let cases: [Refusal<'_>; 10] = [
        (&[("JWKS_URL", "keys")], &["error: JWKS_URL: must be a URL such as https://login.example.com/keys"]),
        (
            &[("JWKS_URL", "http://issuer.example.com/jwks")],
            &["error: JWKS_URL: cannot be fetched: it is not https, and allow_http is not set"],
        ),
        (
            &[("CURFEW_ISSUER", "https://10.0.0.1")],
            &["error: CURFEW_ISSUER: cannot be fetched: its address 10.0.0.1 is in a private network, and \
               allow_private_network is not set"],
        ),
        (
            &[("CURFEW_DISCOVERY", "true")],
            &["error: CURFEW_DISCOVERY: needs the issuer's name (issuer), which the document must have too"],
        ),
        (
            &[url, ("CURFEW_KEYS_TIMEOUT", "2m"), ("CURFEW_KEYS_ALLOW_HTTP", "yes")],
            &[
                "error: CURFEW_KEYS_ALLOW_HTTP: must be true or false",
                "error: CURFEW_KEYS_TIMEOUT: must be between 100ms and 1m",
            ],
        ),
        (&[url, ("JWT_SECRET", SECRET)], &["error: JWT_SECRET: is set, and so is JWKS_URL: set one of them"]),
        (
            &[url, ("CURFEW_DISCOVERY", "true")],
            &["error: JWKS_URL: is set, and so is CURFEW_DISCOVERY: set one of them"],
        ),
        (
            &[("JWT_SECRET", SECRET), ("CURFEW_KEYS_MIN_INTERVAL", "5m")],
            &["error: CURFEW_KEYS_MIN_INTERVAL: is about keys that are fetched, and these come from secret"],
        ),
        (
            &[url, ("CURFEW_KEYS_CA_FILE", "absent")],
            &["error: CURFEW_KEYS_CA_FILE: absent cannot be read: No such file or directory (os error 2)"],
        ),
        (
            &[("CURFEW_ISSUERS_FILE", "absent"), ("CURFEW_KEYS_KEEP_FOR", "1d")],
            &[
                "error: CURFEW_KEYS_KEEP_FOR: is set, and so is CURFEW_ISSUERS_FILE, which has it for each issuer",
                "error: CURFEW_ISSUERS_FILE: absent cannot be read: No such file or directory (os error 2)",
            ],
        ),
    ];
    let callers = [("CURFEW_INTERNAL_SECRET", SECRET_OF_CALLERS), ("APP_ID", "shop"), ("APP_KEY", "a-key-of-16-bytes")];
    for (settings, lines) in cases {
        refused(&[settings, &callers].concat(), lines);
    }
}

#[test]
fn an_unreadable_key_file_is_one_mistake_whatever_else_is_set() {
    refused(
        &[("JWKS_FILE", "absent"), ("CURFEW_ALGORITHM", "ES256"), ("CURFEW_ISSUER", "https://a.example.com")],
        &["error: JWKS_FILE: absent cannot be read: No such file or directory (os error 2)"],
    );
}

#[test]
fn tokens_are_minted_as_the_chosen_issuer_makes_them() {
    let directory = TempDir::new().unwrap();
    let issuers = format!(
        r#"[{{"issuer": "https://a.example.com", "secret": "{SECRET}"}},
            {{"issuer": "https://b.example.com", "secret": "{SECRET}{SECRET}", "algorithm": "HS512", "audiences": ["shop"]}}]"#
    );
    std::fs::write(directory.path().join("issuers.json"), issuers).unwrap();
    let settings = [("CURFEW_ISSUERS_FILE", "issuers.json"), ("CURFEW_USER_CLAIM", "user_id")];
    let mint = ["token", "mint", "--user", "7", "--issuer", "https://b.example.com", "--claim", "level=3"];
    let minted = curfew(directory.path(), &mint, &settings);
    let token = String::from_utf8(minted.stdout).unwrap();
    let inspected = curfew(directory.path(), &["token", "inspect", token.trim()], &settings);
    let shown = String::from_utf8(inspected.stdout).unwrap();
    for part in
        [r#""alg": "HS512""#, r#""aud": "shop""#, r#""user_id": "7""#, r#""level": 3"#, "subject key", "\naccepted\n"]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let unknown = curfew(directory.path(), &["token", "mint", "--user", "7", "--issuer", "x"], &settings);
    assert_eq!(
        String::from_utf8(unknown.stderr).unwrap(),
        "error: --issuer: no such issuer is configured with a secret\n"
    );
}

/// The settings in `curfew serve --help`, each with its default if it has one. A setting for a file with a secret has
/// the secret's own name, as in the documentation.
fn settings_of_help(help: &str) -> BTreeMap<String, Option<String>> {
    let text = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let settings = text.split("[env: ").skip(1).map(|rest| {
        let (name, rest) = rest.split_once(']').unwrap();
        let default = rest.strip_prefix(" [default: ").map(|rest| rest.split(']').next().unwrap().to_owned());
        let secret = name.strip_suffix("_FILE").filter(|secret| text.contains(&format!("({secret} holds")));
        (secret.unwrap_or(name).to_owned(), default)
    });
    settings.collect()
}

/// The settings in the rows of the page, each with its documented default.
fn settings_of_page(page: &str) -> BTreeMap<String, String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        (name.to_owned(), rest.split(" | ").next().unwrap().to_owned())
    });
    rows.collect()
}

#[test]
fn the_documentation_has_every_setting_of_serve_with_its_default_and_no_other() {
    let directory = TempDir::new().unwrap();
    let help = String::from_utf8(curfew(directory.path(), &["serve", "--help"], &[]).stdout).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/control-plane-configuration.md");
    let page = settings_of_page(&std::fs::read_to_string(path).unwrap());
    let serve = settings_of_help(&help);
    assert!(serve.len() > 30, "{serve:?}");
    assert_eq!(page.keys().collect::<Vec<_>>(), serve.keys().collect::<Vec<_>>());
    for (name, default) in serve {
        if let Some(default) = default {
            assert_eq!(page[&name], format!("`{default}`"), "{name}");
        }
    }
}
