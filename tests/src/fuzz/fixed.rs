//! The policy of the targets, with a key of every algorithm, the same in every run.

use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow};
use curfew_core::{KeySets, Policy, ProvenToken, TokenError, verify_natively};
use serde_json::{Value, json};

use crate::attacks::{Forge, Keys};
use crate::tokens::Signer;
use crate::wasm_host;

/// The moment at which everything happens, in seconds of Unix time.
pub(super) const NOW: i64 = wasm_host::START;

/// The issuer for the algorithms that no row uses.
pub(super) const THIRD_ISSUER: &str = "https://third.example";

const THIRD_ALGORITHMS: [&str; 8] = ["HS384", "HS512", "RS384", "RS512", "PS384", "PS512", "ES384", "ES512"];

/// Keys and rules.
pub(super) struct Fixed {
    keys: Keys,
    third: Vec<Signer>,
    /// The list of issuers.
    pub(super) issuers: Value,
    /// The rules over them, with defaults otherwise.
    pub(super) strict: Rules,
    /// Others: any issuer with the rows' secret, other claims, and `exp` may be missing.
    pub(super) lenient: Rules,
}

/// A policy and its keys.
pub(super) struct Rules {
    pub(super) policy: Policy,
    pub(super) keys: KeySets,
}

impl Rules {
    fn read(document: &Value) -> Result<Self> {
        let (policy, keys) = Policy::from_document(document).map_err(|mistakes| anyhow!("{mistakes}"))?;
        Ok(Self { policy, keys })
    }

    /// Proves a token now.
    pub(super) fn prove(&self, text: &[u8]) -> Result<ProvenToken, TokenError> {
        self.policy.prove(text, NOW, &self.keys, verify_natively)
    }
}

impl Fixed {
    fn new() -> Result<Self> {
        let keys = Keys::fixed(NOW)?;
        let pem = keys.forge("alice").rsa_pem()?;
        let third = THIRD_ALGORITHMS.map(|algorithm| Signer::fixed(algorithm, &pem));
        let third = third.into_iter().collect::<Result<Vec<_>>>()?;
        let mut issuers = keys.issuers()?;
        let jwks = crate::tokens::jwks(&third);
        issuers.as_array_mut().context("a list")?.push(json!({"issuer": THIRD_ISSUER, "jwks": jwks}));
        let strict = Rules::read(&json!({ "issuers": issuers }))?;
        let lenient = Rules::read(&json!({
            "issuers": [{"jwks": keys.jwks()?, "require_issued_at": false}],
            "issued_at_claim": "auth_time",
            "user_claim": "uid",
            "allow_missing_exp": true,
            "clock_skew": "0s",
            "max_token_ttl": "1h",
        }))?;
        Ok(Self { strict, lenient, keys, third, issuers })
    }

    /// The forge of the rows.
    pub(super) fn forge(&self) -> Forge<'_> {
        self.keys.forge("alice")
    }

    /// Good tokens of the third issuer, one of each algorithm.
    pub(super) fn third_tokens(&self) -> Result<Vec<(String, String)>> {
        let claims = json!({"iss": THIRD_ISSUER, "sub": "alice", "iat": NOW, "exp": NOW + 600, "jti": "third"});
        let token = |signer: &Signer| Ok((signer.algorithm().to_ascii_lowercase(), signer.sign(&claims)?));
        self.third.iter().map(token).collect()
    }
}

/// The policy of this process.
pub(super) fn fixed() -> Result<&'static Fixed> {
    static FIXED: OnceLock<Result<Fixed>> = OnceLock::new();
    FIXED.get_or_init(Fixed::new).as_ref().map_err(|error| anyhow!("{error:#}"))
}
