//! Headers that bring a key along, or say where one is (RFC 7515 sections 4.1.2 to 4.1.6). With the right key they are
//! harmless; with an attacker's signature none of them chooses the attacker's key.

use anyhow::{Context as _, Result};
use ct_codecs::{Base64, Decoder as _};
use curfew_core::TokenError;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use p256::pkcs8::DecodePrivateKey as _;
use serde_json::{Value, json};

use super::header::SECTION;
use super::raw::Padding;
use super::{Forge, Row, bad, good};
use crate::tokens::{base64, with};

/// The attacker's key, and a certificate of it.
const KEY: &str = include_str!("../../certificates/test-only.key");
const CERTIFICATE: &str = include_str!("../../certificates/test-only.pem");

/// The base64 inside PEM.
fn inside(pem: &str) -> String {
    let lines = pem.lines().skip_while(|line| !line.starts_with("-----BEGIN")).skip(1);
    lines.take_while(|line| !line.starts_with("-----END")).collect()
}

fn attackers_key() -> Result<SigningKey> {
    Ok(SigningKey::from_pkcs8_der(&Base64::decode_to_vec(inside(KEY), None)?)?)
}

fn attackers_jwk(kid: &str) -> Result<Value> {
    let point = attackers_key()?.verifying_key().to_sec1_point(false);
    let (x, y) = point.as_bytes().get(1..).context("an EC point")?.split_at(32);
    Ok(json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": kid, "x": base64(x), "y": base64(y)}))
}

/// What the attacker's header has besides its algorithm and its `kid`.
fn parameter(name: &str, kid: &str) -> Result<Value> {
    Ok(match name {
        "jku" => json!({"jku": "https://evil.example/jwks.json"}),
        "x5u" => json!({"x5u": "https://evil.example/certificate.pem"}),
        "x5c" => json!({"x5c": [inside(CERTIFICATE)]}),
        _ => json!({"jwk": attackers_jwk(kid)?}),
    })
}

/// A token that the attacker's key has signed, with a header that leads to that key.
fn signed_by_the_attacker(forge: &Forge<'_>, name: &str, kid: Option<&str>) -> Result<Vec<u8>> {
    let header = with(json!({"alg": "ES256"}), parameter(name, kid.unwrap_or("es"))?);
    let header = if let Some(kid) = kid { with(header, json!({ "kid": kid })) } else { header };
    let input = forge.input(&header.to_string());
    let signature: p256::ecdsa::Signature = attackers_key()?.sign(input.as_bytes());
    Ok(format!("{input}.{}", base64(&signature.to_bytes())).into_bytes())
}

/// The header is exactly this text, and the right RSA key has signed it.
fn signed_by_the_issuer(id: &str, asks: &str, header: &'static str) -> Row {
    good(SECTION, id, asks, move |forge| {
        let input = forge.input(header);
        let signature = forge.rsa(&input, Padding::Pkcs1(256))?;
        Ok(format!("{input}.{}", base64(&signature)).into_bytes())
    })
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![signed_by_the_issuer(
        "jku-right-key",
        "jku of the issuer's own keys, as UAA writes it, signed with the right key",
        r#"{"alg":"RS256","kid":"k1","jku":"https://uaa.example/token_keys"}"#,
    )];
    let leads = [
        ("jku", "jku of the attacker's key set"),
        ("x5u", "x5u of the attacker's certificate"),
        ("x5c", "the attacker's certificate in x5c"),
        ("jwk", "the attacker's public key in jwk"),
    ];
    for (name, leads) in leads {
        let kids = [
            ("attacker", "the right kid", Some("es"), TokenError::Signature),
            ("attacker-no-kid", "no kid", None, TokenError::Signature),
            ("attacker-own-kid", "a kid of its own", Some("evil"), TokenError::UnknownKey),
        ];
        for (id, with, kid, rule) in kids {
            let asks = format!("{leads}, the attacker's signature, {with}");
            rows.push(bad(SECTION, &format!("{name}-{id}"), &asks, rule, move |forge| {
                signed_by_the_attacker(forge, name, kid)
            }));
        }
    }
    rows
}
