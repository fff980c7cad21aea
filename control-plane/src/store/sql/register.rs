//! Registration. It writes many tokens in few statements, because the head is locked meanwhile.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;

use curfew_core::wire::CheckVerdict;
use curfew_core::{RevocationKey, TokenKeys};
use sqlx::Error;

use super::batch::Batch;
use super::check::{known, values_of};
use super::driver::{Value, list, tuples, values};
use super::log_rows::entry;
use crate::store::command::{Registered, Registration, TokenRecord};
use crate::store::evidence::{Entry, Evidence, Known};

/// Tokens in one statement: 3,250 values for their rows, or 1,500 for their keys. SQLite takes 32,766 values, and the
/// others 65,535.
pub(crate) const TOKENS: usize = 250;

/// A token that Curfew does not know yet.
pub(super) struct NewToken<'t> {
    pub(super) token: &'t TokenRecord,
    pub(super) user_agent: Option<&'t str>,
    /// The address as it is stored.
    pub(super) ip: Option<String>,
    /// The reason why its row is inserted as blocked, if it is.
    pub(super) blocked: Option<&'static str>,
}

/// The reason for a token that an entry covered before the token was known.
pub(super) const ALREADY_REVOKED: &str = "already_revoked";

impl Batch<'_> {
    /// Records tokens that were issued. A known token stays as it is: registering again never brings one back.
    pub(crate) async fn register(&mut self, tokens: &[Registration]) -> Result<Registered, Error> {
        let mut registered = Registered::default();
        for tokens in tokens.chunks(TOKENS) {
            let mut rows = self.rows_of(tokens).await?;
            let keys: Vec<_> = tokens.iter().map(|registration| &registration.token.keys).collect();
            let entries = self.entries(&keys).await?;
            let mut new = Vec::new();
            for registration in tokens {
                let token = &registration.token;
                let row = rows.entry(token.keys.token);
                let is_new = matches!(row, Place::Vacant(_));
                // From here on the token is registered, and that decides about it in the cutoff's own second.
                let is_revoked = self.is_revoked(token, *row.or_insert(Known::Alive), &entries);
                registered.revoked = registered.revoked.saturating_add(u64::from(is_revoked));
                if is_new {
                    new.push(new_token(registration, is_revoked));
                }
            }
            self.insert_known_tokens(&new).await?;
            let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
            registered.new = registered.new.saturating_add(count(new.len()));
            registered.known = registered.known.saturating_add(count(tokens.len().saturating_sub(new.len())));
        }
        Ok(registered)
    }

    /// What the filter's check says of a token with this row.
    fn is_revoked(&self, token: &TokenRecord, known: Known, entries: &HashMap<RevocationKey, Vec<Entry>>) -> bool {
        let found = token.keys.looked_up().into_iter().flatten().filter_map(|key| entries.get(&key)).flatten();
        let evidence = Evidence { head: self.began_at(), entries: found.copied().collect(), known };
        evidence.verdict(&token.keys, token.cutoff_time) == CheckVerdict::Revoked
    }

    /// What the rows of these tokens say, for those that have one.
    async fn rows_of(&mut self, tokens: &[Registration]) -> Result<HashMap<RevocationKey, Known>, Error> {
        let statement =
            format!("SELECT token_id, is_block FROM user_token_logs WHERE token_id IN ({})", list(tokens.len()));
        let values: Vec<_> = tokens.iter().map(|registration| Value::from(&registration.token.keys.token)).collect();
        let rows = self.link.fetch_built(statement, &values, tokens.len() == TOKENS).await?;
        rows.iter().map(|row| Ok((RevocationKey::from_bytes(row.sixteen("token_id")?), known(row)?))).collect()
    }

    /// The revocations under any of the tokens' keys.
    pub(super) async fn entries(&mut self, tokens: &[&TokenKeys]) -> Result<HashMap<RevocationKey, Vec<Entry>>, Error> {
        let keys: Vec<_> = tokens.iter().map(|keys| keys.looked_up()).collect();
        let values: Vec<_> = keys.iter().flat_map(values_of).collect();
        let statement =
            format!("SELECT kind, \"key\", cutoff FROM revocations WHERE \"key\" IN ({})", list(values.len()));
        let mut entries = HashMap::<_, Vec<_>>::new();
        for row in &self.link.fetch_built(statement, &values, tokens.len() == TOKENS).await? {
            if let Some(entry) = entry(row)? {
                entries.entry(entry.key).or_default().push(entry);
            }
        }
        Ok(entries)
    }

    /// Inserts tokens. They are blocked if an entry already covers them, so that a list of sessions is right.
    pub(super) async fn insert_known_tokens(&mut self, new: &[NewToken<'_>]) -> Result<(), Error> {
        const INSERT: &str = "\
            INSERT INTO user_token_logs (token_id, issuer, user_id, session_id, issued_at, expires_at, is_block,
                                         blocked_at, block_reason, user_agent, ip, created_at, updated_at) VALUES ";
        if new.is_empty() {
            return Ok(());
        }
        let now = self.moment.now;
        let values: Vec<_> = new.iter().flat_map(|new| row(new, now)).collect();
        let statement = format!("{INSERT}{}", tuples(COLUMNS, new.len()));
        self.link.execute_built(statement, &values, new.len() == TOKENS).await.map(drop)
    }
}

fn new_token(registration: &Registration, is_revoked: bool) -> NewToken<'_> {
    NewToken {
        token: &registration.token,
        user_agent: registration.user_agent.as_deref(),
        ip: registration.ip.map(|ip| ip.to_string()),
        blocked: is_revoked.then_some(ALREADY_REVOKED),
    }
}

const COLUMNS: usize = 13;

fn row<'t>(NewToken { token, user_agent, ip, blocked }: &'t NewToken<'_>, now: i64) -> [Value<'t>; COLUMNS] {
    *values![
        &token.keys.token,
        token.issuer.as_str(),
        &token.user,
        &token.session_id,
        token.issued_at,
        token.expires_at,
        blocked.is_some(),
        blocked.is_some().then_some(now),
        *blocked,
        *user_agent,
        ip,
        now,
        now,
    ]
}
