//! Listeners that differ from the shipped one in their guard, and in nothing else that costs time.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::bootstrap::Bootstrap;
use crate::ports::loopback;

const SHIPPED: &str = "/static_resources/listeners/0";
const MANAGER: &str = "/filter_chains/0/filters/0/typed_config";
const FILTERS: &str = "/filter_chains/0/filters/0/typed_config/http_filters";
const CONFIGURATION: &str = "/typed_config/config/configuration/value";

/// The filters before a service.
#[derive(Clone, Debug)]
pub enum Guard {
    /// None.
    Nobody,
    /// Curfew's filter as in the configuration.
    Curfew,
    /// Curfew's filter with this configuration, in a VM of its own.
    CurfewAs(Value),
    /// Envoy's own `jwt_authn` with this provider.
    JwtAuthn(Value),
    /// Envoy's own `ext_authz`, which asks this cluster over HTTP about each request.
    ExtAuthz(&'static str),
    /// These guards, one behind the other.
    All(Vec<Self>),
}

impl Guard {
    /// Its filters, without the router.
    fn filters(&self, listener: &str, curfew: &Value) -> Result<Vec<Value>> {
        Ok(match self {
            Self::Nobody => Vec::new(),
            Self::Curfew => vec![curfew.clone()],
            Self::CurfewAs(configuration) => vec![curfew_as(curfew, listener, configuration)?],
            Self::JwtAuthn(provider) => vec![jwt_authn(provider)],
            Self::ExtAuthz(cluster) => vec![ext_authz(cluster)],
            Self::All(guards) => {
                let filters = guards.iter().map(|guard| guard.filters(listener, curfew));
                filters.collect::<Result<Vec<_>>>()?.concat()
            }
        })
    }
}

fn curfew_as(curfew: &Value, vm: &str, configuration: &Value) -> Result<Value> {
    let mut filter = curfew.clone();
    let places = [("/typed_config/config/vm_config/vm_id", vm.to_owned()), (CONFIGURATION, configuration.to_string())];
    for (place, text) in places {
        *filter.pointer_mut(place).with_context(|| format!("the filter has nothing at {place}"))? = json!(text);
    }
    Ok(filter)
}

fn jwt_authn(provider: &Value) -> Value {
    let configuration = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"issuer": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}],
    });
    json!({"name": "envoy.filters.http.jwt_authn", "typed_config": configuration})
}

fn ext_authz(cluster: &str) -> Value {
    let service = json!({"server_uri": {"uri": "http://authorization.example", "cluster": cluster, "timeout": "5s"}});
    let configuration = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "http_service": service,
    });
    json!({"name": "envoy.filters.http.ext_authz", "typed_config": configuration})
}

/// The service that answers admitted requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Envoy itself, with a 200 and nothing more.
    DirectResponse,
    /// A service: the cluster `upstream`.
    Upstream,
}

impl Behind {
    fn route(self) -> Value {
        match self {
            Self::DirectResponse => json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}}),
            Self::Upstream => json!({"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}),
        }
    }
}

/// The shipped listener with another name and guard, on a free port, and without an access log: with a line for each
/// request, a flood would measure the disk.
///
/// # Errors
/// When the shipped file is not as it was.
pub fn listener(bootstrap: &Bootstrap, name: &str, guard: &Guard, behind: Behind) -> Result<Value> {
    let mut listener = bootstrap.at(SHIPPED)?.clone();
    let address = loopback(0);
    let shipped = listener.pointer(FILTERS).and_then(Value::as_array).context("http_filters is no list")?;
    let [curfew, router] = shipped.as_slice() else { bail!("envoy.yaml has other filters than Curfew and the router") };
    let filters = [guard.filters(name, curfew)?, vec![router.clone()]].concat();
    let manager =
        listener.pointer_mut(MANAGER).and_then(Value::as_object_mut).context("the listener has no manager")?;
    manager.remove("access_log");
    manager.insert("stat_prefix".to_owned(), json!(name));
    manager.insert("http_filters".to_owned(), Value::Array(filters));
    let hosts = json!([{"name": "everything", "domains": ["*"], "routes": [behind.route()]}]);
    manager.insert("route_config".to_owned(), json!({"name": name, "virtual_hosts": hosts}));
    let socket = json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    let members = listener.as_object_mut().context("a listener is no object")?;
    members.insert("name".to_owned(), json!(name));
    members.insert("address".to_owned(), socket);
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(guard: &Guard) -> Vec<String> {
        let listener = listener(&Bootstrap::shipped().unwrap(), "x", guard, Behind::DirectResponse).unwrap();
        let filters = listener.pointer(FILTERS).unwrap().as_array().unwrap();
        filters.iter().map(|filter| filter["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn listeners_differ_in_their_guard() {
        let router = "envoy.filters.http.router";
        assert_eq!(filters(&Guard::Nobody), [router]);
        assert_eq!(filters(&Guard::Curfew), ["curfew", router]);
        let (jwt_authn, ext_authz) = (Guard::JwtAuthn(json!({})), Guard::ExtAuthz("authorization"));
        assert_eq!(filters(&jwt_authn), ["envoy.filters.http.jwt_authn", router]);
        let both = Guard::All(vec![jwt_authn, ext_authz]);
        assert_eq!(filters(&both), ["envoy.filters.http.jwt_authn", "envoy.filters.http.ext_authz", router]);
    }

    #[test]
    fn another_configuration_has_a_vm_of_its_own() {
        let guard = Guard::CurfewAs(json!({"issuers": []}));
        let listener = listener(&Bootstrap::shipped().unwrap(), "x", &guard, Behind::Upstream).unwrap();
        let config = listener.pointer(FILTERS).unwrap()[0]["typed_config"]["config"].clone();
        assert_eq!(config["vm_config"]["vm_id"], "x");
        assert_eq!(config["configuration"]["value"], r#"{"issuers":[]}"#);
    }
}
