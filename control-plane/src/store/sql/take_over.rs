//! What becomes of the tokens of an old table in Curfew's own tables: many in few statements, for the head is locked meanwhile.

use std::collections::{HashMap, HashSet};

use curfew_core::{Coverage, Kind, RevocationKey, TokenKeys};
use sqlx::Error;

use super::batch::Batch;
use super::connection::Link;
use super::placeholders::{list, tuples};
use super::register::{ALREADY_REVOKED, New, TOKENS};
use super::tables::Tables;
use super::value::{Value, values};
use crate::log::Cause;
use crate::store::command::TokenRecord;
use crate::store::evidence::{Entry, Evidence, Known};

/// A token of the old table. Of each there is one, however many rows it has.
#[derive(Clone)]
pub(crate) struct Found {
    /// Its id.
    pub(crate) token: RevocationKey,
    /// What it says; nothing where its text is gone, and only its mark has told of it.
    pub(crate) record: Option<TokenRecord>,
    /// A row of it is blocked.
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
    /// Those that Curfew did not know before.
    pub(crate) new: HashSet<RevocationKey>,
    /// How many were revoked just now.
    pub(crate) revoked: u64,
}

/// What Curfew's table says of those among the tokens that it has.
pub(crate) async fn states(
    link: &mut Link<'_>,
    tables: Tables,
    tokens: &[RevocationKey],
) -> Result<HashMap<RevocationKey, State>, Error> {
    let mut states = HashMap::new();
    for tokens in tokens.chunks(TOKENS) {
        let statement = format!(
            "SELECT token_id, is_block, expires_at FROM user_token_logs WHERE token_id IN ({})",
            list(tokens.len())
        );
        let values: Vec<_> = tokens.iter().map(Value::from).collect();
        for row in &link.fetch_made(tables.name_in(&statement), &values, tokens.len() == TOKENS).await? {
            let state = State { blocked: row.integer("is_block")? != 0, expires_at: row.integer("expires_at")? };
            states.insert(RevocationKey::from_bytes(row.sixteen("token_id")?), state);
        }
    }
    Ok(states)
}

/// What is to be done with one portion of tokens.
#[derive(Default)]
struct Changes<'f> {
    new: Vec<New<'f>>,
    /// Rows that are there and are to be blocked.
    block: Vec<RevocationKey>,
    /// Entries that are to be made, with when their token expires.
    revoke: Vec<(RevocationKey, i64)>,
}

impl Batch<'_> {
    /// Takes tokens over: into Curfew's table those that are not there yet, and into the log those that are blocked and have
    /// no entry of their own.
    ///
    /// Of a new token of the very second of its user's logout of all devices nobody can say whether it was issued before or
    /// after: the old table does not tell when it was first written to. It is revoked.
    pub(crate) async fn take_over(&mut self, found: &[Found]) -> Result<Taken, Error> {
        let mut taken = Taken::default();
        for found in found.chunks(TOKENS) {
            let ids: Vec<_> = found.iter().map(|found| found.token).collect();
            let states = states(&mut self.link, self.tables, &ids).await?;
            let keys: Vec<_> = found.iter().map(keys).collect();
            let entries = self.entries(&keys.iter().collect::<Vec<_>>()).await?;
            let mut changes = Changes::default();
            for (found, keys) in found.iter().zip(&keys) {
                let entries = keys.iter().filter_map(|(_, key)| entries.get(&key)).flatten().copied().collect();
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
        let tied = state.is_none() && coverage == Coverage::SameSecond;
        let revoke = (found.blocked || tied) && !own_entry;
        let expires_at = match (&found.record, state) {
            (Some(token), _) => token.expires_at,
            (None, Some(state)) => state.expires_at,
            // It has expired since and is gone, and nobody can use it.
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
                changes.new.push(New { token, user_agent: None, ip: None, blocked });
            }
            (Some(State { blocked: false, .. }), _) if revoke => changes.block.push(found.token),
            _ => {}
        }
    }

    /// Carries it out; returns how many tokens were revoked.
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
        self.execute_made(&statement, &values, tokens.len() == TOKENS).await.map(drop)
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
        self.execute_made(&statement, &rows, tokens.len() == TOKENS).await
    }
}

/// The keys of which entries are looked for.
fn keys(found: &Found) -> TokenKeys {
    let of_the_token_alone = TokenKeys { token: found.token, jti: None, session: None, subject: None };
    found.record.as_ref().map_or(of_the_token_alone, |record| record.keys)
}
