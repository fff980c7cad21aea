//! `envoy/envoy.yaml`, with the addresses of the parts that run here.
//!
//! A change that finds nothing to change is an error: a test that silently ran the unchanged file, or another one, would
//! prove nothing.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use xtask::workspace;

const ADMIN: &str = "/admin/address/socket_address";
const LISTENER: &str = "/static_resources/listeners/0/address/socket_address";
const LISTENERS: &str = "/static_resources/listeners";
const CLUSTERS: &str = "/static_resources/clusters";
const ENDPOINTS: &str = "/load_assignment/endpoints/0/lb_endpoints";
const ENDPOINT: &str = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
const CONNECTION_MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// An Envoy bootstrap configuration.
#[derive(Clone, Debug)]
pub struct Bootstrap(Value);

impl Bootstrap {
    /// The shipped file, unchanged.
    ///
    /// # Errors
    /// If it is missing or not YAML.
    pub fn shipped() -> Result<Self> {
        let path = workspace::root().join("envoy/envoy.yaml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self(serde_saphyr::from_str(&text).context("envoy.yaml")?))
    }

    /// Moves the listener that clients connect to.
    ///
    /// # Errors
    /// If the file has no such address.
    pub fn listen_on(&mut self, address: SocketAddr) -> Result<()> {
        self.readdress(LISTENER, address)
    }

    /// Moves the admin interface.
    ///
    /// # Errors
    /// If the file has no such address.
    pub fn admin_on(&mut self, address: SocketAddr) -> Result<()> {
        self.readdress(ADMIN, address)
    }

    /// Points the only endpoint of a cluster at `address`.
    ///
    /// # Errors
    /// If there is not exactly one cluster of that name.
    pub fn point_cluster(&mut self, name: &str, address: SocketAddr) -> Result<()> {
        let cluster = self.cluster(name)?;
        self.readdress(&format!("{cluster}{ENDPOINT}"), address)
    }

    /// Gives a cluster one endpoint for each address, as if its host name resolved to all of them.
    ///
    /// # Errors
    /// As [`Bootstrap::point_cluster`].
    pub fn spread_cluster(&mut self, name: &str, addresses: &[SocketAddr]) -> Result<()> {
        let cluster = self.cluster(name)?;
        let endpoints = addresses.iter().map(|address| {
            self.readdress(&format!("{cluster}{ENDPOINT}"), *address)?;
            self.at(&format!("{cluster}{ENDPOINTS}/0")).cloned()
        });
        let endpoints = endpoints.collect::<Result<Vec<Value>>>()?;
        *self.at_mut(&format!("{cluster}{ENDPOINTS}"))? = endpoints.into();
        Ok(())
    }

    /// Removes the shipped listener and returns it. Envoy will read its listeners from `file` and follow changes there.
    ///
    /// # Errors
    /// If there is not exactly one listener.
    pub fn take_listener(&mut self, file: &Path) -> Result<Value> {
        let listeners = self.at_mut(LISTENERS)?.as_array_mut().context("listeners is no list")?;
        let [listener] = listeners.as_slice() else { bail!("envoy.yaml has {} listeners", listeners.len()) };
        let listener = listener.clone();
        listeners.clear();
        let source = json!({"path_config_source": {"path": file.to_string_lossy()}, "resource_api_version": "V3"});
        let all = self.0.as_object_mut().context("the bootstrap is no object")?;
        all.insert("dynamic_resources".to_owned(), json!({ "lds_config": source }));
        all.insert("node".to_owned(), json!({"id": "test", "cluster": "test"}));
        Ok(listener)
    }

    /// The JSON pointer of the cluster with this name.
    fn cluster(&self, name: &str) -> Result<String> {
        let clusters = self.at(CLUSTERS)?.as_array().context("clusters is no list")?;
        let named = |cluster: &Value| cluster.get("name").and_then(Value::as_str) == Some(name);
        let positions: Vec<usize> = (0..).zip(clusters).filter(|(_, c)| named(c)).map(|(i, _)| i).collect();
        let [position] = positions.as_slice() else {
            bail!("envoy.yaml has {} clusters named {name}", positions.len());
        };
        Ok(format!("{CLUSTERS}/{position}"))
    }

    /// Sets the file that the filter's code is loaded from.
    ///
    /// # Errors
    /// If the file does not load the filter from a local file.
    pub fn load_filter_from(&mut self, module: &Path) -> Result<()> {
        let pointer = format!("{}/vm_config/code/local/filename", self.plugin()?);
        *self.at_mut(&pointer)? = json!(module.to_string_lossy());
        Ok(())
    }

    /// The JSON pointer of the filter's plugin, wherever it stands among the filters.
    fn plugin(&self) -> Result<String> {
        let filters = format!("{CONNECTION_MANAGER}/http_filters");
        let list = self.at(&filters)?.as_array().context("http_filters is no list")?;
        let position =
            list.iter().position(|filter| filter["name"] == "curfew").context("no filter is named curfew")?;
        Ok(format!("{filters}/{position}/typed_config/config"))
    }

    /// Removes the filter, so that a measurement can compare Envoy with and without it.
    ///
    /// # Errors
    /// If the file has no list of filters.
    pub fn remove_filter(&mut self) -> Result<()> {
        let filters = self.at_mut(&format!("{CONNECTION_MANAGER}/http_filters"))?;
        let filters = filters.as_array_mut().context("http_filters is no list")?;
        filters.retain(|filter| filter["name"] != "curfew");
        Ok(())
    }

    /// The filter's own configuration: the JSON in the string value.
    ///
    /// # Errors
    /// If it is not a string of JSON.
    pub fn filter(&self) -> Result<Value> {
        let text = self.at(&format!("{}/configuration/value", self.plugin()?))?;
        let text = text.as_str().context("the filter's configuration is no string")?;
        serde_json::from_str(text).context("the filter's configuration is no JSON")
    }

    /// Replaces the filter's own configuration.
    ///
    /// # Errors
    /// If the file has no place for it.
    pub fn set_filter(&mut self, configuration: &Value) -> Result<()> {
        let pointer = format!("{}/configuration/value", self.plugin()?);
        *self.at_mut(&pointer)? = json!(configuration.to_string());
        Ok(())
    }

    /// Replaces the filter's own configuration by a `google.protobuf.Struct`.
    ///
    /// # Errors
    /// If the file has no place for it.
    pub fn write_filter_as_struct(&mut self, configuration: &Value) -> Result<()> {
        let pointer = format!("{}/configuration", self.plugin()?);
        *self.at_mut(&pointer)? =
            json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration});
        Ok(())
    }

    /// Lets the filter read the internal secret from this variable of Envoy's environment, and takes it out of the file.
    ///
    /// # Errors
    /// If the file has no secret there.
    pub fn take_secret(&mut self, variable: &str) -> Result<String> {
        let mut filter = self.filter()?;
        let control_plane = filter.pointer_mut("/control_plane").and_then(Value::as_object_mut);
        let control_plane = control_plane.context("the filter names no control plane")?;
        let secret = control_plane.remove("secret").context("the filter has no secret")?;
        control_plane.insert("secret_env".to_owned(), json!(variable));
        self.set_filter(&filter)?;
        let vm = self.at_mut(&format!("{}/vm_config", self.plugin()?))?;
        vm["environment_variables"] = json!({"host_env_keys": [variable]});
        Ok(secret.as_str().context("the secret is no text")?.to_owned())
    }

    /// Changes a setting of the HTTP connection manager.
    ///
    /// # Errors
    /// If the shipped file does not set it.
    pub fn set_connection_manager(&mut self, setting: &str, value: Value) -> Result<()> {
        *self.at_mut(&format!("{CONNECTION_MANAGER}/{setting}"))? = value;
        Ok(())
    }

    /// Adds a setting to the HTTP connection manager.
    ///
    /// # Errors
    /// If the shipped file sets it already: see [`Bootstrap::set_connection_manager`].
    pub fn add_to_connection_manager(&mut self, setting: &str, value: Value) -> Result<()> {
        let manager =
            self.at_mut(CONNECTION_MANAGER)?.as_object_mut().context("the connection manager is no object")?;
        if manager.insert(setting.to_owned(), value).is_some() {
            bail!("envoy.yaml sets {setting} already");
        }
        Ok(())
    }

    /// Adds one more listener behind the shipped one.
    ///
    /// # Errors
    /// If the file has no list of listeners.
    pub fn add_listener(&mut self, listener: Value) -> Result<()> {
        let listeners = self.at_mut(LISTENERS)?.as_array_mut().context("listeners is no list")?;
        listeners.push(listener);
        Ok(())
    }

    /// Moves all listeners to `file`. Envoy reads them there and follows changes.
    ///
    /// # Errors
    /// If the file cannot be written, or the configuration has no listeners.
    pub fn read_listeners_from(&mut self, file: &Path) -> Result<()> {
        self.write_listeners(file)?;
        *self.at_mut(LISTENERS)? = json!([]);
        let root = self.0.as_object_mut().context("the configuration is no object")?;
        root.insert("node".into(), json!({"id": "test", "cluster": "test"}));
        root.insert("dynamic_resources".into(), json!({"lds_config": {"path_config_source": {"path": file}}}));
        Ok(())
    }

    /// Writes the listeners to the file that Envoy reads. Envoy reads it when another file is moved to its place, so it
    /// never sees half of one.
    ///
    /// # Errors
    /// If the file cannot be written, or the configuration has no listeners.
    pub fn write_listeners(&self, file: &Path) -> Result<()> {
        const TYPE: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
        let mut listeners = self.at(LISTENERS)?.clone();
        for listener in listeners.as_array_mut().into_iter().flatten() {
            if let Some(listener) = listener.as_object_mut() {
                listener.insert("@type".into(), TYPE.into());
            }
        }
        let written = file.with_extension("new");
        std::fs::write(&written, serde_json::to_vec(&json!({"resources": listeners}))?)?;
        Ok(std::fs::rename(written, file)?)
    }

    /// Adds a cluster with one endpoint.
    ///
    /// # Errors
    /// If the file has no list of clusters.
    pub fn add_cluster(&mut self, name: &str, address: SocketAddr) -> Result<()> {
        let socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
        let endpoint = json!({"endpoint": {"address": {"socket_address": socket}}});
        let clusters = self.at_mut(CLUSTERS)?.as_array_mut().context("clusters is no list")?;
        clusters.push(json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        }));
        Ok(())
    }

    /// Writes the configuration as JSON, which Envoy reads as well as YAML.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_vec_pretty(&self.0)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// A value by its JSON pointer.
    ///
    /// # Errors
    /// If there is none.
    pub fn at(&self, pointer: &str) -> Result<&Value> {
        self.0.pointer(pointer).with_context(|| format!("envoy.yaml has nothing at {pointer}"))
    }

    fn at_mut(&mut self, pointer: &str) -> Result<&mut Value> {
        self.0.pointer_mut(pointer).with_context(|| format!("envoy.yaml has nothing at {pointer}"))
    }

    fn readdress(&mut self, pointer: &str, address: SocketAddr) -> Result<()> {
        let place = self.at_mut(pointer)?;
        if place.get("address").is_none() || place.get("port_value").is_none() {
            bail!("envoy.yaml has no socket address at {pointer}");
        }
        *place = json!({"address": address.ip().to_string(), "port_value": address.port()});
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::loopback;

    #[test]
    fn every_address_of_the_shipped_file_can_be_moved() {
        let mut bootstrap = Bootstrap::shipped().unwrap();
        bootstrap.listen_on(loopback(1)).unwrap();
        bootstrap.admin_on(loopback(2)).unwrap();
        for cluster in ["curfew", "curfew_public", "upstream"] {
            bootstrap.point_cluster(cluster, loopback(3)).unwrap();
        }
        bootstrap.load_filter_from(Path::new("/x.wasm")).unwrap();
        assert_eq!(bootstrap.at(ADMIN).unwrap(), &json!({"address": "127.0.0.1", "port_value": 2}));
    }

    #[test]
    fn a_cluster_is_spread_over_several_addresses() {
        let mut bootstrap = Bootstrap::shipped().unwrap();
        bootstrap.spread_cluster("curfew", &[loopback(3), loopback(4)]).unwrap();
        let endpoints = bootstrap.at(&format!("{}{ENDPOINTS}", bootstrap.cluster("curfew").unwrap())).unwrap();
        let ports =
            endpoints.as_array().unwrap().iter().map(|endpoint| {
                endpoint.pointer("/endpoint/address/socket_address/port_value").and_then(Value::as_u64)
            });
        assert_eq!(ports.collect::<Vec<_>>(), [Some(3), Some(4)]);
    }

    #[test]
    fn an_added_cluster_has_the_form_of_the_others() {
        let mut bootstrap = Bootstrap::shipped().unwrap();
        bootstrap.add_cluster("authorization", loopback(1)).unwrap();
        bootstrap.point_cluster("authorization", loopback(2)).unwrap();
    }

    #[test]
    fn a_change_that_hits_nothing_is_an_error() {
        let mut bootstrap = Bootstrap::shipped().unwrap();
        let error = bootstrap.point_cluster("nobody", loopback(1)).unwrap_err();
        assert_eq!(error.to_string(), "envoy.yaml has 0 clusters named nobody");
        assert!(bootstrap.set_connection_manager("nothing", json!(1)).is_err());
        assert!(bootstrap.add_to_connection_manager("stream_idle_timeout", json!("1s")).is_err());
    }

    #[test]
    fn the_filter_configuration_is_json_in_a_string() {
        let mut bootstrap = Bootstrap::shipped().unwrap();
        let mut filter = bootstrap.filter().unwrap();
        assert_eq!(filter["consistency"], "strict");
        filter["clock_skew"] = json!("1s");
        bootstrap.set_filter(&filter).unwrap();
        assert_eq!(bootstrap.filter().unwrap()["clock_skew"], "1s");
    }
}
