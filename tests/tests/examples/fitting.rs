//! The examples fit together, and what they share with the files of the demo is the same.

use anyhow::{Context as _, Result};
use curfew_testbed::bootstrap::Bootstrap;
use curfew_testbed::settings::Settings;
use serde_json::{Value, json};

use crate::files::{LISTENER_TLS, MANAGER, at, example, named, yaml_example};

/// In a connection manager: the filter's own configuration.
const FILTER: &str = "/http_filters/0/typed_config/config/configuration/value";

/// In a cluster: the certificates that it shows and asks for, and the name that it connects to.
const CLUSTER_TLS: &str = "/transport_socket/typed_config";

/// In a cluster: the address of its only endpoint.
const ENDPOINT: &str = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";

/// The places where `part` has a member or a value that `whole` has not.
fn differences(whole: &Value, part: &Value, place: &str) -> Vec<String> {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            let members = part.iter().flat_map(|(name, value)| {
                let place = format!("{place}/{name}");
                whole.get(name).map_or_else(|| vec![place.clone()], |own| differences(own, value, &place))
            });
            members.collect()
        }
        _ if whole == part => Vec::new(),
        _ => vec![place.to_owned()],
    }
}

/// A listener's connection manager, and the filter's own configuration that was taken out of it.
fn manager(listener: &Value) -> Result<(Value, Value)> {
    let mut manager = at(listener, MANAGER)?.clone();
    let filter = manager.pointer_mut(FILTER).context("the filter's configuration")?.take();
    let filter = serde_json::from_str(filter.as_str().context("a text")?)?;
    Ok((manager, filter))
}

#[test]
fn the_edge_has_every_setting_of_the_demos_connection_manager() {
    let shipped = Bootstrap::shipped().unwrap();
    let (shipped, _) = manager(shipped.at("/static_resources/listeners/0").unwrap()).unwrap();
    let listeners = yaml_example("edge-listeners.yaml").unwrap();
    let (edge, _) = manager(named(&listeners["resources"], "ingress").unwrap()).unwrap();
    // Lists are compared as a whole: the filters, with the path of the module, and the routes.
    assert_eq!(differences(&edge, &shipped, ""), [""; 0]);
}

#[test]
fn the_filter_of_the_edge_differs_from_the_demos_in_issuers_and_secret_alone() {
    let shipped = Bootstrap::shipped().unwrap().filter().unwrap();
    let listeners = yaml_example("edge-listeners.yaml").unwrap();
    let (_, edge) = manager(named(&listeners["resources"], "ingress").unwrap()).unwrap();
    let [shipped, edge] = [shipped, edge].map(|mut filter| {
        assert!(filter["issuers"].take().is_array());
        assert!(filter["control_plane"]["secret"].take().is_string());
        filter
    });
    assert_eq!(edge, shipped);
}

#[test]
fn the_curfew_clusters_of_the_edge_have_every_setting_of_the_demos_but_the_address() {
    let shipped = Bootstrap::shipped().unwrap();
    let shipped = shipped.at("/static_resources/clusters").unwrap();
    let edge = yaml_example("edge.yaml").unwrap();
    for name in ["curfew", "curfew_public"] {
        let own = named(&edge["static_resources"]["clusters"], name).unwrap();
        let mut part = named(shipped, name).unwrap().clone();
        part.as_object_mut().unwrap().remove("load_assignment");
        assert_eq!(differences(own, &part, ""), [""; 0], "{name}");
    }
}

#[test]
fn the_edge_speaks_tls_to_the_ports_of_the_small_envoy_and_both_ask_for_the_others_name() {
    let edge = yaml_example("edge.yaml").unwrap();
    let curfew = yaml_example("control-plane-tls.yaml").unwrap();
    for (cluster, listener) in [("curfew", "curfew_internal"), ("curfew_public", "curfew_public")] {
        let cluster = named(&edge["static_resources"]["clusters"], cluster).unwrap();
        let listener = named(&curfew["static_resources"]["listeners"], listener).unwrap();
        let address = at(cluster, ENDPOINT).unwrap();
        assert_eq!(address["port_value"], listener["address"]["socket_address"]["port_value"]);

        let tls = at(cluster, CLUSTER_TLS).unwrap();
        assert_eq!(tls["sni"], address["address"]);
        let name = |tls: &Value| tls["validation_context"]["match_typed_subject_alt_names"][0].clone();
        let of = |host: &Value| json!({"san_type": "DNS", "matcher": {"exact": host}});
        assert_eq!(name(&tls["common_tls_context"]), of(&address["address"]));

        let asked = at(listener, LISTENER_TLS).unwrap();
        assert_eq!(name(asked), of(&json!("edge.example.com")));
        let tls = listener.pointer("/filter_chains/0/transport_socket/typed_config/require_client_certificate");
        assert_eq!(tls, Some(&json!(true)));
    }
}

#[test]
fn the_small_envoy_passes_on_to_the_addresses_in_curfew_env() {
    let settings = Settings::parse(&example("curfew.env").unwrap()).unwrap();
    let curfew = yaml_example("control-plane-tls.yaml").unwrap();
    for (name, setting) in [("curfew_internal", "CURFEW_INTERNAL_LISTEN"), ("curfew_public", "CURFEW_PUBLIC_LISTEN")] {
        let address = at(named(&curfew["static_resources"]["clusters"], name).unwrap(), ENDPOINT).unwrap();
        let address = format!("{}:{}", address["address"].as_str().unwrap(), address["port_value"]);
        assert_eq!(address, settings.required(setting).unwrap());
        let listener = named(&curfew["static_resources"]["listeners"], name).unwrap();
        assert_eq!(at(listener, MANAGER).unwrap()["cluster"], name);
    }
}

#[test]
fn the_edge_and_curfew_env_name_the_same_issuer_and_audience() {
    let settings = Settings::parse(&example("curfew.env").unwrap()).unwrap();
    let listeners = yaml_example("edge-listeners.yaml").unwrap();
    let (_, filter) = manager(named(&listeners["resources"], "ingress").unwrap()).unwrap();
    assert_eq!(filter["issuers"][0]["issuer"], settings.required("CURFEW_ISSUER").unwrap());
    assert_eq!(filter["issuers"][0]["audiences"], json!([settings.required("CURFEW_AUDIENCES").unwrap()]));
    // The edge is the one proxy before the public listener, and writes the address of its client.
    assert_eq!(settings.required("CURFEW_TRUSTED_PROXIES").unwrap(), "1");
}

#[test]
fn the_stats_listener_leads_to_the_metrics_of_the_admin_interface_alone() {
    let edge = yaml_example("edge.yaml").unwrap();
    let admin = &edge["admin"]["address"]["socket_address"];
    assert_eq!(admin["address"], "127.0.0.1");
    let cluster = named(&edge["static_resources"]["clusters"], "admin").unwrap();
    assert_eq!(at(cluster, ENDPOINT).unwrap(), admin);
    let listeners = yaml_example("edge-listeners.yaml").unwrap();
    let stats = at(named(&listeners["resources"], "stats").unwrap(), MANAGER).unwrap();
    let get = json!({"name": ":method", "string_match": {"exact": "GET"}});
    assert_eq!(
        stats["route_config"]["virtual_hosts"][0]["routes"],
        json!([{
            "match": {"path": "/stats/prometheus", "headers": [get]},
            "route": {"cluster": "admin"},
        }])
    );
}
