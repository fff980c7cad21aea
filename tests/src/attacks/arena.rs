//! The system that the rows are played on: the whole of Curfew, and a listener with `jwt_authn` in the same Envoy.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::keys::{Forge, Keys};
use crate::bootstrap::Bootstrap;
use crate::http::{Answer, Request};
use crate::ports::loopback;
use crate::stack::{Plan, Stack};
use crate::tokens::with;

const JWT_AUTHN: &str = "jwt_authn";

/// A running stack whose filter trusts the rows' keys, reads tokens from the header, a cookie and a parameter, and
/// needs none under `/public/`. Envoy keeps headers with underscores, as it does by default: the filter has to cope with
/// them by itself. Everything else is as shipped.
#[derive(Debug)]
pub struct Arena {
    /// Everything that runs.
    pub stack: Stack,
    /// The keys that tokens are signed with.
    pub keys: Keys,
    jwt_authn: SocketAddr,
}

/// Envoy's counters about its Wasm VMs. They change when a VM dies and is made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing(BTreeMap<String, u64>);

/// The mode of the filter, on which refusals must not depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it is shipped.
    Strict,
    /// Bounded, with answers that may be a second old.
    Bounded,
}

impl Standing {
    /// The counters whose name speaks of failures or reloads, and that are not zero.
    pub fn failures(&self) -> Vec<(&str, u64)> {
        let speaks = |name: &str| ["fail", "reload", "crash"].iter().any(|word| name.contains(word));
        self.0.iter().filter(|(name, value)| **value > 0 && speaks(name)).map(|(n, v)| (n.as_str(), *v)).collect()
    }
}

impl Arena {
    /// Starts everything.
    ///
    /// # Errors
    /// When a part cannot be built, found or started.
    pub fn start(mode: Mode) -> Result<Self> {
        let keys = Keys::generate()?;
        let mut plan = Plan::shipped()?.with_issuers(keys.issuers()?)?.change_filter(|filter| {
            if mode == Mode::Bounded {
                filter["consistency"] = json!("bounded");
                filter["max_staleness"] = json!("1s");
            }
            change(filter);
        })?;
        // Every row gets its own refusal from the logout endpoint, and never 429.
        plan.settings.set("CURFEW_FAILED_LOGOUTS_PER_MINUTE", "0");
        plan.settings.set("CURFEW_FAILED_LOGOUTS_PER_TOKEN", "0");
        let kept = json!({"headers_with_underscores_action": "ALLOW"});
        plan.bootstrap.set_connection_manager("common_http_protocol_options", kept)?;
        plan.bootstrap.add_listener(listener(&keys)?)?;
        let stack = plan.start()?;
        let jwt_authn = stack.envoy.listener(JWT_AUTHN)?;
        Ok(Self { stack, keys, jwt_authn })
    }

    /// A forge of tokens for this user.
    pub fn forge<'a>(&'a self, user: &'a str) -> Forge<'a> {
        self.keys.forge(user)
    }

    /// Sends the request to `jwt_authn` instead of Curfew. It guards a direct answer, so 200 is an admission.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask_jwt_authn(&self, request: &Request) -> Result<Answer> {
        request.send(self.jwt_authn)
    }

    /// Envoy's counters about its Wasm VMs now.
    ///
    /// # Errors
    /// When the admin interface does not answer, or has no such counter.
    pub fn standing(&self) -> Result<Standing> {
        let page = Request::get("/stats?filter=wasm").send(self.stack.envoy.admin())?.text();
        let counters = page.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        let counters: BTreeMap<String, u64> = counters.filter(|(name, _)| !name.contains("curfew_")).collect();
        ensure!(!counters.is_empty(), "Envoy counts nothing about Wasm:\n{page}");
        Ok(Standing(counters))
    }

    /// How many revocations the control plane has recorded.
    ///
    /// # Errors
    /// When its metrics cannot be read.
    pub fn revocations(&self) -> Result<u64> {
        let page = self.stack.control_plane.ask(Request::get("/metrics"))?.text();
        let line = page.lines().find_map(|line| line.strip_prefix("curfew_feed_seq "));
        Ok(line.with_context(|| format!("no curfew_feed_seq:\n{page}"))?.trim().parse()?)
    }

    /// The tokens that the control plane knows of a user.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn sessions(&self, user: &str) -> Result<Vec<Value>> {
        let answer = self.stack.control_plane.ask(Request::get(&format!("/internal/v1/users/{user}/sessions")))?;
        let sessions = answer.json().get("sessions").and_then(Value::as_array).cloned();
        sessions.with_context(|| format!("{} {}", answer.status, answer.text()))
    }
}

/// The filter's configuration in an arena, for a gate without Envoy.
///
/// # Errors
/// When the shipped one cannot be read.
pub fn configuration(keys: &Keys) -> Result<Value> {
    let mut filter = Bootstrap::shipped()?.filter()?;
    change(&mut filter);
    Ok(with(filter, json!({"issuers": keys.issuers()?})))
}

/// Credentials in three places, and a public path.
fn change(filter: &mut Value) {
    filter["sources"] = json!([{"header": "authorization"}, {"cookie": "access_token"}, {"query": "access_token"}]);
    if let Some(rules) = filter["rules"].as_array_mut() {
        rules.push(json!({"prefix": "/public/", "action": "skip"}));
    }
}

/// A listener whose requests pass `jwt_authn` and then get a direct 200.
fn listener(keys: &Keys) -> Result<Value> {
    const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http";
    const MANAGER: &str =
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let filters = json!([
        {"name": "envoy.filters.http.jwt_authn", "typed_config": {
            "@type": format!("{HTTP}.jwt_authn.v3.JwtAuthentication"),
            "providers": {"rows": keys.jwt_authn()?},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "rows"}}],
        }},
        {"name": "envoy.filters.http.router", "typed_config": {"@type": format!("{HTTP}.router.v3.Router")}},
    ]);
    let routes = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]);
    let manager = json!({
        "@type": MANAGER,
        "stat_prefix": JWT_AUTHN,
        "codec_type": "AUTO",
        "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    });
    let address = loopback(0);
    Ok(json!({
        "name": JWT_AUTHN,
        "address": {"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}},
        "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
        ]}],
    }))
}
