//! The files that a user runs unchanged: they fit together, and everything that they name exists.

use std::process::Command;

use anyhow::{Context as _, Result};
use curfew_testbed::bootstrap::Bootstrap;
use curfew_testbed::settings::Settings;
use curfew_testbed::{wasm, workspace};
use serde_json::{Value, json};

fn compose() -> Result<Value> {
    let text = std::fs::read_to_string(workspace::root().join("envoy/docker-compose.yaml"))?;
    serde_saphyr::from_str(&text).context("docker-compose.yaml")
}

fn dockerfile() -> Result<String> {
    Ok(std::fs::read_to_string(workspace::root().join("envoy/Dockerfile"))?)
}

/// The host name and port of a cluster in Envoy's configuration.
fn endpoint(cluster: &str) -> Result<(String, u64)> {
    let bootstrap = Bootstrap::shipped()?;
    let clusters = bootstrap.at("/static_resources/clusters")?.as_array().context("a list")?;
    let found = clusters.iter().find(|known| known.get("name").and_then(Value::as_str) == Some(cluster));
    let endpoint = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    let address = found.and_then(|found| found.pointer(endpoint)).context("the endpoint")?;
    let host = address.get("address").and_then(Value::as_str).context("a host")?;
    let port = address.get("port_value").and_then(Value::as_u64).context("a port")?;
    Ok((host.to_owned(), port))
}

#[test]
fn the_filter_in_envoy_yaml_has_the_secrets_of_demo_env() {
    let filter = Bootstrap::shipped().unwrap().filter().unwrap();
    let settings = Settings::demo().unwrap();
    let issuer = &filter["issuers"][0];
    assert_eq!(issuer["secret"], settings.required("JWT_SECRET").unwrap());
    assert_eq!(issuer["issuer"], settings.required("CURFEW_ISSUER").unwrap());
    assert_eq!(filter["control_plane"]["secret"], settings.required("CURFEW_INTERNAL_SECRET").unwrap());
}

#[test]
fn envoy_writes_the_clients_address_where_the_control_plane_looks_for_it() {
    let bootstrap = Bootstrap::shipped().unwrap();
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    assert_eq!(bootstrap.at(&format!("{manager}/use_remote_address")).unwrap(), &json!(true));
    assert_eq!(Settings::demo().unwrap().required("CURFEW_TRUSTED_PROXIES").unwrap(), "1");
}

/// The values of these members.
fn of<'v>(names: [&'static str; 2]) -> impl Fn(&'v Value) -> [&'v Value; 2] {
    move |object| names.map(|name| &object[name])
}

#[test]
fn the_filter_skips_exactly_what_envoy_routes_to_the_control_plane_and_its_health() {
    let bootstrap = Bootstrap::shipped().unwrap();
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let routes = bootstrap.at(&format!("{manager}/route_config/virtual_hosts/0/routes")).unwrap();
    let to_curfew = routes.as_array().unwrap().iter().filter(|route| route["route"]["cluster"] == "curfew_public");
    let routed: Vec<[&Value; 2]> =
        to_curfew.map(|route| &route["match"]).map(of(["path", "path_separated_prefix"])).collect();
    let filter = bootstrap.filter().unwrap();
    let skipped: Vec<[&Value; 2]> = filter["rules"].as_array().unwrap().iter().map(of(["path", "prefix"])).collect();
    for places in &routed {
        assert!(skipped.contains(places), "{places:?} is judged twice");
    }
    // The two logouts, each in two spellings, and their state; and the upstream's health check.
    assert_eq!((routed.len(), skipped.len()), (5, 6));
}

#[test]
fn compose_runs_a_service_for_every_cluster_on_the_port_that_envoy_uses() {
    let compose = compose().unwrap();
    let control_plane = &compose["services"]["control-plane"]["environment"];
    for (cluster, setting) in [("curfew_public", "CURFEW_PUBLIC_LISTEN"), ("curfew", "CURFEW_INTERNAL_LISTEN")] {
        let (host, port) = endpoint(cluster).unwrap();
        assert!(compose["services"].get(&host).is_some(), "no service {host}");
        assert_eq!(control_plane[setting], format!("0.0.0.0:{port}"));
    }
    let (host, port) = endpoint("upstream").unwrap();
    assert!(compose["services"].get(&host).is_some());
    assert!(dockerfile().unwrap().contains(&format!("\"--listen\", \"0.0.0.0:{port}\"")));
}

#[test]
fn compose_publishes_envoy_and_the_internal_listener_on_loopback_only() {
    let compose = compose().unwrap();
    assert_eq!(compose["services"]["envoy"]["ports"], json!(["127.0.0.1:10000:10000"]));
    assert_eq!(compose["services"]["control-plane"]["ports"], json!(["127.0.0.1:8081:8081"]));
    assert_eq!(compose["services"]["upstream"].get("ports"), None);
    let listener = Bootstrap::shipped().unwrap();
    let address = listener.at("/static_resources/listeners/0/address/socket_address/port_value").unwrap();
    assert_eq!(*address, 10_000);
}

#[test]
fn everything_that_compose_names_exists() {
    let envoy = workspace::root().join("envoy");
    let (compose, dockerfile) = (compose().unwrap(), dockerfile().unwrap());
    for (name, service) in compose["services"].as_object().unwrap() {
        let build = &service["build"];
        assert!(envoy.join(build["context"].as_str().unwrap()).join("Cargo.toml").is_file());
        assert_eq!(build["dockerfile"], "envoy/Dockerfile");
        let target = build["target"].as_str().unwrap();
        assert!(dockerfile.lines().any(|line| line.ends_with(&format!(" AS {target}"))), "{name}: {target}");
        if let Some(file) = service["env_file"].as_str() {
            assert!(envoy.join(file).is_file());
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            let named = compose["volumes"].as_object().unwrap().contains_key(source);
            assert!(named || envoy.join(source).exists(), "{name}: {source}");
        }
    }
}

/// The module for the tests about traps obeys a header of the request. If it were deployed, any client could stop it.
#[test]
fn the_shipped_module_knows_no_command_to_trap() {
    let knows = |module: &std::path::Path| {
        let bytes = std::fs::read(module).unwrap();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(holds(b"curfew_requests_admitted"), "texts of the filter are found");
        holds(b"x-curfew-trap")
    };
    let [shipped, trapping] = [wasm::build(), wasm::build_trapping()].map(Result::unwrap);
    assert_ne!(shipped, trapping);
    assert_eq!((knows(&shipped), knows(&trapping)), (false, true));
}

/// The host enters the VM for each exported callback, for every request.
#[test]
fn the_module_exports_no_callback_that_does_nothing() {
    let module = std::fs::read(wasm::build().unwrap()).unwrap();
    let module = wasmtime::Module::new(&wasmtime::Engine::default(), module).unwrap();
    let mut names: Vec<_> = module.exports().map(|export| export.name().to_owned()).collect();
    names.sort();
    let mut wanted: Vec<_> = wasm::CALLBACKS.map(str::to_owned).into();
    wanted.extend(["_initialize", "memory", "proxy_abi_version_0_2_1"].map(str::to_owned));
    wanted.sort();
    assert_eq!(names, wanted);
}

#[test]
fn the_image_has_the_filter_where_envoy_yaml_loads_it() {
    let bootstrap = Bootstrap::shipped().unwrap();
    let plugin =
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";
    let config = bootstrap.at(plugin).unwrap();
    let path = config["vm_config"]["code"]["local"]["filename"].as_str().unwrap();
    assert!(dockerfile().unwrap().contains(&format!("curfew_filter.wasm {path}\n")));
    assert_eq!(config["failure_policy"], "FAIL_RELOAD");
    let version = format!("envoyproxy/envoy:v{} ", curfew_testbed::envoy::VERSION);
    assert!(dockerfile().unwrap().contains(&version));
}

/// Docker's own check, if a client with compose is installed; it needs no engine.
#[test]
fn docker_compose_accepts_the_file() {
    let docker = |arguments: &[&str]| Command::new("docker").current_dir(workspace::root()).args(arguments).output();
    if !docker(&["compose", "version"]).is_ok_and(|output| output.status.success()) {
        eprintln!("no docker compose here: the file is only checked by the other tests");
        return;
    }
    let output = docker(&["compose", "--file", "envoy/docker-compose.yaml", "config", "--quiet"]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
