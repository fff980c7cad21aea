//! Writes the tokens of another application's table into Curfew's own tables. It writes many of them in few statements,
//! because the head is locked meanwhile.

use std::collections::{HashMap, HashSet};

use curfew_core::{Coverage, Kind, RevocationKey, TokenKeys};
use sqlx::Error;

use super::batch::Batch;
use super::driver::{Link, Value, list, tuples, values};
use super::register::{ALREADY_REVOKED, NewToken, TOKENS};
use crate::log::Cause;
use crate::store::command::TokenRecord;
use crate::store::evidence::{Entry, Evidence, Known};

/// A token of another application's table. It is listed once, however many rows have it.
#[derive(Clone)]
pub(crate) struct Found {
    /// Its id.
    pub(crate) token: RevocationKey,
    /// What the token says; `None` if its text is gone, and only the mark of its row shows that there was a token.
    pub(crate) record: Option<TokenRecord>,
    /// True if one of its rows is blocked.
    pub(crate) blocked: bool,
}

/// What Curfew's table says of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) blocked: bool,
    pub(crate) expires_at: i64,
}

/// What became of some tokens.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The tokens that Curfew did not know before.
    pub(crate) new: HashSet<RevocationKey>,
    /// The number of tokens that were revoked.
    pub(crate) revoked: u64,
}

/// What Curfew's table says of these tokens, for those that it has.
pub(crate) async fn states(
    link: &mut Link<'_>,
    tokens: &[RevocationKey],
) -> Result<HashMap<RevocationKey, State>, Error> {
    let mut states = HashMap::new();
    for tokens in tokens.chunks(TOKENS) {
        let statement = format!(
            "SELECT token_id, is_block, expires_at FROM user_token_logs WHERE token_id IN ({})",
            list(tokens.len())
        );
        let values: Vec<_> = tokens.iter().map(Value::from).collect();
        for row in &link.fetch_built(statement, &values, tokens.len() == TOKENS).await? {
            let state = State { blocked: row.integer("is_block")? != 0, expires_at: row.integer("expires_at")? };
            states.insert(RevocationKey::from_bytes(row.sixteen("token_id")?), state);
        }
    }
    Ok(states)
}

/// What to write for one portion of tokens.
#[derive(Default)]
struct Changes<'f> {
    new: Vec<NewToken<'f>>,
    /// Existing rows to block.
    block: Vec<RevocationKey>,
    /// Entries to make, each with the time when its token expires.
    revoke: Vec<(RevocationKey, i64)>,
}

impl Batch<'_> {
    /// Takes tokens over. Tokens that Curfew does not know yet go into its table. Blocked tokens without their own
    /// entry go into the log.
    ///
    /// A new token that was issued in the second of its user's logout of all devices is revoked: the old table does not
    /// say when the row was written, so it is not known whether the token was issued before or after the logout.
    pub(crate) async fn take_over(&mut self, found: &[Found]) -> Result<Taken, Error> {
        let mut taken = Taken::default();
        for found in found.chunks(TOKENS) {
            let ids: Vec<_> = found.iter().map(|found| found.token).collect();
            let states = states(&mut self.link, &ids).await?;
            let keys: Vec<_> = found.iter().map(keys).collect();
            let entries = self.entries(&keys.iter().collect::<Vec<_>>()).await?;
            let mut changes = Changes::default();
            for (found, keys) in found.iter().zip(&keys) {
                let looked_up = keys.looked_up().into_iter().flatten();
                let entries = looked_up.filter_map(|key| entries.get(&key)).flatten().copied().collect();
                self.decide(found, keys, states.get(&found.token).copied(), entries, &mut changes);
            }
            taken.new.extend(changes.new.iter().map(|new| new.token.keys.token));
            taken.revoked = taken.revoked.saturating_add(self.make(&changes).await?);
        }
        Ok(taken)
    }

    fn decide<'f>(
        &self,
        found: &'f Found,
        keys: &TokenKeys,
        state: Option<State>,
        entries: Vec<Entry>,
        changes: &mut Changes<'f>,
    ) {
        let own_entry = entries.iter().any(|entry| (entry.kind, entry.key) == (Kind::Token, found.token));
        let evidence = Evidence { head: self.began_at(), entries, known: Known::No };
        let coverage = match &found.record {
            Some(token) => evidence.coverage(keys, token.cutoff_time),
            None => Coverage::Clear,
        };
        let in_doubt = state.is_none() && coverage == Coverage::SameSecond;
        let revoke = (found.blocked || in_doubt) && !own_entry;
        let expires_at = match (&found.record, state) {
            (Some(token), _) => token.expires_at,
            (None, Some(state)) => state.expires_at,
            // The token has expired since, and its row is purged. No worker accepts it.
            (None, None) => return,
        };
        if revoke {
            changes.revoke.push((found.token, expires_at));
        }
        match (state, &found.record) {
            (None, Some(token)) => {
                let blocked = match coverage {
                    _ if revoke => Some(Cause::Adopted.reason()),
                    Coverage::Revoked => Some(ALREADY_REVOKED),
                    Coverage::Clear | Coverage::SameSecond => None,
                };
                changes.new.push(NewToken { token, user_agent: None, ip: None, blocked });
            }
            (Some(State { blocked: false, .. }), _) if revoke => changes.block.push(found.token),
            _ => {}
        }
    }

    /// Writes the changes; returns how many tokens were revoked.
    async fn make(&mut self, Changes { new, block, revoke }: &Changes<'_>) -> Result<u64, Error> {
        self.insert_known_tokens(new).await?;
        self.block_tokens(block).await?;
        self.revoke_tokens(revoke).await
    }

    async fn block_tokens(&mut self, tokens: &[RevocationKey]) -> Result<(), Error> {
        if tokens.is_empty() {
            return Ok(());
        }
        let (now, reason) = (tokens.len().saturating_add(1), tokens.len().saturating_add(2));
        let statement = format!(
            "UPDATE user_token_logs SET is_block = 1, blocked_at = ${now}, block_reason = ${reason}, updated_at = ${now} \
             WHERE token_id IN ({}) AND is_block = 0",
            list(tokens.len())
        );
        let values = tokens.iter().map(Value::from).chain([self.moment.now.into(), Cause::Adopted.reason().into()]);
        let values: Vec<_> = values.collect();
        self.link.execute_built(statement, &values, tokens.len() == TOKENS).await.map(drop)
    }

    async fn revoke_tokens(&mut self, tokens: &[(RevocationKey, i64)]) -> Result<u64, Error> {
        const INSERT: &str =
            "INSERT INTO revocations (seq, \"key\", kind, cutoff, expires_at, reason, actor, created_at) VALUES ";
        const COLUMNS: usize = 8;
        if tokens.is_empty() {
            return Ok(0);
        }
        let (rest, now, cause) = (self.kept().await?.token_rest, self.moment.now, Cause::Adopted);
        let (kind, reason, actor) = (Kind::Token.as_str(), cause.reason(), cause.actor());
        let mut rows = Vec::with_capacity(tokens.len().saturating_mul(COLUMNS));
        for (token, expires_at) in tokens {
            self.seq = self.seq.saturating_add(1);
            let until = expires_at.saturating_add(rest);
            rows.extend_from_slice(values![self.seq, token, kind, now, until, reason, actor, now]);
        }
        let statement = format!("{INSERT}{}", tuples(COLUMNS, tokens.len()));
        self.link.execute_built(statement, &rows, tokens.len() == TOKENS).await
    }
}

/// The keys under which entries are looked for.
fn keys(found: &Found) -> TokenKeys {
    let only_the_token = TokenKeys { token: found.token, jti: None, session: None, subject: None };
    found.record.as_ref().map_or(only_the_token, |record| record.keys)
}
