//! The configurations that share one VM: each with a key, a mode and a control plane of its own.

use std::time::Duration;

use anyhow::Result;
use curfew_core::wire::CheckRequest;
use curfew_core::{RevocationKey, verify_natively};
use curfew_filter::config::Config;
use curfew_testbed::tokens::{self, Signer, with};
use curfew_testbed::wasm_host::{Plugin, START, Setup};
use serde_json::json;

use crate::feed::strict_configuration;
use crate::plane::Plane;
use crate::stage::Living;
use crate::support::{INTERNAL_SECRET, claims_of, configuration};

/// Issuers' secrets.
pub(crate) const SECRETS: [&str; 2] = ["a-secret-of-two-plugins-0123456789", "another-secret-of-plugins-0123456789"];

/// `max_staleness` in the stories' configuration.
const MAX_STALENESS: Duration = Duration::from_secs(5);

pub(crate) struct Token {
    pub(crate) text: String,
    /// The number of the secret that it is signed with.
    pub(crate) secret: usize,
    pub(crate) key: RevocationKey,
}

impl Token {
    pub(crate) fn new(secret: usize) -> Result<Self> {
        let claims = with(claims_of("alice"), json!({"exp": START + 1_000_000}));
        let text = Signer::from_secret(SECRETS[secret]).sign(&claims)?;
        let config = Config::parse(&setup(0, secret, true).configuration)?;
        let proven = config.policy.prove(text.as_bytes(), START, &config.keys, verify_natively)?;
        Ok(Self { key: CheckRequest::about(&proven).token, text, secret })
    }
}

/// One configuration, and the control plane that it names. Each has a number of its own, which its authority carries.
pub(crate) struct Served {
    pub(crate) plugin: Plugin,
    pub(crate) secret: usize,
    pub(crate) strict: bool,
    pub(crate) plane: Plane,
    /// The answers "active": about which token, when the question was sent, and when the answer came.
    pub(crate) active: Vec<(RevocationKey, Duration, Duration)>,
}

impl Served {
    pub(crate) fn new(plugin: Plugin, secret: usize, strict: bool) -> Self {
        Self { plugin, secret, strict, plane: Plane::default(), active: Vec::new() }
    }

    /// True if an answer or a lease of its own control plane lets the request pass.
    pub(crate) fn vouches(&self, living: &Living, token: &Token) -> bool {
        let good = |(key, sent, came): &(RevocationKey, Duration, Duration)| {
            let until = *sent + MAX_STALENESS;
            let waited = if self.strict { living.arrived <= *came } else { living.arrived <= *sent };
            *key == token.key && (waited || !self.strict && living.arrived < until && *came < until)
        };
        self.active.iter().any(good) || self.strict && self.plane.leased(living.arrived)
    }
}

/// The configuration with this number, which its control plane's authority carries.
pub(crate) fn setup(number: usize, secret: usize, strict: bool) -> Setup {
    let base = if strict { strict_configuration() } else { configuration() };
    Setup::new(&with(
        base,
        json!({
            "issuers": [{"issuer": tokens::ISSUER, "secret": SECRETS[secret], "algorithm": "HS256"}],
            "control_plane": {
                "cluster": "curfew", "authority": format!("{number}.internal"), "secret": INTERNAL_SECRET,
                "timeout": "250ms",
            },
        }),
    ))
}
