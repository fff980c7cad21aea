//! The keys of the mesh's second issuer, and the tokens that they sign.
//!
//! A key that is taken away is the logout of all its tokens: the two moments that are noted of a logout are those of the
//! change of keys then, and the ledger judges requests with these tokens by the same rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::population::{Population, Token};
use crate::key_server::KeyServer;
use crate::tokens::{Signer, claims, jwks, with};

/// The name of the issuer.
pub(super) const ISSUER: &str = "https://keys.example.com";

/// Tokens of each key.
const TOKENS: usize = 3;

/// One key, listed by the issuer.
#[derive(Debug)]
pub(super) struct Key {
    kid: String,
    signer: Signer,
    pub(super) tokens: Vec<Arc<Token>>,
}

impl Key {
    /// A new key, with a name that no other one has in this process.
    pub(super) fn new() -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let kid = format!("key-{}", NUMBER.fetch_add(1, Ordering::SeqCst));
        let signer = Signer::es256(&kid)?;
        let token = |_| {
            let text = signer.sign(&with(claims("bob"), json!({ "iss": ISSUER })))?;
            Ok(Arc::new(Token::new(text, Value::Null)))
        };
        let tokens = (0..TOKENS).map(token).collect::<Result<_>>()?;
        Ok(Self { kid, signer, tokens })
    }

    /// The body of an operator's call about the key.
    pub(super) fn named(&self) -> Value {
        json!({"issuer": ISSUER, "key": self.kid})
    }

    /// To be called before the key is taken away in any way.
    pub(super) fn begins_to_go(&self, now: Duration) {
        self.tokens.iter().for_each(|token| token.logout_begins(now));
    }

    /// To be called after a whole 200 to the call was read that takes the key away.
    pub(super) fn is_gone(&self, now: Duration) {
        self.tokens.iter().for_each(|token| token.logout_returned(now));
    }
}

/// What the clients share of the issuer.
#[derive(Debug)]
pub(super) struct Keyring {
    issuer: Arc<KeyServer>,
    /// Tokens of keys in force, and those whose key was taken away.
    pub(super) population: Population,
}

impl Keyring {
    /// Without any key. Of the tokens whose key was taken away the youngest `remembered` are kept.
    pub(super) fn new(issuer: Arc<KeyServer>, remembered: usize) -> Self {
        Self { issuer, population: Population::empty(remembered) }
    }

    /// The issuer lists these keys, and no other, from now on.
    pub(super) fn list<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        self.issuer.lists(&jwks(keys.into_iter().map(|key| &key.signer)));
    }
}
