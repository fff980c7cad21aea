//! The tables `key_sets` and `key_fetches`: read from one snapshot with the head, and changed in a batch.

use curfew_core::IssuerId;
use sqlx::Error;

use super::batch::Batch;
use super::driver::{Link, Row, values};
use super::log_rows::{keys_seq, present};
use super::reader::Reader;
use super::trusted::{Trusted, trusted};
use crate::store::keys::{
    ChangeFetch, ChangeKeys, HandedOut, KeyTexts, KeyWrite, KeysChange, ShelfRow, Shown, StoredFetch, StoredKeys, judge,
};

const NEWEST: Trusted = trusted!("head.id", "");

const SETS: Trusted =
    trusted!("handed.issuer, handed.seq AS place, handed.jwks", "LEFT JOIN key_sets AS handed ON 1 = 1");

/// All issuers with a row in either table: each row of one with its row in the other, if there is one.
const SHELVES: Trusted = trusted!(
    "issuer_ids.issuer_id, stored.issuer, stored.seq AS place, stored.jwks, stored.listed, stored.holds, stored.source,
     stored.changed_at, stored.listed_at, asked.started_at_ms, asked.demanded_at_ms, asked.claimed_until_ms, asked.finished_at_ms,
     asked.good_at_ms, asked.next_at_ms, asked.etag, asked.fresh_for, asked.failures, asked.error_code, asked.error,
     asked.source_hash",
    "LEFT JOIN (SELECT issuer_id FROM key_sets UNION SELECT issuer_id FROM key_fetches) AS issuer_ids ON 1 = 1
     LEFT JOIN key_sets AS stored ON stored.issuer_id = issuer_ids.issuer_id
     LEFT JOIN key_fetches AS asked ON asked.issuer_id = issuer_ids.issuer_id"
);

/// The most bytes of a text that operators read, as the columns hold it.
const TEXT_BYTES: usize = 1024;

impl Reader {
    /// The newest change of keys.
    pub(crate) async fn newest_keys(&self) -> Result<Shown<()>, Error> {
        let (shown, _) = self.shown(&NEWEST).await?;
        Ok(shown)
    }

    /// The sets in force.
    pub(crate) async fn key_sets(&self) -> Result<Shown<Vec<HandedOut>>, Error> {
        let (Shown { head, keys_seq, .. }, rows) = self.shown(&SETS).await?;
        Ok(Shown { head, keys_seq, what: present(rows.iter().map(handed_out))? })
    }

    /// All that is stored of keys and of the questions for them.
    pub(crate) async fn shelves(&self) -> Result<Shown<Vec<ShelfRow>>, Error> {
        let (Shown { head, keys_seq, .. }, rows) = self.shown(&SHELVES).await?;
        Ok(Shown { head, keys_seq, what: present(rows.iter().map(shelf_row))? })
    }

    async fn shown(&self, statement: &Trusted) -> Result<(Shown<()>, Vec<Row>), Error> {
        let (head, rows) = self.trusted(statement, values![]).await?;
        let keys_seq = keys_seq(rows.first().ok_or(Error::RowNotFound)?)?;
        Ok((Shown { head, keys_seq, what: () }, rows))
    }
}

impl Batch<'_> {
    /// Changes the row of one issuer. If the set in force becomes another one, the change takes the next place in the log.
    /// With `began_ms`, only if the last question to the issuer is the one that began then.
    pub(crate) async fn change_keys(
        &mut self,
        issuer: &str,
        began_ms: Option<i64>,
        change: &ChangeKeys,
    ) -> Result<KeysChange, Error> {
        let id = IssuerId::of(issuer);
        if let Some(began_ms) = began_ms
            && stored_fetch(&mut self.link, &id).await?.and_then(|fetch| fetch.started_at_ms) != Some(began_ms)
        {
            return Ok(KeysChange::Overtaken);
        }
        let stored = stored_keys(&mut self.link, &id).await?;
        let others = size_of_others(&mut self.link, &id).await?;
        let (write, outcome) = judge(stored.as_ref(), change(stored.as_ref()), others);
        match write {
            KeyWrite::Nothing => {}
            KeyWrite::Put(texts, is_change) => {
                if is_change {
                    self.keys_changed();
                }
                self.put_keys(issuer, stored.as_ref(), &texts, is_change).await?;
            }
        }
        Ok(outcome)
    }

    /// Changes what is stored of the questions to one issuer. True if something was written.
    pub(crate) async fn change_fetch(&mut self, issuer: &str, change: &ChangeFetch) -> Result<bool, Error> {
        let id = IssuerId::of(issuer);
        let stored = stored_fetch(&mut self.link, &id).await?;
        let changed = change(stored.as_ref()).filter(|changed| stored.as_ref() != Some(changed));
        let Some(changed) = changed else { return Ok(false) };
        put_fetch(&mut self.link, &id, stored.is_some(), &changed).await?;
        Ok(true)
    }

    fn keys_changed(&mut self) {
        self.seq = self.seq.saturating_add(1);
        self.keys_seq = Some(self.seq);
    }

    async fn put_keys(
        &mut self,
        issuer: &str,
        stored: Option<&StoredKeys>,
        texts: &KeyTexts,
        is_change: bool,
    ) -> Result<(), Error> {
        const UPDATE: &str = "UPDATE key_sets SET seq = $2, jwks = $3, listed = $4, holds = $5, source = $6, \
            changed_at = $7, listed_at = $8 WHERE issuer_id = $1";
        const INSERT: &str = "INSERT INTO key_sets \
            (issuer_id, seq, jwks, listed, holds, source, changed_at, listed_at, issuer) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let (seq, changed_at) = match stored {
            Some(stored) if !is_change => (stored.seq, stored.changed_at),
            _ => (self.seq, self.moment.now),
        };
        let id = IssuerId::of(issuer);
        let (jwks, listed, holds) = (texts.jwks.as_str(), texts.listed.as_str(), texts.holds.as_str());
        let source = cut(&texts.source);
        let row = values![id.as_bytes(), seq, jwks, listed, holds, source, changed_at, texts.listed_at];
        if stored.is_some() {
            return self.link.execute(UPDATE, row).await.map(drop);
        }
        let row: Vec<_> = row.iter().copied().chain([issuer.into()]).collect();
        self.link.execute(INSERT, &row).await.map(drop)
    }
}

async fn stored_keys(link: &mut Link<'_>, id: &IssuerId) -> Result<Option<StoredKeys>, Error> {
    const KEYS: &str = "SELECT issuer, seq AS place, jwks, listed, holds, source, changed_at, listed_at \
        FROM key_sets WHERE issuer_id = $1";
    let rows = link.fetch(KEYS, values![id.as_bytes()]).await?;
    Ok(rows.first().map(keys_in).transpose()?.flatten())
}

async fn stored_fetch(link: &mut Link<'_>, id: &IssuerId) -> Result<Option<StoredFetch>, Error> {
    const FETCH: &str = "SELECT started_at_ms, demanded_at_ms, claimed_until_ms, finished_at_ms, good_at_ms, next_at_ms, etag, fresh_for, \
        failures, error_code, error, source_hash FROM key_fetches WHERE issuer_id = $1";
    let rows = link.fetch(FETCH, values![id.as_bytes()]).await?;
    Ok(rows.first().map(fetch_in).transpose()?.flatten())
}

/// The bytes of all other issuers' sets in force.
async fn size_of_others(link: &mut Link<'_>, id: &IssuerId) -> Result<usize, Error> {
    const SIZES: &str = "SELECT octet_length(jwks) AS size FROM key_sets WHERE issuer_id <> $1";
    let rows = link.fetch(SIZES, values![id.as_bytes()]).await?;
    rows.iter().try_fold(0_usize, |sum, row| {
        let size = usize::try_from(row.count("size")?).unwrap_or(usize::MAX);
        Ok(sum.saturating_add(size))
    })
}

async fn put_fetch(link: &mut Link<'_>, id: &IssuerId, exists: bool, fetch: &StoredFetch) -> Result<(), Error> {
    const UPDATE: &str = "UPDATE key_fetches SET started_at_ms = $2, claimed_until_ms = $3, finished_at_ms = $4, \
        good_at_ms = $5, next_at_ms = $6, etag = $7, fresh_for = $8, failures = $9, error_code = $10, error = $11, \
        demanded_at_ms = $12, source_hash = $13 \
        WHERE issuer_id = $1";
    const INSERT: &str = "INSERT INTO key_fetches (issuer_id, started_at_ms, claimed_until_ms, finished_at_ms, good_at_ms, \
        next_at_ms, etag, fresh_for, failures, error_code, error, demanded_at_ms, source_hash) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    // Half of an etag would be another etag.
    let etag = fetch.etag.as_deref().filter(|etag| etag.len() <= TEXT_BYTES);
    let row = values![
        id.as_bytes(),
        fetch.started_at_ms,
        fetch.claimed_until_ms,
        fetch.finished_at_ms,
        fetch.good_at_ms,
        fetch.next_at_ms,
        etag,
        fetch.fresh_for,
        fetch.failures,
        fetch.error_code.as_deref().map(cut),
        fetch.error.as_deref().map(cut),
        fetch.demanded_at_ms,
        fetch.source_hash,
    ];
    link.execute(if exists { UPDATE } else { INSERT }, row).await.map(drop)
}

/// The longest beginning of a text that its column holds.
fn cut(text: &str) -> &str {
    let end = (0..=TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// The row's set; `None` if the join found none.
fn handed_out(row: &Row) -> Result<Option<HandedOut>, Error> {
    // An empty text stands for keys that are not known any more.
    let Some(jwks) = row.optional_text("jwks")?.filter(|jwks| !jwks.is_empty()) else { return Ok(None) };
    Ok(Some(HandedOut { issuer: row.text("issuer")?, seq: row.count("place")?, jwks }))
}

/// The row's issuer; `None` if there is none.
fn shelf_row(row: &Row) -> Result<Option<ShelfRow>, Error> {
    let (keys, fetch) = (keys_in(row)?, fetch_in(row)?);
    if keys.is_none() && fetch.is_none() {
        return Ok(None);
    }
    Ok(Some(ShelfRow { issuer: IssuerId::from_bytes(row.sixteen("issuer_id")?), keys, fetch }))
}

fn keys_in(row: &Row) -> Result<Option<StoredKeys>, Error> {
    let Some(jwks) = row.optional_text("jwks")? else { return Ok(None) };
    let texts = KeyTexts {
        jwks,
        listed: row.text("listed")?,
        holds: row.text("holds")?,
        source: row.text("source")?,
        listed_at: row.integer("listed_at")?,
    };
    let (issuer, seq) = (row.text("issuer")?, row.count("place")?);
    Ok(Some(StoredKeys { issuer, seq, changed_at: row.integer("changed_at")?, texts }))
}

fn fetch_in(row: &Row) -> Result<Option<StoredFetch>, Error> {
    let Some(failures) = row.optional_count("failures")? else { return Ok(None) };
    Ok(Some(StoredFetch {
        started_at_ms: row.optional_integer("started_at_ms")?,
        source_hash: row.optional_integer("source_hash")?,
        demanded_at_ms: row.optional_integer("demanded_at_ms")?,
        claimed_until_ms: row.optional_integer("claimed_until_ms")?,
        finished_at_ms: row.optional_integer("finished_at_ms")?,
        good_at_ms: row.optional_integer("good_at_ms")?,
        next_at_ms: row.optional_integer("next_at_ms")?,
        etag: row.optional_text("etag")?,
        fresh_for: row.optional_integer("fresh_for")?,
        failures,
        error_code: row.optional_text("error_code")?,
        error: row.optional_text("error")?,
    }))
}
