//! The keys that rows are signed with, and the forge that makes tokens with them.

pub(crate) mod primes;

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, anyhow, bail};
use ed25519_compact::{KeyPair, Seed};
use jwt_simple::prelude::RS256KeyPair;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use p256::pkcs8::EncodePublicKey as _;
use serde_json::{Value, json};
use superboring::pkey::{PKey, Private};

use super::raw::{self, Padding};
use crate::tokens::{base64, now};

/// The issuer of the rows' tokens.
pub(crate) const ISSUER: &str = "https://issuer.example";

/// A second trusted issuer, with a key of its own.
pub(crate) const OTHER_ISSUER: &str = "https://other.example";

/// The audience that tokens must be meant for.
const AUDIENCE: &str = "shop";

const SECRET: &[u8; 64] = b"a secret for tests that is as long as the longest hash: 64 bytes";
pub(crate) const OTHER_SECRET: &str = "the secret of the other issuer, long enough for HS256";

/// The keys of one run. The RSA key is new in each; the others are fixed.
pub struct Keys {
    /// The part of the `jti` that sets this run's tokens apart from others.
    run: String,
    serial: AtomicU64,
    /// When tokens are made, in seconds of Unix time; `None` takes the machine's clock.
    moment: Option<i64>,
    rsa: PKey<Private>,
    modulus: Vec<u8>,
    rsa_pair: RS256KeyPair,
    ecdsa: SigningKey,
    eddsa: KeyPair,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Keys")
    }
}

impl Keys {
    /// New keys.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn generate() -> Result<Self> {
        let rsa_pair = RS256KeyPair::generate(2048).map_err(|error| anyhow!("no RSA key: {error}"))?;
        static RUN: AtomicU64 = AtomicU64::new(0);
        let run = format!("{}-{}", std::process::id(), RUN.fetch_add(1, Ordering::Relaxed));
        Self::new(rsa_pair, run, None)
    }

    /// The same keys each time, and a forge that makes the same tokens at the same moment (in seconds of Unix time),
    /// except for the salts of RSASSA-PSS.
    ///
    /// # Errors
    /// When the RSA key is invalid.
    pub fn fixed(moment: i64) -> Result<Self> {
        let rsa_pair = RS256KeyPair::from_pem(&primes::rsa_pem()?).map_err(|error| anyhow!("no RSA key: {error}"))?;
        Self::new(rsa_pair, "fixed".to_owned(), Some(moment))
    }

    fn new(rsa_pair: RS256KeyPair, run: String, moment: Option<i64>) -> Result<Self> {
        let pem = rsa_pair.to_pem().map_err(|error| anyhow!("{error}"))?;
        let (rsa, modulus) = raw::rsa_key(&pem)?;
        Ok(Self {
            run,
            serial: AtomicU64::new(0),
            moment,
            rsa,
            modulus,
            rsa_pair,
            ecdsa: SigningKey::from_slice(&[0x11; 32])?,
            eddsa: KeyPair::from_seed(Seed::new([0x22; 32])),
        })
    }

    /// The JWK Set of the first issuer: one key for each of the five algorithms of the rows.
    ///
    /// # Errors
    /// When a key cannot be written as a JWK.
    pub fn jwks(&self) -> Result<Value> {
        let rsa: Value = serde_json::from_str(&self.rsa_pair.public_key().to_jwk())?;
        let (n, e) = (rsa.get("n"), rsa.get("e"));
        let point = self.ecdsa.verifying_key().to_sec1_point(false);
        let (x, y) = point.as_bytes().get(1..).context("an EC point")?.split_at(32);
        Ok(json!({"keys": [
            {"kty": "oct", "alg": "HS256", "kid": "hs", "k": base64(SECRET)},
            {"kty": "RSA", "alg": "RS256", "kid": "k1", "n": n, "e": e},
            {"kty": "RSA", "alg": "PS256", "kid": "ps", "n": n, "e": e},
            {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "es", "x": base64(x), "y": base64(y)},
            {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "ed", "x": base64(self.eddsa.pk.as_ref())},
        ]}))
    }

    /// The list of issuers for the filter and the control plane.
    ///
    /// # Errors
    /// As [`Keys::jwks`].
    pub fn issuers(&self) -> Result<Value> {
        Ok(json!([
            {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "required_claims": {"token_type": [null, "access"]},
                "jwks": self.jwks()?,
            },
            {"issuer": OTHER_ISSUER, "require_user": true, "secret": OTHER_SECRET},
        ]))
    }

    /// The same for Envoy's `jwt_authn`, with every check of Curfew's that it offers.
    ///
    /// # Errors
    /// As [`Keys::jwks`].
    pub(super) fn jwt_authn(&self) -> Result<Value> {
        Ok(json!({
            "issuer": ISSUER,
            "audiences": [AUDIENCE],
            "local_jwks": {"inline_string": self.jwks()?.to_string()},
            "clock_skew_seconds": 5,
            "require_expiration": true,
            "max_lifetime": "2592000s",
            "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
            "from_cookies": ["access_token"],
            "from_params": ["access_token"],
        }))
    }

    /// A forge of tokens for this user.
    pub fn forge<'a>(&'a self, user: &'a str) -> Forge<'a> {
        Forge { keys: self, user }
    }
}

/// Makes tokens for one user, no two alike.
#[derive(Clone, Copy, Debug)]
pub struct Forge<'a> {
    keys: &'a Keys,
    /// The `sub` of its tokens.
    pub user: &'a str,
}

/// A token apart from its signature.
pub(crate) struct Signed {
    pub(super) input: String,
    pub(super) signature: Vec<u8>,
}

impl Signed {
    /// The token with its own signature.
    pub(crate) fn text(&self) -> String {
        self.with(&self.signature)
    }

    /// The token with another signature.
    pub(super) fn with(&self, signature: &[u8]) -> String {
        format!("{}.{}", self.input, base64(signature))
    }
}

impl Forge<'_> {
    /// Claims of a good token, valid for ten minutes.
    pub fn claims(&self) -> Value {
        let jti = format!("{}-{}", self.keys.run, self.keys.serial.fetch_add(1, Ordering::Relaxed));
        let now = self.now();
        json!({"iss": ISSUER, "aud": AUDIENCE, "sub": self.user, "iat": now, "exp": now + 600, "jti": jti})
    }

    /// When its tokens are made, in seconds of Unix time.
    pub(super) fn now(&self) -> i64 {
        self.keys.moment.unwrap_or_else(now)
    }

    /// Claims of the other trusted issuer.
    pub fn other_claims(&self) -> Value {
        crate::tokens::with(self.claims(), json!({ "iss": OTHER_ISSUER }))
    }

    /// A good token of the first issuer.
    pub fn good(&self) -> String {
        self.hs256(r#"{"alg":"HS256","typ":"JWT"}"#, self.claims().to_string())
    }

    /// A token with exactly this header and payload, and an HMAC by the first issuer's secret.
    pub fn hs256(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        self.hs256_input(&format!("{}.{}", base64(header.as_ref()), base64(payload.as_ref())))
    }

    /// A token with exactly this signing input.
    pub(super) fn hs256_input(&self, input: &str) -> String {
        format!("{input}.{}", base64(&raw::hmac(SECRET, input)))
    }

    /// A token by the other issuer's secret.
    pub fn by_other_issuer(&self, claims: &Value) -> String {
        let input = format!("{}.{}", base64(br#"{"alg":"HS256"}"#), base64(claims.to_string().as_bytes()));
        format!("{input}.{}", base64(&raw::hmac(OTHER_SECRET.as_bytes(), &input)))
    }

    /// The signing input under a header, with good claims.
    pub(super) fn input(&self, header: &str) -> String {
        format!("{}.{}", base64(header.as_bytes()), base64(self.claims().to_string().as_bytes()))
    }

    /// A good token of an algorithm, with its key's `kid`.
    pub(crate) fn signed(&self, algorithm: &str) -> Result<Signed> {
        let kid = match algorithm {
            "HS256" => "hs",
            "RS256" => "k1",
            "PS256" => "ps",
            "ES256" => "es",
            "EdDSA" => "ed",
            other => bail!("no key for {other}"),
        };
        let input = self.input(&format!(r#"{{"alg":"{algorithm}","kid":"{kid}","typ":"JWT"}}"#));
        let signature = match algorithm {
            "HS256" => raw::hmac(SECRET, &input).to_vec(),
            "RS256" => self.rsa(&input, Padding::Pkcs1(256))?,
            "PS256" => self.rsa(&input, Padding::Pss(256, -1))?,
            "ES256" => self.ecdsa(&input),
            _ => self.keys.eddsa.sk.sign(&input, None).to_vec(),
        };
        Ok(Signed { input, signature })
    }

    /// An RSA signature with any padding and hash.
    pub(super) fn rsa(&self, input: &str, padding: Padding) -> Result<Vec<u8>> {
        raw::rsa_sign(&self.keys.rsa, input.as_bytes(), padding)
    }

    /// The RSA private operation on any padded message.
    pub(super) fn rsa_private(&self, padded: &[u8]) -> Result<Vec<u8>> {
        raw::rsa_private(&self.rsa_pem()?, padded)
    }

    /// The RSA modulus, big-endian.
    pub(super) fn modulus(&self) -> Vec<u8> {
        self.keys.modulus.clone()
    }

    /// The RSA key, as PKCS#8 in PEM.
    pub(crate) fn rsa_pem(&self) -> Result<String> {
        self.keys.rsa_pair.to_pem().map_err(|error| anyhow!("{error}"))
    }

    fn ecdsa(&self, input: &str) -> Vec<u8> {
        let signature: p256::ecdsa::Signature = self.keys.ecdsa.sign(input.as_bytes());
        signature.to_bytes().to_vec()
    }

    /// Every form of the public keys, which a confused verifier might take for an HMAC secret.
    pub(super) fn public_form(&self, form: &str) -> Result<Vec<u8>> {
        let rsa = self.keys.rsa_pair.public_key();
        let whole = |error: jwt_simple::Error| anyhow!("{error}");
        Ok(match form {
            "the RSA key's PEM" => rsa.to_pem().map_err(whole)?.into_bytes(),
            "the RSA key's DER" => rsa.to_der().map_err(whole)?,
            "the RSA key's JWK" => rsa.to_jwk().into_bytes(),
            "the RSA modulus" => self.modulus(),
            "the EC key's DER" => self.keys.ecdsa.verifying_key().to_public_key_der()?.into_vec(),
            "the EC point" => self.keys.ecdsa.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            "the Ed25519 key" => self.keys.eddsa.pk.as_ref().to_vec(),
            other => bail!("no form {other}"),
        })
    }
}
