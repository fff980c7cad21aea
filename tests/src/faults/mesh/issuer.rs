//! The mesh's second issuer, whose keys the control planes fetch and hand out.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::faults::keyring::ISSUER;
use crate::key_server::KeyServer;
use crate::settings::Settings;

/// The settings of control planes that know both issuers. The file about them is put into `directory`. The second issuer is asked as
/// often as can be, so that changes also come without a call.
pub(super) fn settings(demo: &Settings, issuer: &KeyServer, directory: &Path) -> Result<Settings> {
    let issuers = json!([
        {"issuer": demo.required("CURFEW_ISSUER")?, "secret": demo.required("JWT_SECRET")?, "algorithm": "HS256"},
        {"issuer": ISSUER, "jwks_url": issuer.url(), "min_interval": "1s", "max_interval": "1s"},
    ]);
    let file = directory.join("issuers.json");
    std::fs::write(&file, issuers.to_string())?;
    let mut settings = demo.clone();
    settings.unset("JWT_SECRET");
    settings.unset("CURFEW_ISSUER");
    settings.set("CURFEW_ISSUERS_FILE", file.to_string_lossy());
    Ok(settings)
}

/// Tells the filter of the second issuer.
pub(super) fn configure(filter: &mut Value) -> Result<()> {
    let issuers = filter.get_mut("issuers").and_then(Value::as_array_mut).context("the filter names no issuers")?;
    issuers.push(json!({ "issuer": ISSUER }));
    Ok(())
}
