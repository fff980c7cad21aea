//! The issuers whose tokens `curfew token mint` can make: those with a secret.

use curfew_core::decode_secret;
use serde_json::Value;

/// An issuer whose secret is configured.
#[derive(Debug, Clone)]
pub struct Signer {
    /// `iss`; `None` where any issuer is accepted.
    pub issuer: Option<String>,
    /// The accepted audiences.
    pub audiences: Vec<String>,
    /// HS256, HS384 or HS512.
    pub algorithm: String,
    /// The secret's bytes.
    pub secret: SigningSecret,
}

/// The bytes that sign.
#[derive(Clone)]
pub struct SigningSecret(pub Vec<u8>);

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SigningSecret(..)")
    }
}

/// The issuers of an accepted document that have a secret.
pub(super) fn signers(document: &Value) -> Vec<Signer> {
    let issuers = document.get("issuers").and_then(Value::as_array);
    issuers.into_iter().flatten().filter_map(signer).collect()
}

fn signer(issuer: &Value) -> Option<Signer> {
    let text = |name: &str| issuer.get(name).and_then(Value::as_str);
    let secret = match (text("secret"), text("secret_base64")) {
        (Some(secret), _) => secret.as_bytes().to_vec(),
        (None, encoded) => decode_secret(encoded?)?,
    };
    let audiences = issuer.get("audiences").and_then(Value::as_array);
    let audiences = audiences.into_iter().flatten().filter_map(Value::as_str);
    Some(Signer {
        issuer: text("issuer").map(str::to_owned),
        audiences: audiences.map(str::to_owned).collect(),
        algorithm: text("algorithm").unwrap_or("HS256").to_owned(),
        secret: SigningSecret(secret),
    })
}
