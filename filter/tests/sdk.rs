//! The workspace's `clippy.toml` forbids the SDK's calls that panic, by name. The list must be complete, so it is
//! compared with the source of the version that the filter is built with.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The source directory of the SDK, as cargo resolved it.
fn sdk() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", "wasm32-wasip1"])
        .arg("--manifest-path")
        .arg(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let sdks: Vec<_> = packages.iter().filter(|package| package["name"] == "proxy-wasm").collect();
    assert_eq!(sdks.len(), 1, "the SDK is there once");
    Path::new(sdks[0]["manifest_path"].as_str().unwrap()).parent().unwrap().join("src")
}

/// The paths that `clippy.toml` forbids, below the SDK.
fn forbidden() -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clippy.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let paths = text.lines().filter_map(|line| line.trim().strip_prefix("{ path = \"")?.split('"').next());
    paths.filter(|path| path.starts_with("proxy_wasm::")).map(str::to_owned).collect()
}

fn name(line: &str, before: &str) -> Option<String> {
    let name = line.strip_prefix(before)?.split(['(', '<', ' ', ':']).next()?;
    Some(name.to_owned())
}

/// Every public function of `hostcalls`. Today each of them can panic, and a new one has to be reviewed.
fn hostcalls(source: &str) -> BTreeSet<String> {
    let functions = source.lines().filter_map(|line| name(line, "pub fn "));
    functions.map(|function| format!("proxy_wasm::hostcalls::{function}")).collect()
}

/// Every method of a trait that calls one of those.
fn methods_over_hostcalls(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let (mut of_trait, mut method) = (String::new(), String::new());
    for line in source.lines() {
        of_trait = name(line, "pub trait ").unwrap_or(of_trait);
        method = name(line, "    fn ").unwrap_or(method);
        if line.contains("hostcalls::") && !line.starts_with("use ") {
            found.insert(format!("proxy_wasm::traits::{of_trait}::{method}"));
        }
    }
    found
}

#[test]
fn every_call_of_the_sdk_that_can_panic_is_forbidden_by_name_and_no_other() {
    let read = |file: &str| std::fs::read_to_string(sdk().join(file)).unwrap();
    let hostcalls = hostcalls(&read("hostcalls.rs"));
    let methods = methods_over_hostcalls(&read("traits.rs"));
    assert!(
        hostcalls.len() >= 50 && methods.len() >= 90,
        "{} and {}: is it read right?",
        hostcalls.len(),
        methods.len()
    );
    let dangerous: BTreeSet<String> = hostcalls.union(&methods).cloned().collect();
    let forbidden = forbidden();
    let missing: Vec<_> = dangerous.difference(&forbidden).collect();
    let unknown: Vec<_> = forbidden.difference(&dangerous).collect();
    assert!(missing.is_empty(), "not in clippy.toml: {missing:#?}");
    assert!(unknown.is_empty(), "in clippy.toml, but not in the SDK: {unknown:#?}");
}
