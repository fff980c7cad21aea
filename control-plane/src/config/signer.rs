//! The issuers whose tokens `curfew token mint` can make: those with a secret. And every secret that signs tokens.

use curfew_core::decode_secret;
use serde_json::Value;

/// An issuer whose secret is configured.
#[derive(Debug, Clone)]
pub struct Signer {
    /// `iss`; `None` where any issuer is accepted.
    pub issuer: Option<String>,
    /// The accepted audiences.
    pub audiences: Vec<String>,
    /// Claims that its tokens must have, each with a value that is accepted.
    pub required_claims: Vec<(String, Value)>,
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

/// A secret that tokens of an issuer are verified with, and hence can be signed with.
#[derive(Debug, Clone)]
pub struct IssuerSecret {
    /// The issuer's place in the document.
    pub issuer: usize,
    /// The path of the field that holds the secret, below the issuer.
    pub field: String,
    /// The secret's bytes.
    pub secret: SigningSecret,
}

/// All such secrets of an accepted document, those in JWK Sets included.
pub(super) fn issuer_secrets(document: &Value) -> Vec<IssuerSecret> {
    let issuers = document.get("issuers").and_then(Value::as_array);
    let issuers = issuers.into_iter().flatten().enumerate();
    let found = issuers.flat_map(|(issuer, value)| {
        let secrets = secrets(value).into_iter();
        secrets.map(move |(field, secret)| IssuerSecret { issuer, field, secret: SigningSecret(secret) })
    });
    found.collect()
}

fn secrets(issuer: &Value) -> Vec<(String, Vec<u8>)> {
    let text = |name: &str| issuer.get(name).and_then(Value::as_str);
    let plain = text("secret").map(|secret| ("secret".to_owned(), secret.as_bytes().to_vec()));
    let encoded = text("secret_base64").and_then(decode_secret).map(|secret| ("secret_base64".to_owned(), secret));
    let keys = issuer.get("jwks").and_then(|jwks| jwks.get("keys")).and_then(Value::as_array);
    let keys = keys.into_iter().flatten().enumerate().filter_map(|(place, key)| {
        let key = key.get("k").and_then(Value::as_str)?;
        Some((format!("jwks.keys[{place}].k"), decode_secret(key)?))
    });
    plain.into_iter().chain(encoded).chain(keys).collect()
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
    let algorithms = issuer.get("algorithms").and_then(Value::as_array);
    let first = algorithms.and_then(|algorithms| algorithms.first()).and_then(Value::as_str);
    Some(Signer {
        issuer: text("issuer").map(str::to_owned),
        audiences: audiences.map(str::to_owned).collect(),
        required_claims: required_claims(issuer),
        algorithm: text("algorithm").or(first).unwrap_or("HS256").to_owned(),
        secret: SigningSecret(secret),
    })
}

/// The first value of each required claim; none where the claim may be left out.
fn required_claims(issuer: &Value) -> Vec<(String, Value)> {
    let claims = issuer.get("required_claims").and_then(Value::as_object).into_iter().flatten();
    let first = |value: &Value| match value {
        Value::Array(values) => (!values.contains(&Value::Null)).then(|| values.first().cloned()).flatten(),
        Value::Null => None,
        value => Some(value.clone()),
    };
    claims.filter_map(|(name, value)| Some((name.clone(), first(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_found_wherever_they_stand() {
        let found = issuer_secrets(&json!({"issuers": [
            {"secret": "abc"},
            {"jwks": {"keys": [{"kty": "EC", "x": "YWJj"}, {"kty": "oct", "k": "YWJj"}]}},
            {"secret_base64": "YWJj"},
        ]}));
        let found: Vec<_> = found.iter().map(|one| (one.issuer, one.field.as_str(), one.secret.0.as_slice())).collect();
        let abc = b"abc".as_slice();
        assert_eq!(found, [(0, "secret", abc), (1, "jwks.keys[1].k", abc), (2, "secret_base64", abc)]);
    }
}
