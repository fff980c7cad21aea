//! Where one issuer's public keys are fetched from, and how.
//!
//! The settings become fields of the issuer's entry, as they stand in a file of issuers, and are read with the same code.

use clap::Args;
use serde_json::{Map, Value};

use super::tokens::boolean;

/// Where public keys are fetched from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Keys of an identity provider")]
pub struct KeySourceArgs {
    /// URL of the public keys that verify tokens, a JWK Set
    #[arg(long, env = "JWKS_URL", value_name = "URL", hide_env_values = true)]
    jwks_url: Option<String>,
    /// Ask the issuer where its keys are: true, or a URL to ask instead of its own [default: true for an issuer that is a
    /// URL, without keys]
    #[arg(long = "key-discovery", env = "CURFEW_DISCOVERY", value_name = "URL", hide_env_values = true)]
    discovery: Option<String>,
    /// File with the certificate authority (PEM) of the provider [default: those that the system trusts]
    #[arg(long, env = "CURFEW_KEYS_CA_FILE", value_name = "FILE", hide_env_values = true)]
    keys_ca_file: Option<String>,
    /// Fetch keys from addresses of private networks too: true or false [default: false]
    #[arg(long, env = "CURFEW_KEYS_ALLOW_PRIVATE_NETWORK", value_name = "BOOL", hide_env_values = true)]
    keys_allow_private_network: Option<String>,
    /// Fetch keys without encryption, so that anybody on the way can put in their own: true or false [default: false]
    #[arg(long, env = "CURFEW_KEYS_ALLOW_HTTP", value_name = "BOOL", hide_env_values = true)]
    keys_allow_http: Option<String>,
    /// How long a fetch may take [default: 5s]
    #[arg(long, env = "CURFEW_KEYS_TIMEOUT", value_name = "DURATION", hide_env_values = true)]
    keys_timeout: Option<String>,
    /// The least time between two regular fetches [default: 60s]
    #[arg(long, env = "CURFEW_KEYS_MIN_INTERVAL", value_name = "DURATION", hide_env_values = true)]
    keys_min_interval: Option<String>,
    /// The most time between two regular fetches [default: 15m]
    #[arg(long, env = "CURFEW_KEYS_MAX_INTERVAL", value_name = "DURATION", hide_env_values = true)]
    keys_max_interval: Option<String>,
    /// How long keys stay in force while no fetch succeeds [default: for ever]
    #[arg(long, env = "CURFEW_KEYS_KEEP_FOR", value_name = "DURATION", hide_env_values = true)]
    keys_keep_for: Option<String>,
}

/// The settings, each with the field of an issuer's entry that it stands for.
const FIELDS: [(&str, &str); 9] = [
    ("JWKS_URL", "jwks_url"),
    ("CURFEW_DISCOVERY", "discovery"),
    ("CURFEW_KEYS_CA_FILE", "ca_file"),
    ("CURFEW_KEYS_ALLOW_PRIVATE_NETWORK", "allow_private_network"),
    ("CURFEW_KEYS_ALLOW_HTTP", "allow_http"),
    ("CURFEW_KEYS_TIMEOUT", "fetch_timeout"),
    ("CURFEW_KEYS_MIN_INTERVAL", "min_interval"),
    ("CURFEW_KEYS_MAX_INTERVAL", "max_interval"),
    ("CURFEW_KEYS_KEEP_FOR", "keep_for"),
];

impl KeySourceArgs {
    /// The settings that say where keys are fetched from, each with whether it is given.
    pub(super) fn places(&self) -> [(&'static str, bool); 2] {
        let discovery = self.discovery.as_deref().is_some_and(|discovery| discovery != "false");
        [("JWKS_URL", self.jwks_url.is_some()), ("CURFEW_DISCOVERY", discovery)]
    }

    /// True if an issuer without keys is not to be asked for them.
    pub(super) fn forbids_discovery(&self) -> bool {
        self.discovery.as_deref() == Some("false")
    }

    /// The names of the settings that are given.
    pub(super) fn given(&self) -> Vec<&'static str> {
        self.values().into_iter().zip(FIELDS).filter(|(value, _)| value.is_some()).map(|(_, (name, _))| name).collect()
    }

    /// Puts what is given into an issuer's entry.
    pub(super) fn fill(&self, entry: &mut Map<String, Value>) {
        for (value, (_, field)) in self.values().into_iter().zip(FIELDS) {
            let read = |text: &String| match field {
                "discovery" | "allow_private_network" | "allow_http" => boolean(text),
                _ => text.as_str().into(),
            };
            entry.extend(value.as_ref().map(|text| (field.to_owned(), read(text))));
        }
    }

    /// In the order of [`FIELDS`].
    fn values(&self) -> [&Option<String>; 9] {
        [
            &self.jwks_url,
            &self.discovery,
            &self.keys_ca_file,
            &self.keys_allow_private_network,
            &self.keys_allow_http,
            &self.keys_timeout,
            &self.keys_min_interval,
            &self.keys_max_interval,
            &self.keys_keep_for,
        ]
    }
}

/// The setting that stands for this field of an entry.
pub(super) fn setting_of(field: &str) -> Option<&'static str> {
    FIELDS.iter().find(|(_, known)| *known == field).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;
    use curfew_core::Mistakes;

    use crate::config::{Environment, TokenArgs, Tokens};
    use crate::keys::{Discovery, KeyUrl, Source};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        tokens: TokenArgs,
    }

    fn resolve(flags: &[&str]) -> Tokens {
        let line = Line::try_parse_from(["curfew"].iter().chain(flags)).unwrap();
        let mut mistakes = Mistakes::default();
        let keys = line.tokens.keys(&Environment::default(), &mut mistakes);
        let tokens = line.tokens.resolve(keys, None, &mut mistakes);
        assert_eq!(mistakes, Mistakes::default());
        tokens.unwrap()
    }

    fn source(flags: &[&str]) -> Source {
        let [source] = resolve(flags).sources.try_into().unwrap();
        source.unwrap().source
    }

    #[test]
    fn an_issuers_url_is_enough() {
        let (issuer, inside) = ("https://login.example.com/realms/a", "https://keycloak.example.com/realms/a");
        let at = |url: &str| KeyUrl::parse(url).unwrap();
        let discovery = |place: &str| Source::Discovery(Discovery { issuer: issuer.to_owned(), at: at(place) });
        assert_eq!(source(&["--token-issuer", issuer]), discovery(issuer));
        assert_eq!(source(&["--token-issuer", issuer, "--key-discovery", "true"]), discovery(issuer));
        assert_eq!(source(&["--token-issuer", issuer, "--key-discovery", inside]), discovery(inside));
        assert_eq!(
            source(&["--jwks-url", "https://login.example.com/keys"]),
            Source::Url(at("https://login.example.com/keys"))
        );
    }

    #[test]
    fn the_settings_are_the_fields_of_an_issuers_entry() {
        let tokens = resolve(&[
            "--jwks-url=https://10.0.0.1/keys",
            "--keys-allow-private-network=true",
            "--keys-allow-http=false",
            "--keys-timeout=1s",
            "--keys-min-interval=2s",
            "--keys-max-interval=3s",
            "--keys-keep-for=4s",
        ]);
        let terms = tokens.sources.into_iter().next().flatten().unwrap().terms;
        let times = [terms.timeout, terms.min_interval, terms.max_interval, terms.keep_for.unwrap()];
        assert_eq!(times, [1, 2, 3, 4].map(Duration::from_secs));
        assert!(terms.allow_private_network && !terms.allow_http);
    }

    #[test]
    fn a_file_of_keys_is_read_and_watched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.json");
        let key = r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        std::fs::write(&path, format!("{{\"keys\": [{key}]}}")).unwrap();
        let tokens = resolve(&["--jwks-file", path.to_str().unwrap()]);
        assert_eq!(tokens.sources.into_iter().next().flatten().unwrap().source, Source::File(path));
        assert!(!tokens.policy.keys_elsewhere(0));
    }
}
