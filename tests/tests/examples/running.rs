//! The settings and the units: the control plane starts with them, and the page tells to make what they name.

use curfew_testbed::control_plane::{self, ControlPlane, Profile};
use curfew_testbed::ports::loopback;
use curfew_testbed::settings::Settings;
use curfew_testbed::tokens::{Signer, jwks};
use curfew_testbed::workspace;

use crate::files::{example, examples, page, read, yaml_example};

#[test]
fn every_name_in_curfew_env_is_a_setting() {
    let names = read(&workspace::root().join("control-plane/src/config/names.rs")).unwrap();
    let settings = Settings::parse(&example("curfew.env").unwrap()).unwrap();
    assert!(settings.iter().count() > 5);
    for (name, _) in settings.iter() {
        assert!(names.contains(&format!("    \"{name}\",\n")), "{name} is no setting");
    }
}

#[test]
fn the_control_plane_starts_with_curfew_env_and_makes_up_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let keys = jwks([&Signer::generate("ES256").unwrap()]);
    let files = [
        ("jwks.json", keys.to_string()),
        ("internal-secret", format!("{}\n", "1".repeat(64))),
        ("app-key", format!("{}\n", "2".repeat(64))),
    ];
    for (name, content) in &files {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    let shipped = Settings::parse(&example("curfew.env").unwrap()).unwrap();
    let mut settings = shipped.clone();
    for (name, value) in shipped.iter() {
        if let Some(file) = value.strip_prefix("/etc/curfew/") {
            settings.set(name, directory.path().join(file).to_string_lossy());
        }
    }
    // The servers of the example do not exist; without them, the database is a file, and so are the issuer's keys.
    settings.unset("DATABASE_URL");
    settings.set("JWKS_FILE", directory.path().join("jwks.json").to_string_lossy());
    let program = control_plane::build(Profile::Test).unwrap();
    let control_plane = ControlPlane::start(&program, &settings, directory.path(), [loopback(0), loopback(0)]).unwrap();
    let output = control_plane.output();
    for warning in ["settings that this version does not know", "using secrets generated for this machine"] {
        assert!(!output.contains(warning), "{output}");
    }
}

/// The values of a setting in a unit.
fn values<'t>(unit: &'t str, name: &str) -> Vec<&'t str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(own, _)| *own == name).map(|(_, value)| value).collect()
}

#[test]
fn the_unit_of_the_control_plane_runs_it_with_its_settings_and_lets_it_write_its_data() {
    let unit = example("curfew.service").unwrap();
    let settings = Settings::parse(&example("curfew.env").unwrap()).unwrap();
    assert_eq!(values(&unit, "User"), ["curfew"]);
    assert_eq!(values(&unit, "EnvironmentFile"), ["/etc/curfew/curfew.env"]);
    assert_eq!(values(&unit, "ExecStart"), ["/usr/local/bin/curfew serve"]);
    assert_eq!(values(&unit, "ProtectSystem"), ["strict"]);
    assert_eq!(values(&unit, "ReadWritePaths"), [settings.required("CURFEW_DATA_DIR").unwrap()]);
    // A wrong setting stays wrong. Everything else may pass, so the start is tried without end.
    assert_eq!(values(&unit, "RestartPreventExitStatus"), ["2"]);
    assert_eq!(values(&unit, "StartLimitIntervalSec"), ["0"]);
}

#[test]
fn the_unit_of_envoy_runs_each_of_the_two_configurations() {
    let unit = example("envoy@.service").unwrap();
    let start = values(&unit, "ExecStart");
    assert!(start[0].starts_with("/usr/local/bin/envoy --config-path /etc/envoy/%i.yaml "), "{start:?}");
    for name in ["edge", "control-plane-tls"] {
        assert!(examples().join(format!("{name}.yaml")).is_file());
        assert!(page().unwrap().contains(&format!("systemctl enable --now envoy@{name}\n")), "{name}");
    }
    // V8 writes the code that it runs.
    assert_eq!(values(&unit, "MemoryDenyWriteExecute"), [""; 0]);
}

#[test]
fn envoy_may_open_more_files_than_clients_may_open_connections() {
    let files: u64 = values(&example("envoy@.service").unwrap(), "LimitNOFILE")[0].parse().unwrap();
    for name in ["edge.yaml", "control-plane-tls.yaml"] {
        let monitor = yaml_example(name).unwrap()["overload_manager"]["resource_monitors"][0]["typed_config"].take();
        let connections = monitor["max_active_downstream_connections"].as_u64().unwrap();
        assert!(2 * connections < files, "{name}: a client's connection may need one to an upstream");
    }
}

/// The absolute paths in the lines of a file that are no comments.
fn paths(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split([' ', '=', ',', '"', '\'']));
    let roots = ["/etc/", "/usr/local/", "/var/"];
    words.filter(|word| roots.iter().any(|root| word.starts_with(root)) && !word.contains('%')).collect()
}

#[test]
fn the_page_links_to_every_example_and_tells_to_make_every_file_that_they_name() {
    let page = page().unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(page.contains(&format!("](../envoy/examples/{name})")), "the page does not link to {name}");
        for path in paths(&read(&path).unwrap()) {
            seen += 1;
            assert!(page.contains(path), "{name} names {path}, and the page does not");
        }
    }
    assert!(seen > 15, "{seen} paths");
}
