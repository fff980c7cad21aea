//! A set in a file is read again when it changes, and never half.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use curfew_control_plane::keys::{FetchTerms, Fetched, FileWatch, KeySource, Outcome, Source};
use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::time::timeout;

use super::provider::fetch;

fn set(kid: &str) -> Value {
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid}]})
}

/// What the watch tells within so many seconds.
async fn told(watch: &mut FileWatch, seconds: u64) -> Option<Result<Value, (&'static str, String)>> {
    let next = timeout(Duration::from_secs(seconds), watch.next()).await.ok()?;
    Some(next.map_err(|failure| (failure.code(), failure.to_string())))
}

#[tokio::test]
async fn a_file_that_changes_is_read_again() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("keys.json");
    fs::write(&path, set("a").to_string()).unwrap();
    let mut watch = FileWatch::new(path.clone());
    assert_eq!(told(&mut watch, 10).await, Some(Ok(set("a"))));
    // As long as before, within the same step of the clock perhaps.
    fs::write(&path, set("b").to_string()).unwrap();
    assert_eq!(told(&mut watch, 10).await, Some(Ok(set("b"))));
    // Written anew with the same text.
    fs::write(&path, set("b").to_string()).unwrap();
    assert_eq!(told(&mut watch, 3).await, None);
    let other = directory.path().join("other.json");
    fs::write(&other, set("c").to_string()).unwrap();
    fs::rename(&other, &path).unwrap();
    assert_eq!(told(&mut watch, 10).await, Some(Ok(set("c"))));
}

#[tokio::test]
async fn a_symbolic_link_that_is_turned_is_a_change() {
    let directory = tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    for name in ["one", "two"] {
        fs::create_dir(place(name)).unwrap();
        fs::write(place(name).join("keys.json"), set(name).to_string()).unwrap();
    }
    // As Kubernetes does: the file is a link into `..data`, which is a link to a directory.
    symlink("one", place("..data")).unwrap();
    symlink("..data/keys.json", place("keys.json")).unwrap();
    let mut watch = FileWatch::new(place("keys.json"));
    assert_eq!(told(&mut watch, 10).await, Some(Ok(set("one"))));
    symlink("two", place("..new")).unwrap();
    fs::rename(place("..new"), place("..data")).unwrap();
    assert_eq!(told(&mut watch, 10).await, Some(Ok(set("two"))));
}

#[tokio::test]
async fn a_file_that_is_half_written_is_told_once_and_read_when_it_is_whole() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("keys.json");
    let whole = set("a").to_string();
    fs::write(&path, &whole[..20]).unwrap();
    let mut watch = FileWatch::new(path.clone());
    let sentence = format!("the keys at {}: ends too early (line 1, column 20)", path.display());
    assert_eq!(told(&mut watch, 10).await, Some(Err(("not_json", sentence))));
    assert_eq!(told(&mut watch, 3).await, None);
    fs::write(&path, &whole).unwrap();
    assert_eq!(told(&mut watch, 10).await, Some(Ok(set("a"))));
    fs::remove_file(&path).unwrap();
    let sentence = format!("the keys at {}: cannot be read: No such file or directory (os error 2)", path.display());
    assert_eq!(told(&mut watch, 10).await, Some(Err(("file", sentence))));
    assert_eq!(told(&mut watch, 3).await, None);
    fs::write(&path, &whole).unwrap();
    assert_eq!(told(&mut watch, 10).await, Some(Ok(set("a"))));
}

#[tokio::test]
async fn a_signal_has_the_file_read_again_at_once() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("keys.json");
    fs::write(&path, set("a").to_string()).unwrap();
    let mut watch = FileWatch::new(path);
    let handle = watch.handle();
    told(&mut watch, 10).await.unwrap().unwrap();
    handle.reread();
    assert_eq!(told(&mut watch, 10).await, Some(Ok(set("a"))));
    assert_eq!(told(&mut watch, 2).await, None);
}

#[tokio::test]
async fn what_is_no_file_of_keys_is_refused() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("keys.json");
    let from = KeySource { source: Source::File(path.clone()), terms: FetchTerms::default() };
    let code = async || fetch(&from).await.unwrap_err().code();
    assert_eq!(code().await, "file");
    fs::create_dir(&path).unwrap();
    assert_eq!(code().await, "file");
    fs::remove_dir(&path).unwrap();
    fs::write(&path, "{}").unwrap();
    assert_eq!(code().await, "not_jwks");
    fs::write(&path, format!("{{\"keys\": []{}}}", " ".repeat(512 * 1024))).unwrap();
    assert_eq!(code().await, "too_large");
    fs::write(&path, set("a").to_string()).unwrap();
    let expected = Fetched { jwks: set("a"), etag: None, fresh_for: None };
    assert_eq!(fetch(&from).await, Ok(Outcome::Fetched(expected)));
}
