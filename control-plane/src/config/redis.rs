//! Settings for Redis, which this version does without.

use curfew_core::Mistakes;

use super::environment::Environment;

const EXPIRY: &str = "REDIS_BLACKLIST_OBJECT_EXPIRY_IN_SEC";

/// Somebody who sets REDIS_URL expects Redis to be used, and is refused. The life of its entries alone promises
/// nothing that is not kept without it: revocations live in the database for as long as a token can need them.
pub(super) fn judge(environment: &Environment, mistakes: &mut Mistakes) -> Option<String> {
    if environment.get("REDIS_URL").is_some() {
        mistakes.add("REDIS_URL", "this version uses no Redis: remove the setting");
    }
    let seconds = environment.get(EXPIRY)?;
    if seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0) {
        return Some(format!("{EXPIRY} has no effect: this version uses no Redis"));
    }
    mistakes.add(EXPIRY, "must be a whole number of seconds over zero");
    None
}
