//! Tokens for every story: signers of all algorithms, and tokens that no sane issuer would make.

mod forged;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use jwt_simple::prelude::{
    ECDSAP256KeyPairLike as _, ECDSAP384KeyPairLike as _, ES256KeyPair, ES384KeyPair, Ed25519KeyPair,
    EdDSAKeyPairLike as _, HS256Key, HS384Key, HS512Key, JWTClaims, MACLike as _, PS256KeyPair, PS384KeyPair,
    PS512KeyPair, RS256KeyPair, RS384KeyPair, RS512KeyPair, RSAKeyPairLike as _,
};
use p521::ecdsa::signature::Signer as _;
use serde_json::{Map, Value, json};

pub use curfew_demo::token::{ISSUER, base64, claims, hs256_bytes, now};
pub use forged::{es256_twin, hs256_text, respelled_base64};

/// The signature algorithms that Curfew verifies.
pub const ALGORITHMS: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
];

/// Claims with some members replaced, or removed where the new value is null.
#[must_use]
pub fn with(mut claims: Value, changes: Value) -> Value {
    if let (Some(claims), Value::Object(changes)) = (claims.as_object_mut(), changes) {
        for (name, value) in changes {
            match value {
                Value::Null => claims.remove(&name),
                value => claims.insert(name, value),
            };
        }
    }
    claims
}

/// A signer from one of jwt-simple's RSA types, which have no trait for loading a key.
macro_rules! rsa {
    ($algorithm:expr, $kid:expr, $type:ty, $pem:expr) => {{
        let key = <$type>::from_pem($pem).map_err(|error| anyhow::anyhow!("{error}"))?;
        let key = key.with_key_id(&$kid);
        let jwk = serde_json::from_str(&key.public_key().to_jwk())?;
        Signer::new($algorithm, jwk, move |claims| key.sign(claims))
    }};
}

type Sign = Box<dyn Fn(JWTClaims<Map<String, Value>>) -> Result<String> + Send + Sync>;

/// A key that signs tokens of one algorithm.
pub struct Signer {
    algorithm: String,
    jwk: Value,
    sign: Sign,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Signer({})", self.algorithm)
    }
}

impl Signer {
    /// A signer for the demo's issuer: HS256 with its secret.
    pub fn from_secret(secret: &str) -> Self {
        let key = HS256Key::from_bytes(secret.as_bytes());
        let sign = move |claims| key.authenticate(claims);
        Self::new("HS256", Value::Null, sign)
    }

    /// A signer with a new key. RSA algorithms share one key, because making one takes long.
    ///
    /// # Errors
    /// For a name that is not in [`ALGORITHMS`].
    pub fn generate(algorithm: &str) -> Result<Self> {
        let kid = format!("test-{algorithm}");
        Ok(match algorithm {
            "HS256" | "HS384" | "HS512" => hmac(algorithm, &kid)?,
            "RS256" => rsa!(algorithm, kid, RS256KeyPair, &rsa_pem()?),
            "RS384" => rsa!(algorithm, kid, RS384KeyPair, &rsa_pem()?),
            "RS512" => rsa!(algorithm, kid, RS512KeyPair, &rsa_pem()?),
            "PS256" => rsa!(algorithm, kid, PS256KeyPair, &rsa_pem()?),
            "PS384" => rsa!(algorithm, kid, PS384KeyPair, &rsa_pem()?),
            "PS512" => rsa!(algorithm, kid, PS512KeyPair, &rsa_pem()?),
            "ES256" => Self::es256(&kid)?,
            "ES384" => {
                let key = ES384KeyPair::generate().with_key_id(&kid);
                let jwk = serde_json::from_str(&key.public_key().to_jwk())?;
                Self::new(algorithm, jwk, move |claims| key.sign(claims))
            }
            "ES512" => es512(&kid)?,
            "EdDSA" => {
                let key = Ed25519KeyPair::generate().with_key_id(&kid);
                let jwk = serde_json::from_str(&key.public_key().to_jwk())?;
                Self::new(algorithm, jwk, move |claims| key.sign(claims))
            }
            other => bail!("no signer for {other}"),
        })
    }

    /// A signer with a new ES256 key of this name.
    ///
    /// # Errors
    /// When the key cannot be written as a JWK.
    pub fn es256(kid: &str) -> Result<Self> {
        let key = ES256KeyPair::generate().with_key_id(kid);
        let jwk = serde_json::from_str(&key.public_key().to_jwk())?;
        Ok(Self::new("ES256", jwk, move |claims| key.sign(claims)))
    }

    /// A signer with a new Ed25519 key of this `kid`.
    ///
    /// # Errors
    /// If the key cannot be read back.
    pub fn named(kid: &str) -> Result<Self> {
        let key = Ed25519KeyPair::generate().with_key_id(kid);
        let jwk = serde_json::from_str(&key.public_key().to_jwk())?;
        Ok(Self::new("EdDSA", jwk, move |claims| key.sign(claims)))
    }

    /// A signer with the same key each time; those of RSA algorithms have the one in `pem`.
    ///
    /// # Errors
    /// For a name that is not in [`ALGORITHMS`], or when `pem` is no RSA key.
    pub fn fixed(algorithm: &str, pem: &str) -> Result<Self> {
        let kid = format!("fixed-{algorithm}");
        Ok(match algorithm {
            "HS256" | "HS384" | "HS512" => hmac(algorithm, &kid)?,
            "RS256" => rsa!(algorithm, kid, RS256KeyPair, pem),
            "RS384" => rsa!(algorithm, kid, RS384KeyPair, pem),
            "RS512" => rsa!(algorithm, kid, RS512KeyPair, pem),
            "PS256" => rsa!(algorithm, kid, PS256KeyPair, pem),
            "PS384" => rsa!(algorithm, kid, PS384KeyPair, pem),
            "PS512" => rsa!(algorithm, kid, PS512KeyPair, pem),
            "ES256" => {
                let key = ES256KeyPair::from_bytes(&[0x11; 32]).map_err(|error| anyhow::anyhow!("{error}"))?;
                let key = key.with_key_id(&kid);
                let jwk = serde_json::from_str(&key.public_key().to_jwk())?;
                Self::new(algorithm, jwk, move |claims| key.sign(claims))
            }
            "ES384" => {
                let key = ES384KeyPair::from_bytes(&[0x44; 48]).map_err(|error| anyhow::anyhow!("{error}"))?;
                let key = key.with_key_id(&kid);
                let jwk = serde_json::from_str(&key.public_key().to_jwk())?;
                Self::new(algorithm, jwk, move |claims| key.sign(claims))
            }
            "ES512" => es512(&kid)?,
            "EdDSA" => {
                let pair = ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new([0x22; 32]));
                let key = Ed25519KeyPair::from_bytes(pair.as_slice()).map_err(|error| anyhow::anyhow!("{error}"))?;
                let key = key.with_key_id(&kid);
                let jwk = serde_json::from_str(&key.public_key().to_jwk())?;
                Self::new(algorithm, jwk, move |claims| key.sign(claims))
            }
            other => bail!("no fixed signer for {other}"),
        })
    }

    fn new(
        algorithm: &str,
        jwk: Value,
        sign: impl Fn(JWTClaims<Map<String, Value>>) -> Result<String, jwt_simple::Error> + Send + Sync + 'static,
    ) -> Self {
        let sign = move |claims| sign(claims).map_err(|error| anyhow::anyhow!("{error}"));
        Self { algorithm: algorithm.to_owned(), jwk, sign: Box::new(sign) }
    }

    /// The `alg` of its tokens.
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// The key for a JWK Set: public for asymmetric algorithms, the secret itself (`oct`) for HMAC.
    pub fn jwk(&self) -> Value {
        self.jwk.clone()
    }

    /// Signs claims as they are; nothing is added.
    ///
    /// # Errors
    /// When `claims` is not an object.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        let claims = claims.as_object().context("claims are an object")?;
        (self.sign)(only(claims.clone()))
    }
}

/// Claims without any member of jwt-simple's own, so that every value is written as the story says.
fn only(custom: Map<String, Value>) -> JWTClaims<Map<String, Value>> {
    JWTClaims {
        issued_at: None,
        expires_at: None,
        invalid_before: None,
        issuer: None,
        subject: None,
        audiences: None,
        jwt_id: None,
        nonce: None,
        custom,
    }
}

fn hmac(algorithm: &str, kid: &str) -> Result<Signer> {
    let secret: Vec<u8> = (0..64).collect();
    let k = base64(&secret);
    let jwk = json!({"kty": "oct", "alg": algorithm, "kid": kid, "k": k});
    Ok(match algorithm {
        "HS256" => {
            let key = HS256Key::from_bytes(&secret).with_key_id(kid);
            Signer::new(algorithm, jwk, move |claims| key.authenticate(claims))
        }
        "HS384" => {
            let key = HS384Key::from_bytes(&secret).with_key_id(kid);
            Signer::new(algorithm, jwk, move |claims| key.authenticate(claims))
        }
        "HS512" => {
            let key = HS512Key::from_bytes(&secret).with_key_id(kid);
            Signer::new(algorithm, jwk, move |claims| key.authenticate(claims))
        }
        other => bail!("{other} is not HMAC"),
    })
}

/// One RSA key of 2048 bits per process, as PEM.
fn rsa_pem() -> Result<String> {
    static PEM: OnceLock<String> = OnceLock::new();
    if let Some(pem) = PEM.get() {
        return Ok(pem.clone());
    }
    let pem = RS256KeyPair::generate(2048).and_then(|key| key.to_pem());
    let pem = pem.map_err(|error| anyhow::anyhow!("no RSA key: {error}"))?;
    Ok(PEM.get_or_init(|| pem).clone())
}

/// ES512 is the one algorithm that jwt-simple does not sign; the key is a fixed scalar.
fn es512(kid: &str) -> Result<Signer> {
    let mut scalar = [7_u8; 66];
    scalar[0] = 0;
    let key = p521::ecdsa::SigningKey::from_slice(&scalar).context("the ES512 key")?;
    let point = key.verifying_key().to_sec1_point(false);
    let (x, y) = point.as_bytes().get(1..).context("the ES512 point")?.split_at(66);
    let jwk = json!({
        "kty": "EC", "crv": "P-521", "alg": "ES512", "kid": kid, "x": base64(x), "y": base64(y),
    });
    let header = json!({"alg": "ES512", "typ": "JWT", "kid": kid}).to_string();
    let sign = move |claims: JWTClaims<Map<String, Value>>| {
        let payload = Value::Object(claims.custom).to_string();
        let input = signing_input(&header, &payload);
        let signature: p521::ecdsa::Signature = key.sign(input.as_bytes());
        Ok(format!("{input}.{}", base64(&signature.to_bytes())))
    };
    Ok(Signer::new("ES512", jwk, sign))
}

fn signing_input(header: &str, payload: &str) -> String {
    format!("{}.{}", base64(header.as_bytes()), base64(payload.as_bytes()))
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    hmac_sha256::Hash::hash(bytes)
}

/// A JWK Set of these signers' keys.
pub fn jwks<'a>(signers: impl IntoIterator<Item = &'a Signer>) -> Value {
    let keys: Vec<Value> = signers.into_iter().map(Signer::jwk).collect();
    json!({ "keys": keys })
}

/// A signer per algorithm, by name.
///
/// # Errors
/// When a key cannot be made.
pub fn signers(algorithms: &[&'static str]) -> Result<BTreeMap<&'static str, Signer>> {
    algorithms.iter().map(|name| Ok((*name, Signer::generate(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use ct_codecs::{Base64UrlSafeNoPadding, Decoder as _};

    use super::*;

    #[test]
    fn claims_are_written_as_given() {
        let signer = Signer::from_secret("0123456789abcdef0123456789abcdef");
        let token = signer.sign(&json!({"sub": 7, "exp": 1.5})).unwrap();
        let payload = token.split('.').nth(1).unwrap();
        let payload = Base64UrlSafeNoPadding::decode_to_vec(payload, None).unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(payload, json!({"sub": 7, "exp": 1.5}));
    }
}
