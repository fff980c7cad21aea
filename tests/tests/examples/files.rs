//! The examples as text and as values.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use curfew_testbed::workspace;
use serde_json::Value;

/// In a listener: the connection manager, or the proxy of bytes.
pub(crate) const MANAGER: &str = "/filter_chains/0/filters/0/typed_config";

/// In a listener: the certificates that it shows and asks for.
pub(crate) const LISTENER_TLS: &str = "/filter_chains/0/transport_socket/typed_config/common_tls_context";

pub(crate) fn examples() -> PathBuf {
    workspace::root().join("envoy/examples")
}

pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

pub(crate) fn example(name: &str) -> Result<String> {
    read(&examples().join(name))
}

pub(crate) fn yaml(path: &Path) -> Result<Value> {
    serde_saphyr::from_str(&read(path)?).with_context(|| path.display().to_string())
}

pub(crate) fn yaml_example(name: &str) -> Result<Value> {
    yaml(&examples().join(name))
}

pub(crate) fn page() -> Result<String> {
    read(&workspace::root().join("docs/deploying-on-envoy.md"))
}

/// The member of a list with this name.
pub(crate) fn named<'v>(list: &'v Value, name: &str) -> Result<&'v Value> {
    let found = list.as_array().into_iter().flatten().find(|member| member["name"] == name);
    found.with_context(|| format!("there is no {name}"))
}

pub(crate) fn at<'v>(value: &'v Value, pointer: &str) -> Result<&'v Value> {
    value.pointer(pointer).with_context(|| format!("there is nothing at {pointer}"))
}
