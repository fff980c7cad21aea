//! Signatures that no library makes, and arithmetic on their halves.

use anyhow::{Context as _, Result, anyhow};
use superboring::hash::MessageDigest;
use superboring::pkey::{PKey, Private};
use superboring::reexports::rand::rngs::OsRng;
use superboring::reexports::rsa;
use superboring::rsa::{Padding as RsaPadding, Rsa};
use superboring::sign::{RsaPssSaltlen, Signer};

/// The order of P-256, big-endian.
pub(super) const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of Ed25519's group (L), little-endian.
pub(super) const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// An RSA padding with the bits of its hash, and the length of a salt (-1: as long as the hash).
#[derive(Clone, Copy, Debug)]
pub(super) enum Padding {
    Pkcs1(u16),
    Pss(u16, i32),
}

pub(super) fn hmac(secret: &[u8], input: &str) -> [u8; 32] {
    hmac_sha256::HMAC::mac(input.as_bytes(), secret)
}

/// The key in a PEM, and its modulus.
pub(super) fn rsa_key(pem: &str) -> Result<(PKey<Private>, Vec<u8>)> {
    let rsa = Rsa::private_key_from_pem(pem.as_bytes()).map_err(|error| anyhow!("{error:?}"))?;
    let modulus = rsa.n().to_vec();
    let key = PKey::from_rsa(rsa).map_err(|error| anyhow!("{error:?}"))?;
    Ok((key, modulus))
}

pub(super) fn rsa_sign(key: &PKey<Private>, input: &[u8], padding: Padding) -> Result<Vec<u8>> {
    let (bits, salt) = match padding {
        Padding::Pkcs1(bits) => (bits, None),
        Padding::Pss(bits, salt) => (bits, Some(salt)),
    };
    let digest = match bits {
        384 => MessageDigest::sha384(),
        512 => MessageDigest::sha512(),
        _ => MessageDigest::sha256(),
    };
    let sign = || {
        let mut signer = Signer::new(digest, key)?;
        match salt {
            None => signer.set_rsa_padding(RsaPadding::PKCS1)?,
            Some(length) => {
                signer.set_rsa_padding(RsaPadding::PKCS1_PSS)?;
                signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(length))?;
            }
        }
        signer.update(input)?;
        signer.sign_to_vec()
    };
    sign().map_err(|error: superboring::error::ErrorStack| anyhow!("{error:?}"))
}

/// The private operation, without padding.
pub(super) fn rsa_private(pem: &str, padded: &[u8]) -> Result<Vec<u8>> {
    use rsa::pkcs8::DecodePrivateKey as _;
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(pem).context("the RSA key")?;
    let message = rsa::BigUint::from_bytes_be(padded);
    let signature = rsa::hazmat::rsa_decrypt(None::<&mut OsRng>, &key, &message).context("the RSA operation")?;
    Ok(left_padded(&signature.to_bytes_be(), 256))
}

/// `bytes` with leading zeros.
pub(super) fn left_padded(bytes: &[u8], length: usize) -> Vec<u8> {
    let zeros = vec![0; length.saturating_sub(bytes.len())];
    [zeros.as_slice(), bytes].concat()
}

/// The sum of two little-endian numbers of one length; a final carry becomes one more byte.
pub(super) fn sum(one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut carry = 0_u16;
    let mut total = Vec::with_capacity(one.len() + 1);
    for (a, b) in one.iter().zip(other) {
        carry += u16::from(*a) + u16::from(*b);
        total.push(carry.to_le_bytes()[0]);
        carry >>= 8;
    }
    total.extend((carry > 0).then_some(1));
    total
}

/// The same for big-endian numbers.
pub(super) fn sum_be(one: &[u8], other: &[u8]) -> Vec<u8> {
    let reversed = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
    reversed(&sum(&reversed(one), &reversed(other)))
}
