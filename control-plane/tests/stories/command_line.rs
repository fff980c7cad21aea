//! How the commands end: exit codes, and what they tell about a mistake that is often made.

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::binary::{Server, command, curfew};
use crate::tokens::{SECRET, token_of};

const SETTINGS: [(&str, &str); 1] = [("JWT_SECRET", SECRET)];

/// The arguments, the settings, and the exit code.
type Case<'c> = (Vec<&'c str>, Vec<(&'c str, &'c str)>, i32);

fn run(directory: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    command(directory).args(arguments).envs(settings.iter().copied()).output().unwrap()
}

fn ended(directory: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = run(directory, arguments, settings);
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.collect()
}

#[test]
fn exit_codes_are_those_that_the_documentation_names() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    std::fs::write(directory.join("empty.db"), "").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let nowhere = ["--internal-url", "http://127.0.0.1:1"];
    let (token, secret) = (token_of("alice", "1"), ("CURFEW_INTERNAL_SECRET", "the-internal-secret-of-this-story"));
    let app = [("APP_ID", "shop"), ("APP_KEY", "a key of the application")];
    let with = |arguments: &[&'static str], more: &[&'static str]| [arguments, more].concat();
    let cases: Vec<Case<'_>> = vec![
        (vec!["--help"], vec![], 0),
        (vec!["--version"], vec![], 0),
        (vec!["serve", "--help"], vec![], 0),
        (vec!["completions", "bash"], vec![], 0),
        (vec!["man", "--output", "."], vec![], 0),
        (vec!["migrate"], vec![], 0),
        (vec!["epoch", "bump"], vec![], 0),
        (vec!["token", "mint", "--user", "7"], SETTINGS.to_vec(), 0),
        // The arguments or the settings are wrong or missing.
        (vec![], vec![], 2),
        (vec!["unknown"], vec![], 2),
        (vec!["migrate", "--unknown"], vec![], 2),
        (vec!["completions", "tcsh"], vec![], 2),
        (vec!["man", "--output", "absent"], vec![], 2),
        (vec!["serve"], vec![("CURFEW_PUBLIC_LISTEN", "here")], 2),
        (vec!["migrate"], vec![("DATABASE_URL", "oracle://db")], 2),
        (vec!["epoch", "bump"], vec![("DATABASE_URL", "sqlite://absent.db")], 2),
        (vec!["adopt"], SETTINGS.to_vec(), 2),
        (vec!["token", "mint", "--user", "7"], vec![("JWT_SECRET", "short")], 2),
        (vec!["token", "inspect", &token], vec![], 2),
        (vec!["logout"], vec![], 2),
        (vec!["logout", "--user", "7"], vec![], 2),
        (vec!["sessions", "--user", "7"], vec![], 2),
        (vec!["gateways"], vec![], 2),
        (vec!["explain", &token], vec![], 2),
        // The command failed.
        (vec!["serve", "--public-listen", &taken], vec![], 1),
        (vec!["migrate"], vec![("DATABASE_URL", "postgres://ada@127.0.0.1:1/curfew")], 1),
        (vec!["epoch", "bump"], vec![("DATABASE_URL", "sqlite://empty.db")], 1),
        (vec!["adopt"], [&SETTINGS[..], &[("CURFEW_ADOPT_FROM", "sqlite://absent.db")]].concat(), 1),
        (vec!["token", "inspect", "a.b.c"], SETTINGS.to_vec(), 1),
        (vec!["logout", "--token", &token, "--url", "http://127.0.0.1:1"], vec![], 1),
        (with(&["logout", "--user", "7"], &nowhere), app.to_vec(), 1),
        (with(&["sessions", "--user", "7"], &nowhere), vec![secret], 1),
        (with(&["gateways"], &nowhere), vec![secret], 1),
        (with(&["explain", "a.b.c"], &nowhere), vec![secret], 1),
    ];
    for (arguments, settings, code) in cases {
        let (ended, told, errors) = ended(directory, &arguments, &settings);
        assert_eq!(ended, Some(code), "{arguments:?} {settings:?}\n{told}{errors}");
        assert_eq!(errors.is_empty(), code == 0, "{arguments:?}: {errors}");
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/command-line.md")).unwrap();
    for code in ["| 0 |", "| 1 |", "| 2 |"] {
        assert!(page.contains(&format!("\n{code}")), "{code}");
    }
}

#[test]
fn a_command_that_fails_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    let absent = ended(directory, &["epoch", "bump"], &[]);
    let expected = "error: DATABASE_URL: is not set, and there is no ./curfew-data/curfew.db: name the database of `curfew serve`, \
        or make it with `curfew migrate`\n";
    assert_eq!(absent, (Some(2), String::new(), expected.to_owned()));
    for (arguments, settings) in [
        (vec!["epoch", "bump"], vec![("DATABASE_URL", "sqlite://absent.db")]),
        (vec!["clock", "accept"], vec![("DATABASE_URL", "sqlite://absent.db")]),
        (vec!["serve"], vec![("CURFEW_LOG_FORMAT", "xml")]),
        (vec!["token", "mint", "--user", "7"], vec![]),
        (vec!["token", "inspect", "a.b.c"], vec![]),
        (vec!["sessions", "--user", "7"], vec![]),
        (vec!["gateways"], vec![]),
        (vec!["logout", "--user", "7"], vec![]),
    ] {
        assert_eq!(run(directory, &arguments, &settings).status.code(), Some(2), "{arguments:?}");
        assert_eq!(files(directory), Vec::<String>::new(), "{arguments:?}");
    }
    // A file of something else stays as it is.
    std::fs::write(directory.join("empty.db"), "").unwrap();
    for command in [["epoch", "bump"], ["clock", "accept"]] {
        let refused = ended(directory, &command, &[("DATABASE_URL", "sqlite://empty.db")]);
        let expected = "error: DATABASE_URL: it is not a database of Curfew: it has no table feed_head\n";
        assert_eq!(refused, (Some(1), String::new(), expected.to_owned()));
    }
    assert_eq!(files(directory), ["empty.db"]);
    assert_eq!(std::fs::metadata(directory.join("empty.db")).unwrap().len(), 0);
}

#[test]
fn a_port_in_use_is_told_with_its_process_and_the_setting() {
    let directory = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (setting, flag) in [("PUBLIC", "public"), ("INTERNAL", "internal")] {
        let (free, flag) = (if flag == "public" { "INTERNAL" } else { "PUBLIC" }, format!("--{flag}-listen"));
        let settings = [
            (format!("CURFEW_{setting}_LISTEN"), address.clone()),
            (format!("CURFEW_{free}_LISTEN"), "127.0.0.1:0".to_owned()),
        ];
        let settings = settings.each_ref().map(|(name, value)| (name.as_str(), value.as_str()));
        let (code, _, errors) = ended(directory.path(), &["serve"], &settings);
        let last = errors.lines().last().unwrap();
        assert_eq!(code, Some(1), "{errors}");
        let setting = format!("CURFEW_{setting}_LISTEN");
        assert!(last.starts_with(&format!("error: {setting}: cannot listen on {address}: ")), "{last}");
        assert!(
            last.ends_with(&format!(" listens there. Stop it, or set {setting} or {flag} to another port")),
            "{last}"
        );
        if cfg!(target_os = "linux") {
            assert!(last.contains(&format!(": process {} (", std::process::id())), "{last}");
        }
    }
}

#[test]
fn the_wrong_listener_is_named_and_so_is_the_right_one() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    let server = Server::start(directory);
    let told = |arguments: &[&str]| curfew(directory, &server, arguments);
    let (public, internal) = (server.public.as_str(), server.internal.as_str());
    let wrong = |address: &str, is: &str, wanted: &str, setting: &str| {
        let error = format!(
            "error: {address} is the {is} listener of a control plane, and this call is for the {wanted} one: name that in {setting}"
        );
        (Some(1), String::new(), error)
    };
    let expected = wrong(public, "public", "internal", "CURFEW_INTERNAL_URL or --internal-url");
    for arguments in [
        vec!["gateways"],
        vec!["explain", "a.b.c"],
        vec!["sessions", "--user", "7"],
        vec!["logout", "--user", "7"],
        vec!["token", "mint", "--user", "7", "--register"],
    ] {
        assert_eq!(told(&[arguments, vec!["--internal-url", public]].concat()), expected);
    }
    let (_, token, _) = told(&["token", "mint", "--user", "7"]);
    let expected = wrong(internal, "internal", "public", "CURFEW_PUBLIC_URL or --url");
    for more in [vec![], vec!["--all-devices"]] {
        assert_eq!(told(&[vec!["logout", "--token", &token, "--url", internal], more].concat()), expected);
    }
}

#[test]
fn keys_are_listed_held_back_and_let_go() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    let key = |kid: &str, x: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#);
    let ordinary = key("2026-05", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    // A name that would clear the screen.
    let strange = key("\\u001b[2J", "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw");
    std::fs::write(directory.join("jwks.json"), format!(r#"{{"keys":[{ordinary},{strange}]}}"#)).unwrap();
    let mut serve = command(directory);
    serve.env("JWKS_FILE", "jwks.json");
    let server = Server::spawn(directory, serve);
    let run = |arguments: &[&str]| curfew(directory, &server, arguments);
    let (code, listed, _) = run(&["keys", "list"]);
    let lines: Vec<_> = listed.lines().collect();
    let thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    assert_eq!((code, lines[0]), (Some(0), "(no name)  from file jwks.json"), "{listed}");
    assert!(lines.contains(&&*format!("  2026-05  {thumbprint}  EdDSA  in force")), "{listed}");
    assert!(listed.contains("  (unusual)  ") && !listed.contains('\u{1b}'), "{listed}");
    let said = |text: &str| (Some(0), text.to_owned(), String::new());
    assert_eq!(run(&["keys", "distrust", "2026-05"]), said("other keys are in force now"));
    assert_eq!(
        run(&["keys", "distrust", "2026-05"]),
        said("the keys in force are what they were: curfew keys list shows them")
    );
    let (_, listed, _) = run(&["keys", "list"]);
    assert!(listed.contains(&format!("  2026-05  {thumbprint}  EdDSA  distrusted since ")), "{listed}");
    assert!(listed.contains("\n  distrusted names: 2026-05\n"), "{listed}");
    assert_eq!(run(&["keys", "trust", "", "2026-05"]), said("other keys are in force now"));
    let mistyped = run(&["keys", "distrust", "2026-50"]);
    let warning = "warning: no key of this name is or was known; it will be refused if it is published.";
    assert_eq!((mistyped.0, mistyped.2.starts_with(warning)), (Some(0), true), "{mistyped:?}");
    assert_eq!(mistyped.1, "the keys in force are what they were: curfew keys list shows them");
    assert_eq!(run(&["keys", "trust", "2026-50"]).0, Some(0));
    assert_eq!(run(&["keys", "remove", thumbprint]), said("other keys are in force now"));
    let unknown = "error: 404 Not Found: The issuer has no key with this kid or thumbprint. (key_unknown)";
    assert_eq!(run(&["keys", "remove", "2025-01"]), (Some(1), String::new(), unknown.to_owned()));
    let (_, json, _) = run(&["keys", "list", "--json"]);
    assert!(json.contains(r#""kid": "\u001b[2J""#) && json.contains(r#""state": "removed""#), "{json}");
    assert_eq!(run(&["keys", "refresh", "--json"]).0, Some(0));
    assert_eq!(run(&["keys", "remove"]).0, Some(2));
    let log = std::fs::read_to_string(directory.join("log")).unwrap();
    // The keys are configured, and the other secrets are not.
    let generated = "secrets.json: configure CURFEW_INTERNAL_SECRET, APP_ID and APP_KEY for anything else";
    assert!(log.contains(generated), "{log}");
    assert!(log.contains("the keys of an issuer have changed") && !log.contains('\u{1b}'), "{log}");
}

#[test]
fn a_command_without_secrets_says_how_to_name_the_servers_directory() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    let (code, _, errors) = ended(directory, &["gateways"], &[]);
    assert_eq!(code, Some(2));
    assert_eq!(
        errors,
        "error: CURFEW_INTERNAL_SECRET: is not set, and no server has generated secrets in ./curfew-data/secrets.json: set it, or \
         name the data directory of `curfew serve` with --data-dir or CURFEW_DATA_DIR\n"
    );
}

#[test]
fn a_token_is_shown_without_keys_and_said_to_be_unverified() {
    let directory = TempDir::new().unwrap();
    let (code, told, errors) = ended(directory.path(), &["token", "inspect", &token_of("alice", "1")], &[]);
    assert_eq!(code, Some(2));
    for part in [
        "header (unverified)\n{\n  \"alg\": \"HS256\",",
        "claims (unverified)\n{",
        "\"sub\": \"alice\"",
        "times (unverified)\n  iat       2027-01-15T08:00:00Z  ",
        "\n  exp       2027-01-15T09:00:00Z  ",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(told.ends_with("these settings do not say with what to check it\n"), "{told}");
    assert!(!told.contains("accepted") && !told.contains("key"), "{told}");
    assert!(errors.starts_with("error: JWT_SECRET: is not set, and no server has generated secrets in "), "{errors}");
}

#[test]
fn an_environment_of_a_framework_gets_a_hint_and_no_password_is_told() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    let laravel = [
        ("DB_CONNECTION", "mysql"),
        ("DB_HOST", "db.example.com"),
        ("DB_PASSWORD", "hunter2"),
        ("REDIS_HOST", "cache"),
    ];
    for arguments in [["migrate"].as_slice(), &["epoch", "bump"]] {
        let (code, _, errors) = ended(directory, arguments, &laravel);
        assert_eq!(code, Some(0), "{errors}");
        let url = "set DATABASE_URL=mysql://USER:PASSWORD@db.example.com/curfew,";
        assert!(errors.starts_with("hint: DATABASE_URL is not set, and DB_CONNECTION, DB_HOST are: "), "{errors}");
        assert!(errors.contains(url) && errors.lines().count() == 1 && !errors.contains("hunter2"), "{errors}");
    }
    let own = [&laravel[..], &[("DATABASE_URL", "sqlite://own.db")]].concat();
    assert_eq!(ended(directory, &["migrate"], &own).2, "");

    let mut serve = command(directory);
    serve.envs(laravel).env("REDIS_PASSWORD", "hunter2");
    drop(Server::spawn(directory, serve));
    let log = std::fs::read_to_string(directory.join("log")).unwrap();
    for url in ["DATABASE_URL=mysql://USER:PASSWORD@db.example.com/curfew,", "REDIS_URL=redis://:PASSWORD@cache,"] {
        assert!(log.contains(url), "{log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn shells_and_man_know_every_command() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, errors) = ended(directory, &["completions", shell], &[]);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{shell}");
        for word in ["gateways", "accept-unreadable", "epoch"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(directory, &["man", "--output", "."], &[]).status.code(), Some(0));
    let mut pages = files(directory);
    pages.sort();
    let expected = [
        "curfew-adopt.1",
        "curfew-clock-accept.1",
        "curfew-clock.1",
        "curfew-completions.1",
        "curfew-epoch-bump.1",
        "curfew-epoch.1",
        "curfew-explain.1",
        "curfew-gateways.1",
        "curfew-keys-distrust.1",
        "curfew-keys-list.1",
        "curfew-keys-refresh.1",
        "curfew-keys-remove.1",
        "curfew-keys-trust.1",
        "curfew-keys.1",
        "curfew-logout.1",
        "curfew-man.1",
        "curfew-migrate.1",
        "curfew-serve.1",
        "curfew-sessions.1",
        "curfew-token-inspect.1",
        "curfew-token-mint.1",
        "curfew-token.1",
        "curfew.1",
    ];
    assert_eq!(pages, expected);
    let page = std::fs::read_to_string(directory.join("curfew-serve.1")).unwrap();
    assert!(page.contains("CURFEW_PUBLIC_LISTEN") && page.contains("Run the control plane"), "{page}");
}

#[test]
fn the_version_names_the_commit_if_there_is_one() {
    let directory = TempDir::new().unwrap();
    let (_, told, _) = ended(directory.path(), &["--version"], &[]);
    let rest = told.strip_prefix(concat!("curfew ", env!("CARGO_PKG_VERSION"))).unwrap().trim_end();
    let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    assert!(rest.is_empty() || commit.is_some_and(|commit| !commit.is_empty() && commit.len() <= 12), "{told}");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.git");
    if repository.exists() && option_env!("CURFEW_COMMIT").is_none() {
        assert!(commit.is_some_and(|commit| commit.bytes().all(|byte| byte.is_ascii_hexdigit())), "{told}");
    }
}
