//! The credentials of callers: the internal secret and the application's credentials.

use std::path::PathBuf;

use clap::Args;
use curfew_core::Mistakes;

use super::environment::Environment;
use super::generated::Generated;
use super::signer::IssuerSecret;
use super::strength::{MAKE_ONE, weakness};
use crate::secret::{AppCredentials, Secret};

/// In bytes. A shorter secret can be guessed. With it an attacker logs users out, or sees where they are logged in.
const MIN_SECRET: usize = 16;

const INTERNAL: &str = "CURFEW_INTERNAL_SECRET";

/// Files with secrets of callers. The secrets themselves are environment variables without a flag.
#[derive(Debug, Args)]
#[command(next_help_heading = "Callers")]
pub struct AccessArgs {
    /// File with the secret of the internal listener (CURFEW_INTERNAL_SECRET holds the secret itself)
    #[arg(long, env = "CURFEW_INTERNAL_SECRET_FILE", value_name = "FILE", hide_env_values = true)]
    internal_secret_file: Option<PathBuf>,
    /// Name of the application that may call lgt-all
    #[arg(long, env = "APP_ID", value_name = "ID", hide_env_values = true)]
    app_id: Option<String>,
    /// File with that application's key (APP_KEY holds the key itself)
    #[arg(long, env = "APP_KEY_FILE", value_name = "FILE", hide_env_values = true)]
    app_key_file: Option<PathBuf>,
}

/// The credentials that were configured.
pub(super) struct Access {
    internal_secret: Option<Secret>,
    app: Option<AppCredentials>,
    /// Whether any of the application's settings was given, right or wrong.
    app_given: bool,
    internal_secret_given: bool,
}

impl AccessArgs {
    pub(super) fn resolve(&self, environment: &Environment, mistakes: &mut Mistakes) -> Access {
        let file = self.internal_secret_file.as_deref();
        let internal_secret = environment.secret(INTERNAL, file, mistakes);
        refuse_short(INTERNAL, internal_secret.as_ref(), mistakes);
        if internal_secret.as_ref().is_some_and(|secret| !secret.reveal().bytes().all(|byte| byte.is_ascii_graphic())) {
            mistakes.add(INTERNAL, "must be visible ASCII without spaces: it travels in a header");
        }
        let key_file = self.app_key_file.as_deref();
        let key_given = environment.get("APP_KEY").is_some() || key_file.is_some();
        let key = environment.secret("APP_KEY", key_file, mistakes);
        refuse_short("APP_KEY", key.as_ref(), mistakes);
        if self.app_id.as_deref() == Some("") {
            mistakes.add("APP_ID", "is set, but empty");
        }
        match (&self.app_id, key_given) {
            (Some(_), false) => mistakes.add("APP_KEY", "must be set, because APP_ID is"),
            (None, true) => mistakes.add("APP_ID", "must be set, because APP_KEY is"),
            _ => {}
        }
        Access {
            internal_secret_given: environment.get(INTERNAL).is_some() || file.is_some(),
            internal_secret,
            app_given: self.app_id.is_some() || key_given,
            app: self.app_id.as_ref().zip(key).map(|(id, key)| AppCredentials { id: Secret::new(id), key }),
        }
    }
}

fn refuse_short(name: &str, secret: Option<&Secret>, mistakes: &mut Mistakes) {
    if secret.is_some_and(|secret| secret.reveal().len() < MIN_SECRET) {
        mistakes.add(name, format!("must have at least {MIN_SECRET} bytes: {MAKE_ONE}"));
    }
}

impl Access {
    /// Refuses one secret for two purposes: a caller that knows it for one of them could use it for the other. With the
    /// internal secret a filter could make tokens, or log out every user like an application, and one issuer could make
    /// tokens of another. Keys of one issuer may be the same.
    pub(super) fn refuse_shared_secrets(
        &self,
        generated: Option<&Generated>,
        signing: &[(String, IssuerSecret)],
        mistakes: &mut Mistakes,
    ) {
        let (internal, app) = (self.internal_secret(generated), self.app(generated));
        let own = [(INTERNAL, internal.as_ref()), ("APP_KEY", app.as_ref().map(|app| &app.key))];
        let own = own.into_iter().filter_map(|(name, secret)| Some((name, None::<usize>, secret?.reveal().as_bytes())));
        let signing =
            signing.iter().map(|(name, secret)| (name.as_str(), Some(secret.issuer), secret.secret.0.as_slice()));
        let all: Vec<(&str, Option<usize>, &[u8])> = own.chain(signing).collect();
        for (place, (name, issuer, secret)) in all.iter().enumerate() {
            let mut before = all.iter().take(place);
            let same = before.find(|(_, other, earlier)| earlier == secret && (issuer.is_none() || issuer != other));
            if let Some((other, ..)) = same {
                mistakes.add(*name, format!("is the same secret as {other}: use another one"));
            }
        }
    }

    /// Refuses secrets that everybody knows or can guess, because `open` is an address that other machines can reach.
    pub(super) fn refuse_weak_secrets(&self, open: &str, signing: &[(String, IssuerSecret)], mistakes: &mut Mistakes) {
        let own = [(INTERNAL, self.internal_secret.as_ref()), ("APP_KEY", self.app.as_ref().map(|app| &app.key))];
        let own = own.into_iter().filter_map(|(name, secret)| Some((name, secret?.reveal().as_bytes())));
        let signing = signing.iter().map(|(name, secret)| (name.as_str(), secret.secret.0.as_slice()));
        for (name, secret) in own.chain(signing) {
            if let Some(weakness) = weakness(secret) {
                mistakes.add(name, format!("{weakness}, and {open} is not a loopback address: {MAKE_ONE}"));
            }
        }
    }

    /// The setting to name if the internal secret is needed and was not given.
    pub(super) fn missing_internal_secret(&self) -> Option<&'static str> {
        (!self.internal_secret_given).then_some(INTERNAL)
    }

    /// The setting to name if the application is needed and was not given.
    pub(super) fn missing_app(&self) -> Option<&'static str> {
        (!self.app_given).then_some("APP_ID and APP_KEY")
    }

    pub(super) fn internal_secret(&self, generated: Option<&Generated>) -> Option<Secret> {
        let made_up = generated.map(|generated| Secret::new(&generated.internal_secret));
        self.internal_secret.clone().or(made_up)
    }

    pub(super) fn app(&self, generated: Option<&Generated>) -> Option<AppCredentials> {
        let made_up =
            generated.map(|made| AppCredentials { id: Secret::new(&made.app_id), key: Secret::new(&made.app_key) });
        self.app.clone().or(made_up)
    }
}
