//! An issuer that is trusted: its name, its audiences and its keys, read from configuration.

use serde_json::Value;

use crate::Keyspace;
use crate::document::{Fields, Mistakes};
use crate::keys::{Algorithm, VerificationKey};

/// More keys than any issuer rotates through.
const MAX_KEYS: usize = 16;

/// Keys of one algorithm that no `kid` tells apart: the new one and the old one of a rotation. Each is tried for each
/// token, so more of them would multiply what a flood of bad tokens costs.
const MAX_NAMELESS_KEYS: usize = 2;

/// Longer than any URL that is one. It is stored with each token, and databases index so much and no more.
const MAX_ISSUER_BYTES: usize = 1024;

/// An issuer of tokens.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// `iss` as it must be. `None` takes any: for issuers that write a changing one (Laravel's is the URL of the login).
    pub(crate) name: Option<String>,
    /// One of these must be in `aud`; empty takes any.
    pub(crate) audiences: Vec<String>,
    pub(crate) keys: Vec<VerificationKey>,
    /// The rule by which its tokens become keys. The policy sets it when it is whole.
    pub(crate) keyspace: Keyspace,
}

impl Issuer {
    /// Reads the issuer at `path`, or notes why it cannot be.
    pub(crate) fn read(path: String, value: &Value, mistakes: &mut Mistakes) -> Option<Self> {
        Fields::read(path, value, mistakes, |fields| {
            let name = fields.text("issuer").map(str::to_owned);
            if name.as_ref().is_some_and(|name| name.len() > MAX_ISSUER_BYTES || name.chars().any(char::is_control)) {
                let problem = format!("must be at most {MAX_ISSUER_BYTES} bytes without control characters");
                fields.wrong("issuer", problem);
            }
            let audiences = fields.texts("audiences").unwrap_or_default();
            let keys = read_keys(fields);
            Self { name, audiences, keys, keyspace: Keyspace::from_bytes([0; 16]) }
        })
    }

    /// The keys that a header with this `alg` and `kid` can mean: the one of that name and those without names. A header
    /// that names none means those without names too, or the only key of its algorithm.
    pub(crate) fn keys_for(&self, alg: Algorithm, kid: Option<&str>) -> Vec<&VerificationKey> {
        let of_algorithm: Vec<_> = self.keys.iter().filter(|key| key.algorithm == alg).collect();
        match (kid, of_algorithm.as_slice()) {
            (None, [_only]) => of_algorithm,
            _ => of_algorithm.into_iter().filter(|key| key.kid.is_none() || key.kid.as_deref() == kid).collect(),
        }
    }

    /// The issuer's part of every revocation key of its tokens.
    pub(crate) fn namespace(&self) -> &str {
        self.name.as_deref().unwrap_or("")
    }
}

fn read_keys(fields: &mut Fields<'_, '_>) -> Vec<VerificationKey> {
    let algorithm = fields.choice("algorithm", &Algorithm::ALL);
    let sources = (fields.value("jwks"), fields.text("secret"), fields.text("secret_base64"));
    match sources {
        (Some(jwks), None, None) => read_jwks(jwks, algorithm, fields),
        (None, Some(secret), None) => read_secret(secret.as_bytes(), "secret", algorithm, fields),
        (None, None, Some(encoded)) => match decode_secret(encoded) {
            Some(secret) => read_secret(&secret, "secret_base64", algorithm, fields),
            None => {
                fields.wrong("secret_base64", "must be base64");
                Vec::new()
            }
        },
        _ => {
            let given = ["jwks", "secret", "secret_base64"].iter().filter(|name| fields.has(name)).count();
            // One that is there but wrong has been noted already.
            if given != 1 {
                fields.wrong("jwks", "exactly one of jwks, secret and secret_base64 must be given");
            }
            Vec::new()
        }
    }
}

fn read_secret(
    secret: &[u8],
    field: &str,
    algorithm: Option<Algorithm>,
    fields: &mut Fields<'_, '_>,
) -> Vec<VerificationKey> {
    match VerificationKey::from_secret(algorithm.unwrap_or(Algorithm::HS256), secret) {
        Ok(key) => vec![key],
        Err(problem) => {
            fields.wrong(field, problem);
            Vec::new()
        }
    }
}

/// RFC 7517 section 5.
fn read_jwks(jwks: &Value, default: Option<Algorithm>, fields: &mut Fields<'_, '_>) -> Vec<VerificationKey> {
    let Some(members) = jwks.get("keys").and_then(Value::as_array) else {
        fields.wrong("jwks", r#"must be a JWK Set: an object with a list "keys""#);
        return Vec::new();
    };
    let mut keys = Vec::new();
    for (index, member) in members.iter().enumerate() {
        // Before the next one is read: a key may take 80 KiB.
        if keys.len() > MAX_KEYS {
            fields.wrong("jwks", format!("holds more than {MAX_KEYS} keys"));
            return keys;
        }
        let key = match member.as_object() {
            Some(jwk) => VerificationKey::from_jwk(jwk, default),
            None => Err("must be an object".into()),
        };
        match key {
            Ok(key) => keys.extend(key),
            Err(problem) => fields.wrong(&format!("jwks.keys[{index}]"), problem),
        }
    }
    if keys.is_empty() {
        fields.wrong("jwks", "holds no key that tokens can be verified with");
    }
    if keys.len() > MAX_KEYS {
        fields.wrong("jwks", format!("holds more than {MAX_KEYS} keys"));
    }
    check_names(&keys, fields);
    keys
}

fn check_names(keys: &[VerificationKey], fields: &mut Fields<'_, '_>) {
    let count = |wanted: &VerificationKey| {
        keys.iter().filter(|key| key.algorithm == wanted.algorithm && key.kid == wanted.kid).count()
    };
    if keys.iter().any(|key| key.kid.is_none() && count(key) > MAX_NAMELESS_KEYS) {
        fields.wrong("jwks", format!("holds more than {MAX_NAMELESS_KEYS} keys of one algorithm without kid"));
    }
    if keys.iter().any(|key| key.kid.is_some() && count(key) > 1) {
        fields.wrong("jwks", "holds two keys of one algorithm with the same kid");
    }
}

/// The bytes of a `secret_base64`: either alphabet, padded or not, for secrets are pasted from everywhere. Whoever signs
/// must read it as whoever verifies.
pub fn decode_secret(text: &str) -> Option<Vec<u8>> {
    use ct_codecs::{Base64NoPadding, Base64UrlSafeNoPadding, Decoder};
    let text = text.trim_end_matches('=');
    let standard = Base64NoPadding::decode_to_vec(text, None);
    standard.or_else(|_| Base64UrlSafeNoPadding::decode_to_vec(text, None)).ok()
}
