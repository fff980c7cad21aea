//! Where each issuer's keys come from.

use curfew_core::{Algorithm, KeySets, Policy, PublishedKeys, VerificationKey};
use serde_json::Value;

use super::source::SourceName;

/// Where the keys of an issuer come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// They stand in the settings, and are public.
    Settings {
        /// The keys.
        keys: PublishedKeys,
        /// The setting.
        from: String,
    },
    /// A file or an address is asked for them.
    Source(SourceName),
    /// They are secret, or one of them is. They stay in this process, and are never handed out.
    Secret,
}

/// An issuer of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyIssuer {
    /// Its namespace; "" for the issuer without a name.
    pub name: String,
    /// The algorithms that its tokens may have, as [`curfew_core::KeySet::read`] takes them.
    pub algorithms: Vec<Algorithm>,
    /// Where its keys come from.
    pub origin: Origin,
    /// The keys that its source had when the settings were read, if it was read then.
    pub initial: Option<PublishedKeys>,
}

impl KeyIssuer {
    /// The issuers of a policy, in its order. `document` is the list that the policy was read from, and `from` names the setting
    /// with it. `source` says where keys come from that do not stand in it, and keys that stand in it for now.
    pub fn of_policy(
        policy: &Policy,
        sets: &KeySets,
        document: &Value,
        from: &str,
        source: impl Fn(usize) -> Option<SourceName>,
    ) -> Vec<Self> {
        let public = |place: usize, algorithms: &[Algorithm]| {
            let is_public = |key: &VerificationKey| key.thumbprint().is_some();
            let all_public = sets.get(place).is_some_and(|set| set.keys().all(is_public));
            let jwks = document.get(place).and_then(|issuer| issuer.get("jwks")).filter(|_| all_public);
            jwks.and_then(|jwks| PublishedKeys::read(jwks, algorithms).ok()).map(|(keys, _)| keys)
        };
        let issuer = |(place, name): (usize, &str)| {
            let algorithms = policy.algorithms(place).to_vec();
            let (source, initial) = (source(place), public(place, &algorithms));
            let origin = match (source, initial.clone()) {
                (source, None) if policy.keys_elsewhere(place) => {
                    Origin::Source(source.unwrap_or_else(|| String::new().into()))
                }
                (Some(source), Some(_)) => Origin::Source(source),
                (None, Some(keys)) => Origin::Settings { keys, from: from.to_owned() },
                (_, None) => Origin::Secret,
            };
            Self { name: name.to_owned(), origin, initial, algorithms }
        };
        policy.issuers().enumerate().map(issuer).collect()
    }

    /// What tells its source from its earlier ones, as it is stored; `None` if nothing is asked for its keys.
    pub(super) fn source_hash(&self) -> Option<i64> {
        match &self.origin {
            Origin::Source(source) => Some(source.hash.into()),
            Origin::Settings { .. } | Origin::Secret => None,
        }
    }

    /// The name for lines of the log and for operators: the issuer's own, which stands in the settings.
    pub fn shown(&self) -> &str {
        if self.name.is_empty() { "(no name)" } else { &self.name }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_issuer_with_any_secret_hands_nothing_out() {
        let public = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let secret = json!({"kty": "oct", "alg": "HS256", "k": "A".repeat(43)});
        let issuers = json!([
            {"issuer": "a", "jwks": {"keys": [public]}},
            {"issuer": "b", "jwks": {"keys": [public, secret]}},
            {"issuer": "c", "secret": "s".repeat(32)},
            {"issuer": "d"},
        ]);
        let (policy, sets) = Policy::from_document(&json!({ "issuers": issuers })).unwrap();
        let url = || SourceName::from("a URL".to_owned());
        let found = KeyIssuer::of_policy(&policy, &sets, &issuers, "FILE", |place| (place == 3).then(url));
        let (keys, _) = PublishedKeys::read(&json!({"keys": [public]}), &[]).unwrap();
        let origins: Vec<_> = found.into_iter().map(|issuer| (issuer.name, issuer.origin)).collect();
        let settings = Origin::Settings { keys, from: "FILE".into() };
        let named = |name: &str, origin| (name.to_owned(), origin);
        assert_eq!(
            origins,
            [
                named("a", settings),
                named("b", Origin::Secret),
                named("c", Origin::Secret),
                named("d", Origin::Source(url()))
            ]
        );
    }
}
