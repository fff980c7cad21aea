//! The names of all settings in the environment.
//!
//! Settings with a flag are also in the command line, and a test compares the two. Secrets and settings that are
//! refused have no flag.

const SETTINGS: [&str; 64] = [
    "APP_ID",
    "APP_KEY",
    "APP_KEY_FILE",
    "CURFEW_ACCEPT_NEW_KEYSPACE",
    "CURFEW_ACCEPT_PUBLISHED_SECRETS",
    "CURFEW_ADOPT_FROM",
    "CURFEW_ADOPT_FROM_FILE",
    "CURFEW_ALGORITHM",
    "CURFEW_ALGORITHMS",
    "CURFEW_ALLOW_MISSING_EXP",
    "CURFEW_AUDIENCES",
    "CURFEW_AUDIT_RETENTION",
    "CURFEW_CHECK_TIMEOUT",
    "CURFEW_CLEAR_SITE_DATA",
    "CURFEW_CLOCK_SKEW",
    "CURFEW_CONNECTIONS_PER_ADDRESS",
    "CURFEW_DATA_DIR",
    "CURFEW_DISCOVERY",
    "CURFEW_FAILED_LOGOUTS_PER_MINUTE",
    "CURFEW_FAILED_LOGOUTS_PER_TOKEN",
    "CURFEW_INTERNAL_LISTEN",
    "CURFEW_INTERNAL_SECRET",
    "CURFEW_INTERNAL_SECRET_FILE",
    "CURFEW_INTERNAL_URL",
    "CURFEW_ISSUED_AT_CLAIM",
    "CURFEW_ISSUER",
    "CURFEW_ISSUERS_FILE",
    "CURFEW_KEYS_ALLOW_HTTP",
    "CURFEW_KEYS_ALLOW_PRIVATE_NETWORK",
    "CURFEW_KEYS_CA_FILE",
    "CURFEW_KEYS_KEEP_FOR",
    "CURFEW_KEYS_MAX_INTERVAL",
    "CURFEW_KEYS_MIN_INTERVAL",
    "CURFEW_KEYS_TIMEOUT",
    "CURFEW_LOG",
    "CURFEW_LOGOUT_SCOPE",
    "CURFEW_LOG_FORMAT",
    "CURFEW_MAX_TOKEN_BYTES",
    "CURFEW_MAX_TOKEN_TTL",
    "CURFEW_PUBLIC_LISTEN",
    "CURFEW_PUBLIC_URL",
    "CURFEW_PURGE_INTERVAL",
    "CURFEW_PURGE_RATE",
    "CURFEW_REDIS_CA_FILE",
    "CURFEW_REDIS_PREFIX",
    "CURFEW_REQUEST_TIMEOUT",
    "CURFEW_REQUIRED_CLAIMS",
    "CURFEW_REQUIRE_ISSUED_AT",
    "CURFEW_REQUIRE_USER",
    "CURFEW_SESSION_CLAIM",
    "CURFEW_TOKEN",
    "CURFEW_TOKEN_LIFETIME",
    "CURFEW_TOKEN_TYPES",
    "CURFEW_TRUSTED_PROXIES",
    "CURFEW_TRY_ALL_KEYS",
    "CURFEW_USER_CLAIM",
    "DATABASE_URL",
    "JWKS_FILE",
    "JWKS_URL",
    "JWT_SECRET",
    "JWT_SECRET_FILE",
    "REDIS_BLACKLIST_OBJECT_EXPIRY_IN_SEC",
    "REDIS_URL",
    "REDIS_URL_FILE",
];

/// Whether this is the name of a setting.
pub(crate) fn is_setting(name: &str) -> bool {
    SETTINGS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/control-plane-configuration.md says once for all secrets that `NAME_FILE` reads one from a file.
    #[test]
    fn every_setting_is_explained() {
        let page =
            |name: &str| std::fs::read_to_string(format!("{}/../docs/{name}.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let pages = page("control-plane-configuration") + &page("command-line");
        let explained = |name: &str| pages.contains(&format!("`{name}`"));
        for name in SETTINGS {
            let secret = name.strip_suffix("_FILE").is_some_and(explained);
            assert!(explained(name) || secret, "{name} is not in docs/control-plane-configuration.md");
        }
    }
}
