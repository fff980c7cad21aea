//! The configurations that scripts run under, and the tokens that they name.

use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};

use crate::attacks::Forge;
use crate::fuzz::fixed::{Fixed, NOW, fixed};
use crate::fuzz::head::Pairs;
use crate::tokens::{es256_twin, with};
use crate::wasm_host::Setup;

/// Configurations and tokens, the same in every run.
pub(super) struct Setups {
    forge: Forge<'static>,
    setups: [Setup; 4],
    tokens: Vec<String>,
}

/// Those of this process.
pub(super) fn setups() -> Result<&'static Setups> {
    static SETUPS: OnceLock<Result<Setups>> = OnceLock::new();
    SETUPS.get_or_init(Setups::new).as_ref().map_err(|error| anyhow!("{error:#}"))
}

impl Setups {
    fn new() -> Result<Self> {
        let fixed = fixed()?;
        let forge = fixed.forge();
        let setups = configurations(fixed).map(|configuration| Setup::new(&configuration));
        Ok(Self { forge, setups, tokens: tokens(fixed, &forge)? })
    }

    /// The configuration of a number; beyond the last they begin again.
    pub(super) fn numbered(&self, number: usize) -> &Setup {
        let [plain, allowing, reporting, lenient] = &self.setups;
        match number % 4 {
            0 => plain,
            1 => allowing,
            2 => reporting,
            _ => lenient,
        }
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

/// The plain one has every kind of rule and source.
fn configurations(fixed: &Fixed) -> [Value; 4] {
    let issuers = fixed.issuers.as_array().into_iter().flatten().take(2).cloned().collect::<Vec<_>>();
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
        "consistency": "bounded",
    });
    let own = issuers.first().and_then(|issuer| issuer.get("jwks")).cloned();
    [
        plain.clone(),
        with(plain.clone(), json!({"on_unavailable": "allow", "max_staleness": "0s"})),
        with(plain.clone(), json!({"report_only": true})),
        with(
            plain,
            json!({
                "issuers": [{"jwks": own}],
                "issued_at_claim": "auth_time",
                "user_claim": "uid",
                "allow_missing_exp": true,
                "max_token_ttl": "1h",
                "max_staleness": "1s",
                "identity_headers": {"x-user-id": "uid"},
            }),
        ),
    ]
}

/// `@0` and so on.
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
