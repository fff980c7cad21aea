//! The form of signatures: exact length, exact padding, numbers in range.

use anyhow::{Context as _, Result};
use curfew_core::TokenError;

use super::keys::Signed;
use super::raw::{self, Padding};
use super::{Forge, Row, bad, good};
use crate::tokens::{base64, es256_twin};

const SECTION: &str = "signature";

/// A good token of an algorithm, with a signature made from the right one.
fn forged<F>(algorithm: &'static str, id: &str, asks: &str, make: F) -> Row
where
    F: Fn(&Forge<'_>, &Signed) -> Result<Vec<u8>> + Send + Sync + 'static,
{
    let id = format!("{}-{id}", algorithm.to_ascii_lowercase());
    bad(SECTION, &id, &format!("{algorithm}: {asks}"), TokenError::Signature, move |forge| {
        let signed = forge.signed(algorithm)?;
        let signature = make(forge, &signed)?;
        Ok(signed.with(&signature).into_bytes())
    })
}

/// The rows that every algorithm has.
fn common(algorithm: &'static str) -> Vec<Row> {
    let id = format!("{}-good", algorithm.to_ascii_lowercase());
    vec![
        good(SECTION, &id, &format!("{algorithm}: a good token"), move |forge| {
            Ok(forge.signed(algorithm)?.text().into_bytes())
        }),
        forged(algorithm, "bit", "one bit turned", |_, signed| {
            let mut signature = signed.signature.clone();
            if let Some(byte) = signature.get_mut(7) {
                *byte ^= 1;
            }
            Ok(signature)
        }),
        forged(algorithm, "zeros", "all zero", |_, signed| Ok(vec![0; signed.signature.len()])),
        forged(algorithm, "ones", "all bits set", |_, signed| Ok(vec![0xff; signed.signature.len()])),
        forged(algorithm, "one-byte", "one byte", |_, _| Ok(vec![1])),
        forged(algorithm, "shorter", "the last byte missing", |_, signed| {
            Ok(signed.signature.split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default())
        }),
        forged(algorithm, "headless", "the first byte missing", |_, signed| {
            Ok(signed.signature.get(1..).unwrap_or_default().to_vec())
        }),
        forged(algorithm, "longer", "a zero behind it", |_, signed| Ok([&signed.signature[..], &[0]].concat())),
        forged(algorithm, "leading-zero", "a zero before it", |_, signed| Ok([&[0], &signed.signature[..]].concat())),
        forged(algorithm, "twice", "the signature twice", |_, signed| {
            Ok([&signed.signature[..], &signed.signature[..]].concat())
        }),
        forged(algorithm, "reversed", "the bytes in reverse", |_, signed| {
            Ok(signed.signature.iter().rev().copied().collect())
        }),
        forged(algorithm, "others", "the signature of another token", move |forge, _| {
            Ok(forge.signed(algorithm)?.signature)
        }),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    let own = [hmac(), rsa_pkcs1(), rsa_pss(), ecdsa(), eddsa()];
    let common = ["HS256", "RS256", "PS256", "ES256", "EdDSA"].map(common);
    common.into_iter().zip(own).flat_map(|(common, own)| common.into_iter().chain(own)).collect()
}

fn hmac() -> Vec<Row> {
    vec![
        forged("HS256", "half", "the first 16 bytes", |_, signed| {
            Ok(signed.signature.get(..16).unwrap_or_default().to_vec())
        }),
        forged("HS256", "empty-key", "an HMAC with an empty key", |_, signed| {
            Ok(raw::hmac(b"", &signed.input).to_vec())
        }),
        forged("HS256", "zero-key", "an HMAC with a key of zeros", |_, signed| {
            Ok(raw::hmac(&[0; 64], &signed.input).to_vec())
        }),
        forged("HS256", "plain-hash", "a hash without any key", |_, signed| {
            Ok(hmac_sha256::Hash::hash(signed.input.as_bytes()).to_vec())
        }),
        forged("HS256", "hexadecimal", "in hexadecimal", |_, signed| {
            Ok(signed.signature.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect())
        }),
        forged("HS256", "encoded-twice", "in base64 once more", |_, signed| Ok(base64(&signed.signature).into_bytes())),
        forged("HS256", "payload-only", "over the payload alone", |forge, signed| {
            let payload = signed.input.split_once('.').context("a dot")?.1;
            let token = forge.hs256_input(payload);
            let signature = token.rsplit_once('.').context("a dot")?.1;
            Ok(signature.as_bytes().to_vec())
        }),
        bad(SECTION, "hs256-moved-dot", "HS256: the dot moved by one character", TokenError::Encoding, |forge| {
            // The same characters in another order of parts; over `header || payload` they would hash alike.
            let token = forge.good();
            let (header, rest) = token.split_once('.').context("a dot")?;
            let (first, rest) = rest.split_at(1);
            Ok(format!("{header}{first}.{rest}").into_bytes())
        }),
        bad(SECTION, "hs256-header-swapped", "HS256: another header over the same signature", TokenError::Signature, {
            |forge| {
                let signed = forge.signed("HS256")?;
                let payload = signed.input.split_once('.').context("a dot")?.1;
                Ok(format!("{}.{payload}.{}", base64(br#"{"alg":"HS256"}"#), base64(&signed.signature)).into_bytes())
            }
        }),
    ]
}

fn rsa_pkcs1() -> Vec<Row> {
    vec![
        forged("RS256", "plus-n", "the signature plus the modulus", |forge, signed| {
            Ok(raw::sum_be(&signed.signature, &forge.modulus()))
        }),
        forged("RS256", "one", "the number 1", |_, _| Ok(raw::left_padded(&[1], 256))),
        forged("RS256", "modulus", "the modulus itself", |forge, _| Ok(forge.modulus())),
        forged("RS256", "sha384", "made over SHA-384", |forge, signed| forge.rsa(&signed.input, Padding::Pkcs1(384))),
        forged("RS256", "sha512", "made over SHA-512", |forge, signed| forge.rsa(&signed.input, Padding::Pkcs1(512))),
        forged("RS256", "pss", "with PSS padding", |forge, signed| forge.rsa(&signed.input, Padding::Pss(256, -1))),
        forged("RS256", "no-digest-info", "a padding without the hash's name", |forge, signed| {
            let hash = hmac_sha256::Hash::hash(signed.input.as_bytes());
            forge.rsa_private(&padded(&hash))
        }),
        forged("RS256", "short-padding", "a short padding and garbage behind the hash", |forge, signed| {
            let hash = hmac_sha256::Hash::hash(signed.input.as_bytes());
            let start = [&[0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0][..], &SHA256_INFO, &hash].concat();
            let garbage = vec![0x5a; 256 - start.len()];
            forge.rsa_private(&[start, garbage].concat())
        }),
        forged("RS256", "no-null", "the hash's name without its NULL", |forge, signed| {
            let hash = hmac_sha256::Hash::hash(signed.input.as_bytes());
            forge.rsa_private(&padded(&[&SHA256_INFO_NO_NULL[..], &hash].concat()))
        }),
        forged("RS256", "block-type-2", "block type 2", |forge, signed| {
            let hash = hmac_sha256::Hash::hash(signed.input.as_bytes());
            let mut block = padded(&[&SHA256_INFO[..], &hash].concat());
            block.splice(1..2, [2]);
            forge.rsa_private(&block)
        }),
    ]
}

/// DigestInfo of SHA-256 (RFC 8017 section 9.2, note 1).
const SHA256_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

/// The same without the NULL parameters, which RFC 8017 lets lenient verifiers accept.
const SHA256_INFO_NO_NULL: [u8; 17] =
    [0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x04, 0x20];

/// EMSA-PKCS1-v1_5 of 256 bytes around `content`.
fn padded(content: &[u8]) -> Vec<u8> {
    let filler = vec![0xff; 256_usize.saturating_sub(content.len() + 3)];
    [&[0, 1][..], &filler, &[0], content].concat()
}

fn rsa_pss() -> Vec<Row> {
    vec![
        forged("PS256", "plus-n", "the signature plus the modulus", |forge, signed| {
            Ok(raw::sum_be(&signed.signature, &forge.modulus()))
        }),
        forged("PS256", "pkcs1", "with PKCS #1 v1.5 padding", |forge, signed| {
            forge.rsa(&signed.input, Padding::Pkcs1(256))
        }),
        forged("PS256", "sha384", "made over SHA-384", |forge, signed| forge.rsa(&signed.input, Padding::Pss(384, -1))),
        forged("PS256", "no-salt", "without a salt", |forge, signed| forge.rsa(&signed.input, Padding::Pss(256, 0))),
        forged("PS256", "short-salt", "a salt of 20 bytes", |forge, signed| {
            forge.rsa(&signed.input, Padding::Pss(256, 20))
        }),
        forged("PS256", "long-salt", "the longest salt", |forge, signed| {
            forge.rsa(&signed.input, Padding::Pss(256, 222))
        }),
        bad(SECTION, "ps256-as-rs256", "RS256 in the header, a PSS signature", TokenError::Signature, |forge| {
            let input = forge.input(r#"{"alg":"RS256","kid":"k1"}"#);
            let signature = forge.rsa(&input, Padding::Pss(256, -1))?;
            Ok(format!("{input}.{}", base64(&signature)).into_bytes())
        }),
        bad(SECTION, "ps256-kid-rs", "PS256 with the kid of the RS256 key", TokenError::Algorithm, |forge| {
            let input = forge.input(r#"{"alg":"PS256","kid":"k1"}"#);
            let signature = forge.rsa(&input, Padding::Pss(256, -1))?;
            Ok(format!("{input}.{}", base64(&signature)).into_bytes())
        }),
    ]
}

/// An ES256 row about the two halves `r` and `s`.
fn halves(id: &str, asks: &str, make: fn(&[u8], &[u8]) -> Vec<u8>) -> Row {
    forged("ES256", id, asks, move |_, signed| {
        let (r, s) = signed.signature.split_at_checked(32).context("two halves")?;
        Ok(make(r, s))
    })
}

fn ecdsa() -> Vec<Row> {
    const N: [u8; 32] = raw::P256_ORDER;
    let mut rows = vec![
        halves("65-zero-between", "a zero between the halves", |r, s| [r, &[0], s].concat()),
        halves("66-zeros", "both halves with a leading zero", |r, s| [&[0], r, &[0], s].concat()),
        halves("r-zero", "r is zero", |_, s| [&[0; 32], s].concat()),
        halves("s-zero", "s is zero", |r, _| [r, &[0; 32]].concat()),
        halves("r-n", "r is n", |_, s| [&N, s].concat()),
        halves("s-n", "s is n", |r, _| [r, &N].concat()),
        halves("both-n", "both are n", |_, _| [N, N].concat()),
        halves("r-larger", "r is larger than n", |_, s| [&[0xff; 32], s].concat()),
        halves("s-larger", "s is larger than n", |r, _| [r, &[0xff; 32]].concat()),
        halves("r-plus-n", "r plus n", |r, s| [&raw::sum_be(r, &N), s].concat()),
        halves("s-plus-n", "s plus n", |r, s| [r, &raw::sum_be(s, &N)].concat()),
        halves("both-one", "both are one", |_, _| {
            let one = raw::left_padded(&[1], 32);
            [one.as_slice(), &one].concat()
        }),
        halves("swapped", "the halves swapped", |r, s| [s, r].concat()),
        halves("r-twice", "r twice", |r, _| [r, r].concat()),
        halves("96", "halves of 48 bytes, as ES384 has", |r, s| {
            [raw::left_padded(r, 48), raw::left_padded(s, 48)].concat()
        }),
        forged("ES256", "der", "the DER form", |_, signed| der(&signed.signature)),
        forged("ES256", "der-64", "64 bytes of the DER form", |_, signed| {
            Ok(der(&signed.signature)?.get(..64).unwrap_or_default().to_vec())
        }),
        forged("ES256", "der-72", "the DER form, padded to 72 bytes", |_, signed| {
            let mut der = der(&signed.signature)?;
            der.resize(72, 0);
            Ok(der)
        }),
        bad(SECTION, "es256-as-es384", "ES384 with the P-256 key", TokenError::Algorithm, |forge| {
            let signed = forge.signed("ES256")?;
            let input = forge.input(r#"{"alg":"ES384","kid":"es"}"#);
            Ok(format!("{input}.{}", base64(&signed.signature)).into_bytes())
        }),
    ];
    rows.push(good(SECTION, "es256-twin", "ES256: the twin (r, n - s), which is as good", |forge| {
        Ok(es256_twin(&forge.signed("ES256")?.text())?.into_bytes())
    }));
    rows
}

fn der(signature: &[u8]) -> Result<Vec<u8>> {
    let signature = p256::ecdsa::Signature::from_slice(signature).context("an ES256 signature")?;
    Ok(signature.to_der().as_bytes().to_vec())
}

/// An EdDSA row about the point R and the scalar S.
fn point_and_scalar(id: &str, asks: &str, make: fn(&[u8], &[u8]) -> Vec<u8>) -> Row {
    forged("EdDSA", id, asks, move |_, signed| {
        let (point, scalar) = signed.signature.split_at_checked(32).context("two halves")?;
        Ok(make(point, scalar))
    })
}

fn eddsa() -> Vec<Row> {
    const L: [u8; 32] = raw::ED25519_ORDER;
    vec![
        point_and_scalar("s-plus-l", "S plus L", |r, s| [r, &raw::sum(s, &L)].concat()),
        point_and_scalar("s-zero", "S is zero", |r, _| [r, &[0; 32]].concat()),
        point_and_scalar("s-l", "S is L", |r, _| [r, &L].concat()),
        point_and_scalar("r-zero", "R is zero", |_, s| [&[0; 32], s].concat()),
        point_and_scalar("identity", "R is the identity and S zero", |_, _| {
            let mut signature = vec![0; 64];
            signature.splice(..1, [1]);
            signature
        }),
        point_and_scalar("r-identity", "R is the identity", |_, s| {
            let mut point = vec![0; 32];
            point.splice(..1, [1]);
            [point.as_slice(), s].concat()
        }),
        point_and_scalar("r-not-canonical", "R is p, not in canonical form", |_, s| {
            let mut point = vec![0xff; 32];
            point.splice(..1, [0xed]);
            point.splice(31.., [0x7f]);
            [point.as_slice(), s].concat()
        }),
        point_and_scalar("swapped", "the halves swapped", |r, s| [s, r].concat()),
        point_and_scalar("high-bit", "the highest bit of S set", |r, s| {
            let mut scalar = s.to_vec();
            if let Some(last) = scalar.last_mut() {
                *last |= 0x80;
            }
            [r, &scalar].concat()
        }),
        bad(SECTION, "eddsa-as-es256", "ES256 with the Ed25519 key", TokenError::Algorithm, |forge| {
            let signed = forge.signed("EdDSA")?;
            let input = forge.input(r#"{"alg":"ES256","kid":"ed"}"#);
            Ok(format!("{input}.{}", base64(&signed.signature)).into_bytes())
        }),
    ]
}
