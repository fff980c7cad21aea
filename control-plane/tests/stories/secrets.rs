//! A start refuses secrets that are short, shared or known to everybody.

use tempfile::TempDir;

use crate::settings::{SECRET, SECRET_OF_CALLERS, curfew, refused};

#[test]
fn short_keys_and_one_secret_for_two_purposes_are_refused() {
    refused(
        &[("APP_ID", "shop"), ("APP_KEY", "15-bytes-of-key")],
        &["error: APP_KEY: must have at least 16 bytes: make one with `openssl rand -hex 32`"],
    );
    let shared = "one-secret-for-everything-is-one-too-few";
    refused(
        &[("JWT_SECRET", shared), ("CURFEW_INTERNAL_SECRET", shared), ("APP_ID", "shop"), ("APP_KEY", shared)],
        &[
            "error: APP_KEY: is the same secret as CURFEW_INTERNAL_SECRET: use another one",
            "error: JWT_SECRET: is the same secret as CURFEW_INTERNAL_SECRET: use another one",
        ],
    );
    refused(
        &[
            ("JWT_SECRET", shared),
            ("CURFEW_INTERNAL_SECRET", SECRET_OF_CALLERS),
            ("APP_ID", "shop"),
            ("APP_KEY", shared),
        ],
        &["error: JWT_SECRET: is the same secret as APP_KEY: use another one"],
    );
}

#[test]
fn two_issuers_do_not_share_a_secret_and_one_issuer_may_have_it_twice() {
    let directory = TempDir::new().unwrap();
    let shared = "c2hhcmVk".repeat(6);
    let key = |kid: &str| format!(r#"{{"kty": "oct", "alg": "HS256", "kid": "{kid}", "k": "{shared}"}}"#);
    let issuers = format!(
        r#"[{{"issuer": "https://a.example.com", "jwks": {{"keys": [{}, {}]}}}},
            {{"issuer": "https://b.example.com", "secret_base64": "{shared}"}},
            {{"issuer": "https://c.example.com", "secret": "{SECRET_OF_CALLERS}"}}]"#,
        key("1"),
        key("2")
    );
    std::fs::write(directory.path().join("issuers.json"), issuers).unwrap();
    let settings = [
        ("CURFEW_ISSUERS_FILE", "issuers.json"),
        ("CURFEW_INTERNAL_SECRET", SECRET_OF_CALLERS),
        ("APP_ID", "shop"),
        ("APP_KEY", "a-key-of-16-bytes"),
    ];
    let output = curfew(directory.path(), &["serve"], &settings);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let file = "CURFEW_ISSUERS_FILE: issuers";
    let expected = [
        format!("error: {file}[1].secret_base64: is the same secret as {file}[0].jwks.keys[0].k: use another one"),
        format!("error: {file}[2].secret: is the same secret as CURFEW_INTERNAL_SECRET: use another one"),
    ];
    assert_eq!(stderr.lines().collect::<Vec<_>>(), expected);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn secrets_are_made_up_only_for_a_machine_of_ones_own() {
    let because = "must be set, because CURFEW_INTERNAL_LISTEN is not a loopback address";
    refused(
        &[("CURFEW_INTERNAL_LISTEN", "0.0.0.0:0")],
        &[
            &format!("error: JWT_SECRET: {because}"),
            &format!("error: CURFEW_INTERNAL_SECRET: {because}"),
            &format!("error: APP_ID and APP_KEY: {because}"),
        ],
    );
}

#[test]
fn secrets_that_everybody_knows_are_for_a_machine_of_ones_own_too() {
    let demo = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../envoy/demo.env")).unwrap();
    let demo: Vec<_> =
        demo.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect();
    let open = [("CURFEW_PUBLIC_LISTEN", "0.0.0.0:0"), ("CURFEW_INTERNAL_LISTEN", "127.0.0.1:0")];
    let why = "and CURFEW_PUBLIC_LISTEN is not a loopback address: make one with `openssl rand -hex 32`";
    refused(
        &[&demo[..], &open].concat(),
        &[
            &format!("error: CURFEW_INTERNAL_SECRET: is published with Curfew's demo, {why}"),
            &format!("error: APP_KEY: is published with Curfew's demo, {why}"),
            &format!("error: JWT_SECRET: is published with Curfew's demo, {why}"),
        ],
    );
    let own = [("JWT_SECRET", SECRET), ("APP_ID", "shop"), ("APP_KEY", "the key of the shop's backend")];
    refused(
        &[&own[..], &open, &[("CURFEW_INTERNAL_SECRET", "0000000000000000000000000000000000000000")]].concat(),
        &[&format!("error: CURFEW_INTERNAL_SECRET: is a repetition that can be guessed, {why}")],
    );
    // The database is asked for only after all other settings are right.
    let accepted = [("CURFEW_ACCEPT_PUBLISHED_SECRETS", "true"), ("DATABASE_URL", "sqlite://nowhere/x/curfew.db")];
    let directory = TempDir::new().unwrap();
    let output = curfew(directory.path(), &["serve"], &[&demo[..], &open, &accepted].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("DATABASE_URL") && !stderr.contains("published"), "{stderr}");
}

#[test]
fn a_secret_and_its_file_are_one_too_many() {
    refused(
        &[("JWT_SECRET", SECRET), ("JWT_SECRET_FILE", "/dev/null")],
        &["error: JWT_SECRET: is set, and so is JWT_SECRET_FILE: set one of them"],
    );
    refused(
        &[("JWT_SECRET", SECRET), ("JWKS_FILE", "/dev/null")],
        &["error: JWT_SECRET: is set, and so is JWKS_FILE: set one of them"],
    );
}

#[test]
fn a_secret_from_a_file_is_the_same_secret_without_its_line_break() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("secret"), format!("{SECRET}\n")).unwrap();
    let minted = curfew(directory.path(), &["token", "mint", "--user", "alice"], &[("JWT_SECRET_FILE", "secret")]);
    let token = String::from_utf8(minted.stdout).unwrap();
    let inspected = curfew(directory.path(), &["token", "inspect", token.trim()], &[("JWT_SECRET", SECRET)]);
    assert_eq!(inspected.status.code(), Some(0), "{inspected:?}");
}
