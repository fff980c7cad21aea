//! Ed25519: Curfew accepts exactly what ed25519-compact accepts, and so what jwt-simple accepts.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

mod vectors;

use ct_codecs::{Base64UrlSafeNoPadding, Decoder as _, Encoder as _, Hex};
use curfew_core::{SignatureCheck, VerificationKey, verify_natively};
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use serde_json::json;
use sha2::{Digest as _, Sha512};

use vectors::{RFC_8032, SPECCHECK};

/// The order of the group, little-endian.
const L: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

/// A key in both implementations.
struct Key {
    encoding: [u8; 32],
    ours: Option<VerificationKey>,
}

impl Key {
    /// Both implementations accept the key, or both refuse it.
    fn new(encoding: [u8; 32]) -> Self {
        let x = Base64UrlSafeNoPadding::encode_to_string(encoding).unwrap();
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        let ours = VerificationKey::from_jwk(jwk.as_object().unwrap(), &[]).ok().and_then(|mut keys| keys.pop());
        let theirs = ed25519_compact::PublicKey::new(encoding).validate();
        assert_eq!(ours.is_some(), theirs.is_ok(), "{encoding:02x?}");
        Self { encoding, ours }
    }

    /// The answer of both implementations, which must agree.
    fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        let check = |key| verify_natively(&SignatureCheck { key, signing_input: message, signature });
        let ours = self.ours.as_ref().is_some_and(check);
        let theirs = ed25519_compact::Signature::from_slice(signature)
            .is_ok_and(|signature| ed25519_compact::PublicKey::new(self.encoding).verify(message, &signature).is_ok());
        assert_eq!(ours, theirs, "{:02x?} {message:02x?} {signature:02x?}", self.encoding);
        ours
    }
}

fn hex(text: &str) -> Vec<u8> {
    Hex::decode_to_vec(text, None).unwrap()
}

fn key(text: &str) -> Key {
    Key::new(hex(text).try_into().unwrap())
}

/// A number that depends only on the arguments.
fn scalar(name: &str, number: usize) -> Scalar {
    hashed(&[name.as_bytes(), &number.to_be_bytes()])
}

fn hashed(parts: &[&[u8]]) -> Scalar {
    let hash = parts.iter().fold(Sha512::new(), |hash, part| hash.chain_update(part)).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

/// A signer without a seed, so that points and numbers can be chosen.
struct Signer {
    secret: Scalar,
    key: Key,
}

impl Signer {
    /// The key has a part of small order if `torsion` is not 0.
    fn new(number: usize, torsion: usize) -> Self {
        let secret = scalar("secret", number);
        let point = EdwardsPoint::mul_base(&secret) + EIGHT_TORSION[torsion];
        Self { secret, key: Key::new(point.compress().to_bytes()) }
    }

    /// A signature for an R with a part of small order: its equation holds when it is multiplied by the cofactor.
    fn sign(&self, nonce: Scalar, torsion: usize, message: &[u8]) -> [u8; 64] {
        let r = EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[torsion];
        self.sign_with(nonce, r.compress().to_bytes(), message)
    }

    fn sign_with(&self, nonce: Scalar, r: [u8; 32], message: &[u8]) -> [u8; 64] {
        let s = nonce + hashed(&[&r, &self.key.encoding, message]) * self.secret;
        [r, s.to_bytes()].concat().try_into().unwrap()
    }
}

#[test]
fn the_vectors_of_rfc_8032_are_accepted() {
    for [public, message, signature] in RFC_8032 {
        assert!(key(public).accepts(&hex(message), &hex(signature)), "{public}");
    }
}

/// Points of small order, an S of L or more, and encodings that are not canonical are refused. The equation is
/// multiplied by the cofactor, and k is not reduced before.
#[test]
fn of_the_edge_cases_only_those_with_mixed_points_are_accepted() {
    let accepted = |[message, public, signature]: &[&str; 3]| key(public).accepts(&hex(message), &hex(signature));
    let numbers: Vec<_> = (0..12).filter(|number| accepted(&SPECCHECK[*number])).collect();
    assert_eq!(numbers, [3, 4, 5]);
}

#[test]
fn parts_of_small_order_in_key_and_r_change_nothing() {
    for (torsion, number) in (0..8).zip(1..) {
        let signer = Signer::new(number, torsion);
        for in_r in 0..8 {
            let signature = signer.sign(scalar("nonce", number), in_r, b"message");
            assert!(signer.key.accepts(b"message", &signature), "{torsion} {in_r}");
            assert!(!signer.key.accepts(b"massage", &signature), "{torsion} {in_r}");
        }
    }
}

/// The equation holds for each of these signatures.
#[test]
fn an_r_of_small_order_is_refused_in_every_encoding() {
    let signer = Signer::new(1, 0);
    let mut encodings: Vec<_> = EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
    // 1 and -1 with a sign; 0 and 1 as p and p + 1.
    for (first, middle, last) in [
        (1, 0, 0x80),
        (0xec, 0xff, 0xff),
        (0xed, 0xff, 0x7f),
        (0xed, 0xff, 0xff),
        (0xee, 0xff, 0x7f),
        (0xee, 0xff, 0xff),
    ] {
        let mut encoding = [middle; 32];
        (encoding[0], encoding[31]) = (first, last);
        encodings.push(encoding);
    }
    for r in encodings {
        let signature = signer.sign_with(Scalar::ZERO, r, b"message");
        assert!(!signer.key.accepts(b"message", &signature), "{r:02x?}");
        // As a key it would verify every message.
        assert!(!Key::new(r).accepts(b"message", &[r, [0; 32]].concat()), "{r:02x?}");
    }
}

#[test]
fn an_s_beyond_l_is_refused() {
    let signer = Signer::new(1, 0);
    let mut signature = signer.sign(scalar("nonce", 1), 0, b"message");
    assert!(signer.key.accepts(b"message", &signature));
    // S is below L, and 15 * L below 2^256.
    for times in 1..=15 {
        let carry = signature[32..].iter_mut().zip(hex(L)).fold(0_u16, |carry, (byte, add)| {
            let [low, high] = (u16::from(*byte) + u16::from(add) + carry).to_le_bytes();
            *byte = low;
            high.into()
        });
        assert!(carry == 0 || times == 15, "{times}");
        assert!(!signer.key.accepts(b"message", &signature), "{times}");
    }
    for s in [[0; 32], [0xff; 32], hex(L).try_into().unwrap()] {
        signature[32..].copy_from_slice(&s);
        assert!(!signer.key.accepts(b"message", &signature));
    }
}

#[test]
fn every_bit_counts() {
    let signer = Signer::new(2, 0);
    let (message, signature) = (b"header.payload", signer.sign(scalar("nonce", 2), 0, b"header.payload"));
    let turned = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    for bit in 0..512 {
        assert!(!signer.key.accepts(message, &turned(&signature, bit)), "signature, {bit}");
    }
    for bit in 0..256 {
        let key = Key::new(turned(&signer.key.encoding, bit).try_into().unwrap());
        assert!(!key.accepts(message, &signature), "key, {bit}");
    }
    for bit in 0..message.len() * 8 {
        assert!(!signer.key.accepts(&turned(message, bit), &signature), "message, {bit}");
    }
    assert!(signer.key.accepts(message, &signature));
}

#[test]
fn a_signature_has_64_bytes() {
    let signer = Signer::new(3, 0);
    let signature = signer.sign(scalar("nonce", 3), 0, b"message");
    let longer = [signature, signature].concat();
    let lengths: Vec<_> = (0..=128).filter(|length| signer.key.accepts(b"message", &longer[..*length])).collect();
    assert_eq!(lengths, [64]);
}

#[test]
fn random_signatures_are_judged_alike() {
    for number in 0..150 {
        let pair = ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new(scalar("seed", number).to_bytes()));
        let (key, mixed) = (Key::new(*pair.pk), Signer::new(number, number % 8));
        let message = scalar("message", number).to_bytes().repeat(number);
        let signature = pair.sk.sign(&message, None);
        assert!(key.accepts(&message, signature.as_ref()));
        assert!(!mixed.key.accepts(&message, signature.as_ref()));
        let other = mixed.sign(scalar("nonce", number), number / 8 % 8, &message);
        assert!(mixed.key.accepts(&message, &other));
        assert!(!key.accepts(&message, &other));
        // The R of one signature with the S of the other, and bytes of no signature.
        assert!(!key.accepts(&message, &[&signature[..32], &other[32..]].concat()));
        let random = ["r", "s"].map(|name| scalar(name, number).to_bytes()).concat();
        assert!(!key.accepts(&message, &random));
    }
}
