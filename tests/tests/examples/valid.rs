//! Envoy accepts the examples, in the way that the page validates them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::envoy::{self, Validation, validate_file};
use curfew_testbed::{wasm, workspace};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::files::{LISTENER_TLS, example, examples, page, read, yaml, yaml_example};

/// What an Envoy reads.
const ENVOYS: [&str; 4] = ["edge.yaml", "edge-listeners.yaml", "edge-certificate.yaml", "control-plane-tls.yaml"];

/// Where the edge loads the filter from.
const MODULE: &str = "/etc/envoy/curfew_filter.wasm";

/// The example with paths that exist here: the module that was just built, certificates for tests, and all other files in
/// `directory`.
fn moved(name: &str, directory: &Path) -> Result<String> {
    let tests = workspace::root().join("tests/certificates");
    let mut text = example(name)?;
    if text.contains(MODULE) {
        text = text.replace(MODULE, &wasm::build()?.to_string_lossy());
    }
    for owner in ["public", "edge", "curfew", "ca"] {
        for (end, file) in [("pem", "test-only.pem"), ("key", "test-only.key")] {
            text = text.replace(&format!("/etc/envoy/tls/{owner}.{end}"), &tests.join(file).to_string_lossy());
        }
    }
    Ok(text.replace("/etc/envoy/", &format!("{}/", directory.display())))
}

/// The examples of both Envoys, with paths that exist here.
struct Installed(TempDir);

impl Installed {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        for name in ENVOYS {
            std::fs::write(directory.path().join(name), moved(name, directory.path())?)?;
        }
        Ok(Self(directory))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn change(&self, name: &str, old: &str, new: &str) -> Result<()> {
        let text = read(&self.path(name))?;
        ensure!(text.contains(old), "{name} has no {old}");
        Ok(std::fs::write(self.path(name), text.replace(old, new))?)
    }

    /// As the page tells operators to validate the edge.
    fn validate_edge(&self) -> Result<Validation> {
        let mut command = Command::new(examples().join("validate-edge"));
        command.args([self.path("edge.yaml"), self.path("edge-listeners.yaml")]);
        Validation::by(command.env("ENVOY", envoy::find()?))
    }

    /// The whole edge as one bootstrap, with the certificate where Envoy reads it when it validates.
    fn whole_edge(&self) -> Result<Value> {
        let mut edge = yaml(&self.path("edge.yaml"))?;
        let mut listeners = yaml(&self.path("edge-listeners.yaml"))?["resources"].take();
        for listener in listeners.as_array_mut().into_iter().flatten() {
            listener.as_object_mut().and_then(|listener| listener.remove("@type")).context("a type")?;
        }
        let certificate = yaml(&self.path("edge-certificate.yaml"))?["resources"][0]["tls_certificate"].take();
        let tls = listeners.pointer_mut(&format!("/0{LISTENER_TLS}")).and_then(Value::as_object_mut);
        let tls = tls.context("a TLS context")?;
        tls.remove("tls_certificate_sds_secret_configs").context("a certificate by SDS")?;
        tls.insert("tls_certificates".to_owned(), json!([certificate]));
        edge["static_resources"]["listeners"] = listeners;
        Ok(edge)
    }

    fn validate(&self, bootstrap: &Value) -> Result<Validation> {
        let file = self.path("whole.json");
        std::fs::write(&file, bootstrap.to_string())?;
        validate_file(&file)
    }
}

#[test]
fn the_edge_is_valid_in_the_way_that_the_page_validates_it() {
    let validation = Installed::new().unwrap().validate_edge().unwrap();
    assert!(validation.accepted, "{}", validation.output);
}

#[test]
fn validating_the_edge_looks_at_its_listeners_and_at_the_filter_in_them() {
    let installed = Installed::new().unwrap();
    installed.change("edge-listeners.yaml", "\"sub\"", "7").unwrap();
    let validation = installed.validate_edge().unwrap();
    assert!(!validation.accepted);
    assert!(validation.output.contains("identity_headers.x-user-id"), "{}", validation.output);
}

/// What LDS and SDS bring is not read by `--mode validate`, so the certificate is validated in the listener.
#[test]
fn the_certificate_of_the_edge_is_one_that_its_listener_takes() {
    let installed = Installed::new().unwrap();
    let validation = installed.validate(&installed.whole_edge().unwrap()).unwrap();
    assert!(validation.accepted, "{}", validation.output);
}

#[test]
fn health_checks_of_both_clusters_are_valid_on_the_internal_listeners_port() {
    let installed = Installed::new().unwrap();
    let mut edge = installed.whole_edge().unwrap();
    let checks = yaml_example("health-checks.yaml").unwrap()["health_checks"].take();
    assert_eq!(checks[0]["http_health_check"]["path"], "/livez");
    for cluster in edge["static_resources"]["clusters"].as_array_mut().unwrap() {
        if cluster["name"] == "curfew" || cluster["name"] == "curfew_public" {
            cluster["health_checks"] = checks.clone();
            let endpoint = cluster.pointer_mut("/load_assignment/endpoints/0/lb_endpoints/0/endpoint").unwrap();
            endpoint["health_check_config"] = json!({"port_value": 8443});
        }
    }
    let validation = installed.validate(&edge).unwrap();
    assert!(validation.accepted, "{}", validation.output);
    let text = example("health-checks.yaml").unwrap();
    let shown = page().unwrap();
    assert!(shown.contains(&format!("```yaml\n{}```\n", &text[text.find("health_checks:").unwrap()..])));
    assert!(shown.contains("health_check_config: { port_value: 8443 }"));
}

#[test]
fn the_small_envoy_beside_the_control_plane_is_valid() {
    let installed = Installed::new().unwrap();
    let validation = validate_file(&installed.path("control-plane-tls.yaml")).unwrap();
    assert!(validation.accepted, "{}", validation.output);
}
