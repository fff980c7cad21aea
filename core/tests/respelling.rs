//! Properties over random tokens: another spelling of a token is refused or is the same token, and tokens that differ
//! in anything that a logout names have different keys.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

use std::collections::HashMap;

use ct_codecs::{Base64UrlSafeNoPadding, Decoder, Encoder};
use curfew_core::{KeySets, Kind, Policy, ProvenToken, RevocationKey, TokenKeys, from_authorization, verify_natively};
use p256::ecdsa::signature::Signer as _;
use serde_json::{Map, Value, json};

const SECRET: &str = "a secret of more than thirty-two bytes, which is enough";
const NOW: i64 = 1_700_000_000;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Marsaglia's xorshift64: the same numbers in every run, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap() % bound
    }

    /// A short text of characters that invite mistakes: delimiters, labels, other scripts.
    fn text(&mut self) -> String {
        const PIECES: [&str; 16] = [
            "a",
            "b",
            "ab",
            "1",
            "42",
            ":",
            "/",
            ".",
            "\u{e9}",
            "e\u{301}",
            "\u{5d0}",
            " ",
            "curfew:v1:jti",
            "=",
            "A",
            "~",
        ];
        let length = 1 + self.below(6);
        (0..length).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }

    fn maybe_text(&mut self) -> Option<String> {
        (self.below(4) > 0).then(|| self.text())
    }
}

struct Issuer {
    policy: Policy,
    keys: KeySets,
    ecdsa: p256::ecdsa::SigningKey,
}

impl Issuer {
    /// An issuer without a name, with an HMAC key and an ES256 key.
    fn new() -> Self {
        let ecdsa = p256::ecdsa::SigningKey::from_slice(&[0x33; 32]).unwrap();
        let point = ecdsa.verifying_key().to_sec1_point(false);
        let (x, y) = point.as_bytes()[1..].split_at(32);
        let keys = json!({"keys": [
            {"kty": "oct", "alg": "HS256", "kid": "h", "k": encode(SECRET)},
            {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "e", "x": encode(x), "y": encode(y)},
        ]});
        let (policy, keys) = Policy::from_document(&json!({"issuers": [{"jwks": keys}]})).unwrap();
        Self { policy, keys, ecdsa }
    }

    fn sign(&self, algorithm: &str, claims: &Value) -> String {
        let header = json!({"alg": algorithm, "kid": if algorithm == "ES256" { "e" } else { "h" }});
        let input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = if algorithm == "ES256" {
            let signature: p256::ecdsa::Signature = self.ecdsa.sign(input.as_bytes());
            signature.to_bytes().to_vec()
        } else {
            hmac_sha256::HMAC::mac(&input, SECRET).to_vec()
        };
        format!("{input}.{}", encode(signature))
    }

    fn prove(&self, text: &[u8]) -> Option<ProvenToken> {
        self.policy.prove(text, NOW, &self.keys, verify_natively).ok()
    }
}

fn encode(part: impl AsRef<[u8]>) -> String {
    Base64UrlSafeNoPadding::encode_to_string(part).unwrap()
}

fn random_claims(random: &mut Random) -> Value {
    let mut claims = json!({"iat": NOW, "exp": NOW + 600, "n": random.next()});
    for name in ["iss", "sub", "jti", "sid"] {
        if let Some(text) = random.maybe_text() {
            claims[name] = json!(text);
        }
    }
    claims
}

/// Another text that a lenient reader may take for the same token.
fn respelled(random: &mut Random, token: &str) -> Vec<u8> {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let part = random.below(3);
    match random.below(10) {
        0 => set_unused_bits(&mut parts[part], random),
        1 => parts[part].push_str(["=", "==", "%3D", "A", "AA"][random.below(5)]),
        2 => parts[part] = parts[part].replace('-', "+").replace('_', "/") + ["", "\n", " "][random.below(3)],
        3 => parts[2] = twin(&parts[2]),
        4 => {
            parts[2] = twin(&parts[2]);
            set_unused_bits(&mut parts[2], random);
        }
        5 => {
            let at = random.below(parts[part].len());
            parts[part].insert(at, ['\n', ' ', '\t', '\0', '=', '.'][random.below(6)]);
        }
        6 => {
            // Any other change of one character.
            let at = random.below(parts[part].len());
            let letter = char::from(ALPHABET[random.below(64)]);
            parts[part].replace_range(at..=at, &letter.to_string());
        }
        7 => parts.push(String::new()),
        8 => parts.insert(0, String::new()),
        _ => {
            let bytes = Base64UrlSafeNoPadding::decode_to_vec(&parts[2], None).unwrap();
            parts[2] = encode([&[0], bytes.as_slice()].concat());
        }
    }
    parts.join(".").into_bytes()
}

fn set_unused_bits(part: &mut String, random: &mut Random) {
    let last = part.pop().unwrap();
    let position = ALPHABET.iter().position(|known| char::from(*known) == last).unwrap();
    part.push(char::from(ALPHABET[position ^ (1 + random.below(3))]));
}

/// The twin `(r, n - s)` of an ES256 signature. Other signatures of 64 bytes become an invalid one; signatures of
/// another length stay as they are.
fn twin(signature: &str) -> String {
    let bytes = Base64UrlSafeNoPadding::decode_to_vec(signature, None).unwrap();
    let Ok(signature) = p256::ecdsa::Signature::from_slice(&bytes) else { return encode(bytes) };
    let (r, s) = signature.split_scalars();
    encode(p256::ecdsa::Signature::from_scalars(r, -*s).unwrap().to_bytes())
}

#[test]
fn a_respelled_token_is_refused_or_the_same_token() {
    let issuer = Issuer::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut refused, mut twins) = (0, 0);
    for round in 0..400 {
        let algorithm = ["ES256", "HS256"][round % 2];
        let token = issuer.sign(algorithm, &random_claims(&mut random));
        let keys = issuer.prove(token.as_bytes()).unwrap().keys;
        for _ in 0..8 {
            let text = respelled(&mut random, &token);
            match issuer.prove(&text) {
                None => refused += 1,
                Some(proven) => {
                    assert_eq!(proven.keys, keys, "{}", String::from_utf8_lossy(&text));
                    twins += u32::from(text != token.as_bytes());
                }
            }
        }
    }
    // A twin is the only other spelling that is accepted; the run must have met some.
    assert!(refused > 2000 && twins > 50, "{refused} refused, {twins} twins");
}

#[test]
fn every_form_of_the_header_is_the_same_token_or_none() {
    let issuer = Issuer::new();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut same = 0;
    for _ in 0..3000 {
        let token = issuer.sign("HS256", &random_claims(&mut random));
        let scheme: String = "bearer"
            .chars()
            .map(|letter| if random.below(2) == 0 { letter } else { letter.to_ascii_uppercase() })
            .collect();
        let before = ["", " ", "  ", "\t", ","][random.below(5)];
        let between = [" ", "  ", "", "\t", ":", ", ", "\u{a0}"][random.below(7)];
        let behind = ["", " ", "   ", ",", ", Bearer x", "\t", ";", "="][random.below(8)];
        let scheme = if random.below(4) == 0 { "" } else { &scheme };
        let value = format!("{before}{scheme}{between}{token}{behind}");
        let text = from_authorization(value.as_bytes());
        if let Some(proven) = text.ok().and_then(|text| issuer.prove(text)) {
            assert_eq!(proven.keys, issuer.prove(token.as_bytes()).unwrap().keys, "{value:?}");
            let spaces = |text: &str| text.bytes().all(|byte| byte == b' ');
            assert!(spaces(before) && spaces(between) && spaces(behind), "{value:?}");
            same += 1;
        }
    }
    assert!(same > 100, "only {same} forms were good");
}

/// The key of one kind.
fn named(keys: &TokenKeys, kind: Kind) -> Option<RevocationKey> {
    keys.iter().find(|(own, _)| *own == kind).map(|(_, key)| key)
}

#[test]
fn each_revocation_key_has_one_meaning_and_each_meaning_one_key() {
    let document = |name: &str| json!({"issuers": [{"issuer": name, "secret": SECRET}]});
    let mut random = Random(0xda94_2042_e4dd_58b5);
    let mut seen: HashMap<RevocationKey, (Kind, String, String)> = HashMap::new();
    for _ in 0..3000 {
        let iss = random.text();
        let (policy, keys) = Policy::from_document(&document(&iss)).unwrap();
        let mut claims = random_claims(&mut random);
        claims["iss"] = json!(iss);
        let token = Issuer::new_token(&claims);
        let proven = policy.prove(token.as_bytes(), NOW, &keys, verify_natively).unwrap();
        let input = token.rsplit_once('.').unwrap().0;
        let parts = [
            (Kind::Token, "", Some(input)),
            (Kind::Jti, iss.as_str(), claims["jti"].as_str()),
            (Kind::Session, iss.as_str(), claims["sid"].as_str()),
            (Kind::Subject, iss.as_str(), claims["sub"].as_str()),
        ];
        for (kind, iss, name) in parts {
            let key = named(&proven.keys, kind);
            assert_eq!(key.is_some(), name.is_some(), "{kind:?}");
            let Some((key, name)) = key.zip(name) else { continue };
            let meaning = (kind, iss.to_owned(), name.to_owned());
            // A key has one meaning, across issuers and across kinds.
            let known = seen.entry(key).or_insert_with(|| meaning.clone());
            assert_eq!(*known, meaning);
        }
    }
    // A meaning has one key.
    let mut meanings: Vec<_> = seen.values().map(|(kind, iss, name)| (kind.as_str(), iss, name)).collect();
    let keys = meanings.len();
    meanings.sort();
    meanings.dedup();
    assert_eq!(meanings.len(), keys);
    assert!(keys > 6000, "only {keys} keys were compared");
}

impl Issuer {
    /// A token that is signed with the secret.
    fn new_token(claims: &Value) -> String {
        let input = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(claims.to_string()));
        let mac = hmac_sha256::HMAC::mac(&input, SECRET);
        format!("{input}.{}", encode(mac))
    }
}

#[test]
fn changing_one_name_changes_its_key_alone() {
    let issuer = Issuer::new();
    let mut random = Random(0x0123_4567_89ab_cdef);
    for _ in 0..500 {
        let mut claims: Map<String, Value> = json!({"iat": NOW, "exp": NOW + 600}).as_object().unwrap().clone();
        for name in ["sub", "jti", "sid"] {
            claims.insert(name.to_owned(), json!(random.text()));
        }
        let keys = |claims: &Map<String, Value>| {
            let token = issuer.sign("HS256", &Value::Object(claims.clone()));
            issuer.prove(token.as_bytes()).unwrap().keys
        };
        let before = keys(&claims);
        for (name, kind) in [("sub", Kind::Subject), ("jti", Kind::Jti), ("sid", Kind::Session)] {
            let mut changed = claims.clone();
            let other = random.text();
            let same = changed[name] == json!(other);
            changed.insert(name.to_owned(), json!(other));
            let after = keys(&changed);
            for known in [Kind::Token, Kind::Subject, Kind::Jti, Kind::Session] {
                let stays = same || !(known == kind || known == Kind::Token);
                assert_eq!(named(&before, known) == named(&after, known), stays, "{name} {known:?}");
            }
        }
    }
}
