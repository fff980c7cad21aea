//! The configurations that scripts run under, and the tokens that they name.

use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow};
use curfew_core::verify_natively;
use curfew_core::wire::CheckRequest;
use curfew_filter::config::Config;
use serde_json::{Value, json};

use crate::attacks::Forge;
use crate::fuzz::fixed::{Fixed, NOW, fixed};
use crate::fuzz::head::Pairs;
use crate::tokens::{es256_twin, with};
use crate::wasm_host::Setup;

/// Configurations and tokens, the same in every run.
pub(super) struct Setups {
    forge: Forge<'static>,
    setups: Vec<Prepared>,
    tokens: Vec<String>,
}

/// A configuration.
pub(super) struct Prepared {
    /// For the host.
    pub(super) setup: Setup,
    /// The filter's questions about `@0` and so on; none about tokens that it refuses without asking.
    pub(super) tokens: Vec<Option<CheckRequest>>,
    /// The issuers with the keys that a control plane would hand out.
    pub(super) handed_out: Vec<Value>,
}

impl Prepared {
    fn new(configuration: &Value, keys: &Value, tokens: &[String]) -> Result<Self> {
        let setup = Setup::new(configuration);
        let handed_out: Vec<_> = keys.as_array().into_iter().flatten().cloned().collect();
        // The tokens are proven with the keys that the control plane would hand out.
        let config = match configuration.pointer("/issuers/0/jwks") {
            Some(_) => setup.configuration.clone(),
            None => with(configuration.clone(), json!({ "issuers": handed_out })).to_string().into_bytes(),
        };
        let config = Config::parse(&config).map_err(|mistakes| anyhow!("{mistakes}"))?;
        let prove = |token: &String| config.policy.prove(token.as_bytes(), NOW, &config.keys, verify_natively).ok();
        let tokens = tokens.iter().map(|token| prove(token).as_ref().map(CheckRequest::about)).collect();
        Ok(Self { setup, tokens, handed_out })
    }
}

/// The setups of this process.
pub(super) fn setups() -> Result<&'static Setups> {
    static SETUPS: OnceLock<Result<Setups>> = OnceLock::new();
    SETUPS.get_or_init(Setups::new).as_ref().map_err(|error| anyhow!("{error:#}"))
}

impl Setups {
    fn new() -> Result<Self> {
        let fixed = fixed()?;
        let forge = fixed.forge();
        let tokens = tokens(fixed, &forge)?;
        let own = own_issuers(fixed);
        let prepare = |configuration: &Value| Prepared::new(configuration, &own, &tokens);
        let setups = configurations(fixed).iter().map(prepare).collect::<Result<_>>()?;
        Ok(Self { forge, setups, tokens })
    }

    /// The configuration with a number; after the last, the count begins again.
    ///
    /// # Errors
    /// When there is no configuration at all.
    pub(super) fn numbered(&self, number: usize) -> Result<&Prepared> {
        let place = number.checked_rem(self.setups.len()).context("a configuration")?;
        self.setups.get(place).context("a configuration")
    }

    /// The same headers with tokens for `@N` and `{claims}`.
    pub(super) fn filled_in(&self, headers: Pairs) -> Pairs {
        headers.into_iter().map(|(name, value)| (name, self.filled(value))).collect()
    }

    fn filled(&self, value: Vec<u8>) -> Vec<u8> {
        let token = |digit: &u8| self.tokens.get(usize::from(digit.wrapping_sub(b'0')));
        if let Some(start) = value.iter().position(|&byte| byte == b'{') {
            let (before, claims) = value.split_at(start);
            return [before, self.forge.hs256(HEADER, claims).as_bytes()].concat();
        }
        let Some(start) = value.iter().position(|&byte| byte == b'@') else { return value };
        let (before, name) = value.split_at(start);
        match name.get(1).and_then(token) {
            Some(token) => [before, token.as_bytes(), name.get(2..).unwrap_or_default()].concat(),
            None => value,
        }
    }
}

const HEADER: &str = r#"{"alg":"HS256"}"#;

/// The smallest `replica_bytes` that is allowed.
const SMALL_REPLICA: u64 = 64 << 10;

fn own_issuers(fixed: &Fixed) -> Value {
    fixed.issuers.as_array().into_iter().flatten().take(2).cloned().collect()
}

/// Four configurations in bounded mode and four in strict mode, and one of each whose keys the control plane hands out.
/// The plain one has every kind of rule and source.
fn configurations(fixed: &Fixed) -> [Value; 10] {
    let issuers = own_issuers(fixed);
    let own = issuers.pointer("/0/jwks").cloned();
    let handed_out: Value =
        issuers.as_array().into_iter().flatten().map(|issuer| with(issuer.clone(), json!({"jwks": null}))).collect();
    let plain = json!({
        "issuers": issuers,
        "sources": [{"header": "authorization"}, {"cookie": "access_token"}, {"query": "access_token"}],
        "rules": [
            {"prefix": "/public/admin", "action": "require"},
            {"prefix": "/public", "action": "skip"},
            {"path": "/news", "methods": ["GET", "HEAD"], "action": "optional"},
        ],
        "identity_headers": {"x-user-id": "sub", "x-name": "name"},
        "control_plane": {"cluster": "curfew", "secret": "0123456789abcdef0123456789abcdef", "timeout": "250ms"},
    });
    let lenient = json!({
        "issuers": [{"jwks": own, "require_issued_at": false}],
        "issued_at_claim": "auth_time",
        "user_claim": "uid",
        "allow_missing_exp": true,
        "max_token_ttl": "1h",
        "identity_headers": {"x-user-id": "uid"},
    });
    let bounded = |changes| with(with(plain.clone(), json!({"consistency": "bounded"})), changes);
    let strict = |changes| with(with(plain.clone(), json!({"consistency": "strict"})), changes);
    [
        bounded(json!({})),
        bounded(json!({"on_unavailable": "allow", "max_staleness": "0s"})),
        bounded(json!({"report_only": true})),
        bounded(with(lenient.clone(), json!({"max_staleness": "1s"}))),
        strict(json!({})),
        strict(json!({"on_unavailable": "allow", "replica_bytes": SMALL_REPLICA})),
        strict(json!({"report_only": true})),
        strict(with(lenient, json!({"replica_bytes": SMALL_REPLICA}))),
        bounded(json!({"issuers": handed_out, "max_staleness": "1s"})),
        strict(json!({ "issuers": handed_out })),
    ]
}

/// The tokens `@0` and so on.
fn tokens(fixed: &Fixed, forge: &Forge<'_>) -> Result<Vec<String>> {
    let claims = |changes| with(forge.claims(), changes).to_string();
    let es256 = forge.signed("ES256")?.text();
    Ok(vec![
        forge.hs256(HEADER, claims(json!({"jti": "0"}))),
        forge.hs256(HEADER, claims(json!({"jti": "1", "sub": "bob", "sid": "s", "name": "Bob"}))),
        es256_twin(&es256)?,
        es256,
        forge.signed("EdDSA")?.text(),
        forge.signed("RS256")?.text(),
        forge.by_other_issuer(&with(forge.other_claims(), json!({"jti": "6"}))),
        forge.hs256(HEADER, claims(json!({"exp": NOW - 60, "iat": NOW - 600}))),
        forge.hs256(HEADER, claims(json!({"exp": NOW + 20, "uid": 7, "auth_time": NOW - 30}))),
        fixed.third_tokens()?.into_iter().next().context("a token of the third issuer")?.1,
    ])
}
