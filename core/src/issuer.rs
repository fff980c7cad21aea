//! An issuer that is trusted: its name and its audiences, and its keys where the configuration holds them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::Keyspace;
use crate::algorithm::Algorithm;
use crate::document::{Fields, Mistakes};
use crate::key_set::KeySet;
use crate::required_claims::RequiredClaims;

/// Longer than any URL in use. The name is stored with each token, and databases bound the length of what they index.
const MAX_ISSUER_BYTES: usize = 1024;

/// An issuer of tokens.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// The `iss` that its tokens must have. `None` takes any: for issuers whose `iss` changes (Laravel writes the URL
    /// of the login).
    pub(crate) name: Option<String>,
    /// One of these must be in `aud`; empty takes any.
    pub(crate) audiences: Vec<String>,
    /// What tells its access tokens from its other tokens.
    pub(crate) required_claims: RequiredClaims,
    /// Refuse tokens that name no user. A logout of all devices would not reach them.
    pub(crate) require_user: bool,
    /// The rule by which its tokens become keys. The policy sets it once all fields of the policy have been read.
    pub(crate) keyspace: Keyspace,
}

impl Issuer {
    /// Reads the issuer at `path` and its keys, or notes its mistakes.
    pub(crate) fn read(path: String, value: &Value, mistakes: &mut Mistakes) -> Option<(Self, KeySet)> {
        Fields::read(path, value, mistakes, |fields| {
            let name = fields.text("issuer").map(str::to_owned);
            if name.as_ref().is_some_and(|name| name.len() > MAX_ISSUER_BYTES || name.chars().any(char::is_control)) {
                let problem = format!("must be at most {MAX_ISSUER_BYTES} bytes without control characters");
                fields.wrong("issuer", problem);
            }
            let audiences = fields.texts("audiences").unwrap_or_default();
            let required_claims = RequiredClaims::read(fields);
            let require_user = fields.boolean("require_user").unwrap_or(false);
            let keys = read_keys(fields);
            let keyspace = Keyspace::from_bytes([0; 16]);
            (Self { name, audiences, required_claims, require_user, keyspace }, keys)
        })
    }

    /// The issuer's part of every revocation key of its tokens.
    pub(crate) fn namespace(&self) -> &str {
        self.name.as_deref().unwrap_or("")
    }
}

/// The issuer's keys. Empty if they are wrong, which has then been noted.
fn read_keys(fields: &mut Fields<'_, '_>) -> KeySet {
    let algorithm = fields.choice("algorithm", &Algorithm::ALL);
    let sources = (fields.value("jwks"), fields.text("secret"), fields.text("secret_base64"));
    match sources {
        (Some(jwks), None, None) => read_jwks(jwks, algorithm, fields),
        (None, Some(secret), None) => read_secret(secret.as_bytes(), "secret", algorithm, fields),
        (None, None, Some(encoded)) => match decode_secret(encoded) {
            Some(secret) => read_secret(&secret, "secret_base64", algorithm, fields),
            None => {
                fields.wrong("secret_base64", "must be base64");
                KeySet::default()
            }
        },
        _ => {
            let given = ["jwks", "secret", "secret_base64"].iter().filter(|name| fields.has(name)).count();
            // A field that is present but wrong has been noted already.
            if given != 1 {
                fields.wrong("jwks", "exactly one of jwks, secret and secret_base64 must be given");
            }
            KeySet::default()
        }
    }
}

fn read_secret(secret: &[u8], field: &str, algorithm: Option<Algorithm>, fields: &mut Fields<'_, '_>) -> KeySet {
    KeySet::from_secret(algorithm.unwrap_or(Algorithm::HS256), secret).unwrap_or_else(|problem| {
        fields.wrong(field, problem);
        KeySet::default()
    })
}

fn read_jwks(jwks: &Value, default: Option<Algorithm>, fields: &mut Fields<'_, '_>) -> KeySet {
    KeySet::from_jwks(jwks, default).unwrap_or_else(|mistakes| {
        fields.all_wrong("jwks", &mistakes);
        KeySet::default()
    })
}

/// The bytes of a `secret_base64`: either alphabet, padded or not, because secrets are pasted from everywhere. Signer
/// and verifier must read it alike, so both call this.
pub fn decode_secret(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()
}
