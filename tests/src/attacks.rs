//! Attacks as data: one row for each trick, with the answer that it must get.
//!
//! The same rows run against the core's policy, against the control plane, through a real Envoy, and beside Envoy's own
//! `jwt_authn`. A row describes how its request is made; `tests/attacks/` and `cargo measure attacks` judge the
//! answers. `tests/attacks.md` is generated from these rows.

mod arena;
mod brought;
mod claims;
mod framing;
mod header;
mod keys;
mod page;
mod paths;
mod play;
mod raw;
mod signature;
mod stories;
mod transport;

use anyhow::Result;
use curfew_core::{Denial, TokenError};

pub use arena::{Arena, Mode, Standing, configuration};
pub(crate) use keys::primes::rsa_pem;
pub use keys::{Forge, Keys};
pub(crate) use keys::{ISSUER, OTHER_ISSUER, OTHER_SECRET};
pub use page::{Comparison, FIRST_LINE, listed, rendered};
pub use play::Verdict;
pub use stories::STORIES;

use crate::http::Request;

/// Why Envoy changes some values on their way.
const BARE_CR: &str = "Envoy's HTTP/1.1 codec drops a bare CR, so neither the filter nor the upstream ever sees it";

/// Why a token with such a character does not arrive at all.
const NO_FIELD_VALUE: &str = "it is no field value (RFC 9110 section 5.5)";

/// The answer that a row must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// 200, and the upstream (or the logout endpoint) saw it.
    Admitted,
    /// 200, and the upstream was told of no user.
    Nameless,
    /// 401. Natively, the token breaks exactly this rule.
    Breaks(TokenError),
    /// 401 with this denial's code; there is no single token to judge natively.
    Refused(Denial),
    /// 400 from the first HTTP parser that reads it: it is no HTTP request.
    NotHttp,
    /// Nothing behind the path can be reached without a token.
    Closed,
    /// The path needs no token.
    Open,
}

impl Expected {
    /// For people.
    pub fn text(self) -> String {
        match self {
            Self::Admitted => "admitted".to_owned(),
            Self::Nameless => "admitted, and no user is told".to_owned(),
            Self::Breaks(error) => format!("401 `{}`", error.denial().code()),
            Self::Refused(denial) => format!("401 `{}`", denial.code()),
            Self::NotHttp => "400".to_owned(),
            Self::Closed => "not reached".to_owned(),
            Self::Open => "open".to_owned(),
        }
    }
}

type Make<T> = Box<dyn Fn(&Forge<'_>) -> Result<T> + Send + Sync>;

/// How a row's request is made.
pub enum Attack {
    /// A token's text, sent as `Authorization: Bearer`. Natively it is judged as it stands.
    Token(Make<Vec<u8>>),
    /// Header lines that both sides read.
    Lines(Make<Vec<(String, Vec<u8>)>>),
    /// A whole request, for the filter alone.
    Request(Make<Request>),
    /// A request target, sent without any token, for the filter alone.
    Target(String),
}

/// One trick.
pub struct Row {
    /// Its stable name.
    pub id: String,
    /// The section of the table that lists it.
    pub section: &'static str,
    /// What it tries, for people.
    pub asks: String,
    /// The answer that it must get.
    pub expected: Expected,
    /// How it is made.
    pub attack: Attack,
    /// Why the control plane does not get this row.
    pub filter_only: Option<&'static str>,
    /// Another answer behind Envoy, and why that is right.
    pub behind_envoy: Option<(Expected, &'static str)>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Row({})", self.id)
    }
}

impl Row {
    fn new(section: &'static str, id: &str, asks: &str, expected: Expected, attack: Attack) -> Self {
        let id = format!("{section}-{id}");
        Self { id, section, asks: asks.to_owned(), expected, attack, filter_only: None, behind_envoy: None }
    }

    /// The same row with another answer behind Envoy.
    fn behind_envoy(mut self, expected: Expected, why: &'static str) -> Self {
        self.behind_envoy = Some((expected, why));
        self
    }

    /// The token's text, if the row is about one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn token(&self, forge: &Forge<'_>) -> Result<Option<Vec<u8>>> {
        match &self.attack {
            Attack::Token(make) => make(forge).map(Some),
            _ => Ok(None),
        }
    }

    /// The request to a protected path of the service.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn request(&self, forge: &Forge<'_>) -> Result<Request> {
        let orders = Request::get("/orders");
        Ok(match &self.attack {
            Attack::Token(make) => orders.header("authorization", [b"Bearer ", make(forge)?.as_slice()].concat()),
            Attack::Lines(make) => {
                let mut request = orders;
                request.headers = make(forge)?;
                request
            }
            Attack::Request(make) => make(forge)?,
            Attack::Target(target) => Request::get(target),
        })
    }

    /// The same credentials at the logout endpoint; `None` for rows that only the filter can get.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn logout(&self, forge: &Forge<'_>) -> Result<Option<Request>> {
        let (Attack::Token(_) | Attack::Lines(_), None) = (&self.attack, self.filter_only) else {
            return Ok(None);
        };
        let mut request = self.request(forge)?;
        request.method = "POST".to_owned();
        request.target = "/api/v2/logout".to_owned();
        Ok(Some(request))
    }
}

/// All rows, section by section.
pub fn rows() -> Vec<Row> {
    [framing::rows(), header::rows(), claims::rows(), signature::rows(), transport::rows(), paths::rows()]
        .into_iter()
        .flatten()
        .collect()
}

/// A row about a token that breaks a rule.
fn bad<F>(section: &'static str, id: &str, asks: &str, rule: TokenError, make: F) -> Row
where
    F: Fn(&Forge<'_>) -> Result<Vec<u8>> + Send + Sync + 'static,
{
    Row::new(section, id, asks, Expected::Breaks(rule), Attack::Token(Box::new(make)))
}

/// A row about a token that is odd but good.
fn good<F>(section: &'static str, id: &str, asks: &str, make: F) -> Row
where
    F: Fn(&Forge<'_>) -> Result<Vec<u8>> + Send + Sync + 'static,
{
    Row::new(section, id, asks, Expected::Admitted, Attack::Token(Box::new(make)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_and_a_text_of_its_own() {
        let rows = rows();
        let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let texts: BTreeSet<(&str, &str)> = rows.iter().map(|row| (row.section, row.asks.as_str())).collect();
        assert_eq!((ids.len(), texts.len()), (rows.len(), rows.len()));
    }

    #[test]
    fn no_text_breaks_the_table() {
        for row in rows() {
            assert!(!row.asks.contains(['|', '\n']) && !row.asks.is_empty(), "{}", row.id);
        }
    }
}
