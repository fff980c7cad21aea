//! A warning for operators whose Redis may evict entries.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::warn;

use super::live::{ASK_LIMIT, Live};

/// The interval between two questions to Redis.
const INTERVAL: Duration = Duration::from_secs(600);

/// When Redis was asked last over this connection.
#[derive(Default)]
pub(super) struct EvictionWarning(Option<Instant>);

impl EvictionWarning {
    /// Asks Redis for its memory settings, if it was not asked lately, and warns if they may evict entries.
    pub(super) async fn warn(&mut self, live: &Live) {
        if self.0.is_some_and(|asked| asked.elapsed() < INTERVAL) {
            return;
        }
        self.0 = Some(Instant::now());
        // Some services do not answer this. That is not a failure.
        let Ok(Ok(Some(memory))) = timeout(ASK_LIMIT, live.connection.memory()).await else { return };
        if let Some(policy) = evicting(&memory) {
            warn!(
                policy,
                "Redis may evict entries when its memory is full; checks then ask the database: set maxmemory-policy noeviction"
            );
        }
    }
}

/// The policy by which Redis evicts entries, if it may evict any.
fn evicting(memory: &str) -> Option<&str> {
    let value = |name: &str| memory.lines().find_map(|line| line.trim_end().strip_prefix(name));
    let is_limited = value("maxmemory:").is_some_and(|limit| limit != "0");
    value("maxmemory_policy:").filter(|policy| is_limited && *policy != "noeviction")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limited_memory_with_a_policy_that_evicts_is_warned_of() {
        let info =
            |limit: &str, policy: &str| format!("# Memory\r\nmaxmemory:{limit}\r\nmaxmemory_policy:{policy}\r\n");
        assert_eq!(evicting(&info("1048576", "volatile-lru")), Some("volatile-lru"));
        assert_eq!(evicting(&info("1048576", "noeviction")), None);
        assert_eq!(evicting(&info("0", "allkeys-lru")), None);
        assert_eq!(evicting(""), None);
    }
}
