//! Listeners that differ from the shipped one in what guards them, and in nothing else that costs.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::bootstrap::Bootstrap;
use crate::ports::loopback;

const SHIPPED: &str = "/static_resources/listeners/0";
const MANAGER: &str = "/filter_chains/0/filters/0/typed_config";
const FILTERS: &str = "/filter_chains/0/filters/0/typed_config/http_filters";

/// What stands before the direct response.
#[derive(Clone, Debug)]
pub enum Guard {
    /// Nothing.
    Nobody,
    /// Curfew's filter as it stands in the configuration.
    Curfew,
    /// Envoy's own `jwt_authn` with this provider.
    JwtAuthn(Value),
}

impl Guard {
    fn filters(&self, shipped: &Value) -> Result<Vec<Value>> {
        const JWT_AUTHN: &str = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
        let [curfew, router] = shipped.as_array().map(Vec::as_slice).context("http_filters is no list")? else {
            anyhow::bail!("envoy.yaml has other filters than Curfew and the router");
        };
        Ok(match self {
            Self::Nobody => vec![router.clone()],
            Self::Curfew => vec![curfew.clone(), router.clone()],
            Self::JwtAuthn(provider) => {
                let configuration = json!({
                    "@type": JWT_AUTHN,
                    "providers": {"issuer": provider},
                    "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}],
                });
                vec![json!({"name": "envoy.filters.http.jwt_authn", "typed_config": configuration}), router.clone()]
            }
        })
    }
}

/// The shipped listener under another name and guard, on a free port, with a direct 200 behind it and no access log: a
/// line for each request of a flood would measure the disk.
///
/// # Errors
/// When the shipped file is not as it was.
pub fn listener(bootstrap: &Bootstrap, name: &str, guard: &Guard) -> Result<Value> {
    let mut listener = bootstrap.at(SHIPPED)?.clone();
    let address = loopback(0);
    let filters = guard.filters(listener.pointer(FILTERS).context("the listener has no filters")?)?;
    let manager =
        listener.pointer_mut(MANAGER).and_then(Value::as_object_mut).context("the listener has no manager")?;
    manager.remove("access_log");
    manager.insert("stat_prefix".to_owned(), json!(name));
    manager.insert("http_filters".to_owned(), Value::Array(filters));
    let routes = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]);
    let hosts = json!([{"name": "everything", "domains": ["*"], "routes": routes}]);
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
        let listener = listener(&Bootstrap::shipped().unwrap(), "x", guard).unwrap();
        let filters = listener.pointer(FILTERS).unwrap().as_array().unwrap();
        filters.iter().map(|filter| filter["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn listeners_differ_in_their_guard() {
        let router = "envoy.filters.http.router";
        assert_eq!(filters(&Guard::Nobody), [router]);
        assert_eq!(filters(&Guard::Curfew), ["curfew", router]);
        assert_eq!(filters(&Guard::JwtAuthn(json!({}))), ["envoy.filters.http.jwt_authn", router]);
    }
}
