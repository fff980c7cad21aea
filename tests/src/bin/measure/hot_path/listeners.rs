//! One Envoy with a listener for each guard.

use anyhow::Result;
use curfew_testbed::measure::{Authorization, Behind, Guard, listener};
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::wasm;
use serde_json::{Value, json};

use super::Consistency;
use crate::tokens::Keys;

pub(super) const BARE: &str = "bare";
pub(super) const JWT_AUTHN: &str = "jwt_authn";
pub(super) const JWT_AUTHN_CACHED: &str = "jwt_authn_cached";
pub(super) const EXT_AUTHZ: &str = "ext_authz";
pub(super) const BOTH: &str = "jwt_authn_cached_plus_ext_authz";
pub(super) const BEHIND: &str = "jwt_authn_cached_plus_curfew";
pub(super) const CURFEW: &str = "curfew";
pub(super) const CURFEW_COLD: &str = "curfew_cold";

/// The cluster that `ext_authz` asks.
const AUTHORIZATION: &str = "authorization";

/// The smallest cache that the filter takes, in bytes: room for some fifty proofs.
const SMALLEST_CACHE: u64 = 65_536;

/// Everything, running.
pub(super) struct Running {
    pub(super) stack: Stack,
    _authorization: Authorization,
}

pub(super) fn start(keys: &Keys, consistency: Consistency, behind: Behind) -> Result<Running> {
    let authorization = Authorization::start(&keys.issuers())?;
    let mut plan = Plan::shipped()?.with_issuers(keys.issuers())?;
    plan = plan.change_filter(|filter| change(filter, consistency))?;
    plan.workers = 1;
    plan.bootstrap.load_filter_from(&wasm::build()?)?;
    plan.bootstrap.add_cluster(AUTHORIZATION, authorization.address())?;
    for (name, guard) in guards(keys, &plan.bootstrap.filter()?, consistency) {
        let listener = listener(&plan.bootstrap, name, &guard, behind)?;
        plan.bootstrap.add_listener(listener)?;
    }
    let stack = plan.start()?;
    authorization.ask(stack.control_plane.internal(), stack.settings.required("CURFEW_INTERNAL_SECRET")?);
    Ok(Running { stack, _authorization: authorization })
}

fn guards(keys: &Keys, filter: &Value, consistency: Consistency) -> Vec<(&'static str, Guard)> {
    let mut cold = filter.clone();
    forget(&mut cold, consistency);
    let cached = Guard::JwtAuthn(keys.jwt_authn(true));
    vec![
        (BARE, Guard::Nobody),
        (JWT_AUTHN, Guard::JwtAuthn(keys.jwt_authn(false))),
        (JWT_AUTHN_CACHED, cached.clone()),
        (EXT_AUTHZ, Guard::ExtAuthz(AUTHORIZATION)),
        (BOTH, Guard::All(vec![cached.clone(), Guard::ExtAuthz(AUTHORIZATION)])),
        (BEHIND, Guard::All(vec![cached, Guard::CurfewAs(filter.clone())])),
        (CURFEW, Guard::CurfewAs(filter.clone())),
        (CURFEW_COLD, Guard::CurfewAs(cold)),
    ]
}

/// Answers stay fresh for longer than the measurement.
fn change(filter: &mut Value, consistency: Consistency) {
    filter["consistency"] = json!(consistency.as_str());
    if consistency == Consistency::Bounded {
        filter["max_staleness"] = json!("1h");
    }
}

/// A filter that forgets its proofs. In bounded mode it would ask about each token, so its cluster does not exist.
fn forget(filter: &mut Value, consistency: Consistency) {
    filter["cache_bytes"] = SMALLEST_CACHE.into();
    if consistency == Consistency::Bounded {
        if let Some(cluster) = filter.pointer_mut("/control_plane/cluster") {
            *cluster = json!("nobody");
        }
        filter["on_unavailable"] = json!("allow");
    }
}
