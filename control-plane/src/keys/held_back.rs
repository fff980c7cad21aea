//! Which key that is out of force a token was signed with, or names: for operators.

use curfew_core::{KeySet, KeySets, Policy, UnverifiedToken, verify_natively};
use serde_json::Value;

use super::shelf::{Shelf, Standing};
use super::{KeyIssuer, Keys};
use crate::store::ReadFailure;

/// A key that operators hold back. Times are seconds of Unix time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfForce {
    /// Its `kid`, if it has one.
    pub kid: Option<String>,
    /// Its thumbprint; `None` for a name that no listed key has.
    pub thumbprint: Option<String>,
    /// Removed or distrusted, and since when.
    pub standing: Standing,
    /// True if this very key has signed the token, and not only its name is in it.
    pub signed: bool,
}

/// What is stored of an issuer's keys, for [`Keys::out_of_force`].
pub struct Stored {
    place: usize,
    shelf: Shelf,
}

impl Keys {
    /// What is stored of the keys of the issuer with this name; `None` if nothing is.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub async fn stored_of(&self, issuer: &str) -> Result<Option<Stored>, ReadFailure> {
        let Some(place) = self.named(issuer) else { return Ok(None) };
        let Some(keys) = self.shelf_row(place).await?.and_then(|row| row.keys) else { return Ok(None) };
        let issuer = self.issuers.get(place);
        let shelf = issuer.and_then(|issuer| Shelf::stored(&keys, &issuer.algorithms).ok());
        Ok(shelf.map(|shelf| Stored { place, shelf }))
    }

    /// The key of an issuer that is out of force and has signed the token, or that the token names. `policy` is that of this
    /// control plane. `None` if no such key is known: a key that its issuer has ceased to list is forgotten, unless its name is
    /// distrusted. It checks signatures, so it belongs on a thread of its own.
    pub fn out_of_force(&self, stored: &Stored, token: &[u8], policy: &Policy, now: i64) -> Option<OutOfForce> {
        let Stored { place, shelf } = stored;
        let issuer = self.issuers.get(*place)?;
        self.signer(*place, issuer, shelf, token, policy, now).or_else(|| named(shelf, token))
    }

    /// The key that has signed the token, among those that the issuer lists.
    fn signer(
        &self,
        place: usize,
        issuer: &KeyIssuer,
        shelf: &Shelf,
        token: &[u8],
        policy: &Policy,
        now: i64,
    ) -> Option<OutOfForce> {
        let listed = KeySet::read_handed_out(&shelf.listed().to_jwks(), &issuer.algorithms).ok()?;
        let sets: KeySets = self.current().with(place, listed)?;
        let proven = policy.prove(token, now, &sets, verify_natively).ok()?;
        let thumbprint = sets.find(proven.key)?.thumbprint()?;
        let (key, standing) = shelf.keys().find(|(key, _)| key.thumbprint == thumbprint)?;
        let (kid, thumbprint) = (key.kid.clone(), Some(thumbprint));
        (standing != Standing::InForce).then_some(OutOfForce { kid, thumbprint, standing, signed: true })
    }
}

/// The key with the `kid` that the token's header has, or the distrusted name.
fn named(shelf: &Shelf, token: &[u8]) -> Option<OutOfForce> {
    let (header, _) = UnverifiedToken::to_json(token).ok()?;
    let kid = header.get("kid").and_then(Value::as_str)?;
    let listed = shelf.keys().find(|(key, standing)| key.kid.as_deref() == Some(kid) && *standing != Standing::InForce);
    let distrusted = || shelf.holds().distrusted().find(|(name, distrusted)| *name == kid && distrusted.by_kid);
    let (thumbprint, standing) = match listed {
        Some((key, standing)) => (Some(key.thumbprint.clone()), standing),
        None => (None, Standing::Distrusted(distrusted()?.1.since)),
    };
    Some(OutOfForce { kid: Some(kid.to_owned()), thumbprint, standing, signed: false })
}
