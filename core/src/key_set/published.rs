//! The public keys that an issuer publishes, in one spelling: what the control plane stores and hands out.

use serde_json::{Value, json};

use super::KeySet;
use super::read_jwks::{Member, read_jwks};
use crate::algorithm::Algorithm;
use crate::document::{Mistake, Mistakes};

/// One public key of a JWK Set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKey {
    /// The name that tokens call it by.
    pub kid: Option<String>,
    /// Names the key whatever its `kid` and its `alg` (RFC 7638, SHA-256, base64url).
    pub thumbprint: String,
    /// The algorithms that it serves, of those that its issuer's tokens may have.
    pub algorithms: Vec<Algorithm>,
    /// Its public members, its `kid` and its `alg`, each where it has one, and nothing else.
    pub jwk: Value,
}

/// The public keys of a JWK Set that can be used, in an order that does not depend on that of the set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishedKeys(Vec<PublishedKey>);

impl PublishedKeys {
    /// Reads a JWK Set as [`KeySet::read`] does. Secrets are left out. A set may be empty, or have no key that can be
    /// used; whether that is an error depends on who asks.
    ///
    /// # Errors
    /// The document is no JWK Set.
    pub fn read(jwks: &Value, algorithms: &[Algorithm]) -> Result<(Self, Vec<Mistake>), Mistakes> {
        let (members, mut mistakes) = read_jwks(jwks, algorithms)?;
        let all = members.len();
        let mut keys: Vec<_> = members.iter().filter_map(published).collect();
        if keys.len() < all {
            mistakes.add("keys", "holds secrets, which are not used from a set that is handed out");
        }
        keys.sort_by(|one, other| order(one).cmp(&order(other)));
        Ok((Self(keys), mistakes.iter().cloned().collect()))
    }

    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = &PublishedKey> {
        self.0.iter()
    }

    /// True if there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that `keep` says yes to.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&PublishedKey) -> bool) -> Self {
        Self(self.0.iter().filter(|key| keep(key)).cloned().collect())
    }

    /// The JWK Set (RFC 7517 section 5). Two sets with the same keys have the same text.
    pub fn to_jwks(&self) -> Value {
        json!({ "keys": self.0.iter().map(|key| &key.jwk).collect::<Vec<_>>() })
    }
}

impl KeySet {
    /// Reads a set that was handed out: one without keys is a set without keys.
    ///
    /// # Errors
    /// The document is no JWK Set.
    pub fn read_handed_out(jwks: &Value, algorithms: &[Algorithm]) -> Result<Self, Mistakes> {
        let (members, _) = read_jwks(jwks, algorithms)?;
        Ok(Self::sorted(members.into_iter().flat_map(|member| member.keys).collect()))
    }
}

/// `None` for a secret.
fn published(member: &Member) -> Option<PublishedKey> {
    let first = member.keys.first()?;
    Some(PublishedKey {
        kid: first.kid().map(str::to_owned),
        thumbprint: first.thumbprint()?,
        algorithms: member.keys.iter().map(super::VerificationKey::algorithm).collect(),
        jwk: first.to_public_jwk(member.with_alg)?,
    })
}

fn order(key: &PublishedKey) -> (Option<&str>, &str, Vec<&'static str>) {
    (key.kid.as_deref(), &key.thumbprint, key.algorithms.iter().map(|algorithm| algorithm.as_str()).collect())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::key::VerificationKey;

    fn rsa(kid: Option<&str>, number: usize) -> Value {
        let mut modulus = [0xa5; 256];
        modulus[1..9].copy_from_slice(&number.to_be_bytes());
        json!({"kty": "RSA", "kid": kid, "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"})
    }

    fn read(keys: Vec<Value>) -> PublishedKeys {
        PublishedKeys::read(&json!({ "keys": keys }), &[]).unwrap().0
    }

    #[test]
    fn the_text_of_a_set_depends_on_its_keys_alone() {
        let (one, other) = (rsa(Some("a"), 1), rsa(Some("b"), 2));
        let mut more = other.clone();
        more.as_object_mut().unwrap().extend(json!({"x5c": ["MIIB"], "use": "sig"}).as_object().unwrap().clone());
        let text = |keys: Vec<Value>| read(keys).to_jwks().to_string();
        let canonical = text(vec![one.clone(), other]);
        assert_eq!(canonical, text(vec![more, one]));
        assert!(
            canonical.starts_with(r#"{"keys":[{"e":"AQAB","kid":"a","kty":"RSA","n":"pQAAAAAAAAABpaWl"#),
            "{canonical}"
        );
    }

    #[test]
    fn dozens_of_keys_of_several_algorithms_are_read_back_as_the_same_set() {
        use Algorithm::{EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let algorithms = [RS256, RS384, RS512, PS256, PS384, PS512, EdDSA];
        let mut keys: Vec<_> = (0..60).map(|number| rsa(Some(&number.to_string()), number)).collect();
        keys.push(json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}));
        keys.push(json!({"kty": "RSA", "alg": "PS256", "kid": "p", "n": rsa(None, 99)["n"], "e": "AQAB"}));
        let jwks = json!({ "keys": keys });
        let (published, _) = PublishedKeys::read(&jwks, &algorithms).unwrap();
        assert_eq!(published.iter().count(), 62);
        let ids = |jwks: &Value| {
            let set = KeySet::read_handed_out(jwks, &algorithms).unwrap();
            set.keys().map(VerificationKey::id).collect::<Vec<_>>()
        };
        let written = published.to_jwks();
        assert_eq!((ids(&jwks).len(), ids(&jwks)), (60 * 6 + 2, ids(&written)));
        assert_eq!(PublishedKeys::read(&written, &algorithms).unwrap(), (published, Vec::new()));
    }

    #[test]
    fn a_secret_and_a_private_part_are_never_written() {
        let secret = json!({"kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode([1; 32])});
        let mut private = rsa(Some("p"), 3);
        private["d"] = "AQAB".into();
        let (keys, mistakes) =
            PublishedKeys::read(&json!({"keys": [rsa(Some("a"), 1), secret, private]}), &[]).unwrap();
        let kids: Vec<_> = keys.iter().map(|key| key.kid.as_deref()).collect();
        assert_eq!((kids, mistakes.len()), (vec![Some("a")], 2));
    }

    #[test]
    fn a_set_without_keys_can_be_handed_out() {
        let none = json!({"keys": []});
        assert!(KeySet::read_handed_out(&none, &[]).unwrap().is_empty());
        assert!(PublishedKeys::read(&none, &[]).unwrap().0.is_empty());
        for wrong in [json!(null), json!([]), json!({"keys": {}})] {
            assert!(KeySet::read_handed_out(&wrong, &[]).is_err() && PublishedKeys::read(&wrong, &[]).is_err());
        }
    }
}
