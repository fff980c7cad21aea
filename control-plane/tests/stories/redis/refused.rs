//! A start refuses settings for Redis that cannot be right, in one line that names them. It does not refuse an outage.

use curfew_testbed::servers::{Authority, Redis};
use tempfile::TempDir;

use crate::binary::command;

/// The last line that a refused start writes.
fn refused(settings: &[(&str, &str)]) -> String {
    let directory = TempDir::new().unwrap();
    let mut command = command(directory.path());
    command.args(["serve", "--public-listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]);
    let output = command.envs(settings.iter().copied()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");
    stderr.lines().last().unwrap().to_owned()
}

#[test]
fn a_wrong_password_is_refused() {
    let redis = Redis::start_with(&["requirepass secret"], None).unwrap();
    for login in [":hunter2@", "somebody:hunter2@"] {
        let url = format!("redis://{login}127.0.0.1:{}", redis.port());
        assert_eq!(refused(&[("REDIS_URL", &url)]), "error: REDIS_URL: Redis refuses the user or the password");
    }
}

#[test]
fn a_missing_password_is_refused() {
    let redis = Redis::start_with(&["requirepass secret"], None).unwrap();
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let line = "error: REDIS_URL: Redis refuses the user or the password, or does not let them use these keys";
    assert_eq!(refused(&[("REDIS_URL", &url)]), line);
}

#[test]
fn a_database_that_redis_does_not_have_is_refused() {
    let redis = Redis::start().unwrap();
    let url = format!("redis://127.0.0.1:{}/99", redis.port());
    assert_eq!(refused(&[("REDIS_URL", &url)]), "error: REDIS_URL: Redis has no database of this number");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let redis = Redis::start_with(&[], Some(&Authority::new().unwrap())).unwrap();
    let other = Authority::new().unwrap();
    let file = other.file();
    let line = refused(&[("REDIS_URL", &redis.url()), ("CURFEW_REDIS_CA_FILE", file.to_str().unwrap())]);
    let start = "error: CURFEW_REDIS_CA_FILE: the certificate of Redis is not trusted: ";
    assert!(line.starts_with(start), "{line}");
    assert!(refused(&[("REDIS_URL", &redis.url())]).starts_with(start));
}
