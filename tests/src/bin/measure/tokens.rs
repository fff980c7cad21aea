//! Tokens made in advance: good ones of one issuer, and forgeries of several kinds.

use anyhow::{Context as _, Result};
use curfew_testbed::measure::get;
use curfew_testbed::tokens::{ISSUER, Signer, base64, claims, jwks, now, sha256, with};
use serde_json::{Value, json};

/// One issuer's keys, one for each algorithm of the rows.
pub(crate) struct Keys {
    pub(crate) rs256: Signer,
    pub(crate) es256: Signer,
    pub(crate) hs256: Signer,
    pub(crate) eddsa: Signer,
}

impl Keys {
    pub(crate) fn generate() -> Result<Self> {
        let [rs256, es256, hs256, eddsa] = ["RS256", "ES256", "HS256", "EdDSA"].map(Signer::generate);
        Ok(Self { rs256: rs256?, es256: es256?, hs256: hs256?, eddsa: eddsa? })
    }

    fn jwks(&self) -> Value {
        jwks([&self.rs256, &self.es256, &self.hs256, &self.eddsa])
    }

    /// For the filter and the control plane.
    pub(crate) fn issuers(&self) -> Value {
        json!([{"issuer": ISSUER, "jwks": self.jwks()}])
    }

    /// For Envoy's `jwt_authn`: the same, with the checks that Curfew always makes. Keys are inline, so none are
    /// fetched. As with the shipped filter, the upstream gets the token, and the user in a header.
    pub(crate) fn jwt_authn(&self, cache: bool) -> Value {
        json!({
            "issuer": ISSUER,
            "local_jwks": {"inline_string": self.jwks().to_string()},
            "clock_skew_seconds": 5,
            "require_expiration": true,
            "max_lifetime": "2592000s",
            "forward": true,
            "claim_to_headers": [{"header_name": "x-user-id", "claim_name": "sub"}],
            "jwt_cache_config": cache.then(|| json!({"jwt_cache_size": 10_000})),
        })
    }
}

/// Good tokens, no two alike.
pub(crate) fn good(signer: &Signer, count: usize) -> Result<Vec<String>> {
    (0..count).map(|index| signer.sign(&claims(&format!("user-{index}")))).collect()
}

/// Well-signed tokens that expired ten minutes ago.
pub(crate) fn expired(signer: &Signer, count: usize) -> Result<Vec<String>> {
    let times = json!({"iat": now() - 1200, "exp": now() - 600});
    (0..count).map(|_| signer.sign(&with(claims("late"), times.clone()))).collect()
}

/// Tokens that differ from the signer's in the signature alone. It has the right length and is within the group's
/// order, so that a verifier has to compute before it can refuse.
pub(crate) fn badly_signed(signer: &Signer, count: usize) -> Result<Vec<String>> {
    let pattern = signer.sign(&claims("pattern"))?;
    let header = pattern.split('.').next().context("a token has a header")?;
    let length = match signer.algorithm() {
        "RS256" => 256,
        "ES256" => 64,
        _ => 32,
    };
    Ok((0..count).map(|index| forged(header, index, length)).collect())
}

/// Tokens that each name another key that does not exist.
pub(crate) fn of_unknown_keys(count: usize) -> Vec<String> {
    let header = |index| json!({"alg": "RS256", "typ": "JWT", "kid": format!("nobody-{index}")}).to_string();
    (0..count).map(|index| forged(&base64(header(index).as_bytes()), index, 256)).collect()
}

/// Text with a token's length and alphabet, without its form.
pub(crate) fn junk(count: usize) -> Vec<String> {
    (0..count).map(|index| base64(&noise(index, 400))).collect()
}

fn forged(header: &str, index: usize, length: usize) -> String {
    let payload = base64(claims(&format!("user-{index}")).to_string().as_bytes());
    format!("{header}.{payload}.{}", base64(&noise(index, length)))
}

/// Bytes that look random, in blocks of 32 that each begin with a zero. As numbers they are smaller than any modulus.
fn noise(index: usize, length: usize) -> Vec<u8> {
    let block = |number: usize| {
        let mut block = sha256(format!("{index} {number}").as_bytes());
        block[0] = 0;
        block
    };
    (0..length.div_ceil(32)).flat_map(block).take(length).collect()
}

/// A typical request with this token.
pub(crate) fn request(token: &str) -> Vec<u8> {
    get("/orders?page=2", &[("authorization", &format!("Bearer {token}"))])
}

/// A request for each of these tokens.
pub(crate) fn requests(tokens: &[String]) -> Vec<Vec<u8>> {
    tokens.iter().map(|token| request(token)).collect()
}
