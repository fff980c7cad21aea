//! The requests for each listener.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use curfew_testbed::measure::{Client, Expected, Supply, Variant};
use curfew_testbed::stack::Stack;
use curfew_testbed::tokens::Signer;

use super::listeners::{BARE, BEHIND, BOTH, CURFEW, CURFEW_COLD, EXT_AUTHZ, JWT_AUTHN, JWT_AUTHN_CACHED};
use super::{Arguments, Consistency};
use crate::tokens::{Keys, badly_signed, good, requests};

/// Cold tokens of each algorithm, sent again and again: eight times as many as the cold listener's cache has room for.
const COLD: usize = 400;

/// Forgeries. None is ever cached.
const FORGED: usize = 1_000;

/// New tokens in one burst of the variants with a real question.
const ASKED: usize = 200;

/// Within this time a worker in strict mode has reported its counts to the host.
pub(super) const TOLD: Duration = Duration::from_secs(1);

/// Far longer than some hundred requests take.
const PATIENCE: Duration = Duration::from_secs(60);

const ADMITTED: Expected = Expected { status: 200, says: "" };

/// One variant: requests for a listener.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) listener: &'static str,
    pub(super) expected: Expected,
    pub(super) requests: Vec<Vec<u8>>,
    /// How many bursts share the requests, if each is sent once.
    once_in: Option<usize>,
}

impl Row {
    /// The same requests again and again.
    fn admitted(name: &'static str, listener: &'static str, tokens: &[String]) -> Self {
        Self { name, listener, expected: ADMITTED, requests: requests(tokens), once_in: None }
    }

    fn refused(name: &'static str, listener: &'static str, tokens: &[String], says: &'static str) -> Self {
        Self { expected: Expected { status: 401, says }, ..Self::admitted(name, listener, tokens) }
    }

    fn supply(&self) -> Supply {
        let requests = self.requests.clone();
        match self.once_in {
            Some(bursts) => Supply::once(requests, bursts),
            None => Supply::repeated(requests),
        }
    }

    /// True if a request may be sent more than once.
    pub(super) fn repeats(&self) -> bool {
        self.once_in.is_none()
    }
}

/// A row, and how its requests are made.
type Making<'a> = (&'static str, Box<dyn FnOnce() -> Result<Row> + 'a>);

/// The rows that are wanted, the bare listener first.
pub(super) fn rows(keys: &Keys, stack: &Stack, arguments: &Arguments) -> Result<Vec<Row>> {
    let known = good(&keys.rs256, 1)?;
    let mut all = envoys_own(keys, &known);
    all.extend(curfews(keys, &known, stack));
    if arguments.consistency == Consistency::Bounded {
        all.extend(questions(keys, &known, usize::try_from(arguments.rounds)? + 1));
    }
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|part| name.contains(part));
    let rows = all.into_iter().filter(|(name, _)| *name == BARE || wanted(name));
    rows.map(|(_, make)| make()).collect()
}

fn envoys_own<'a>(keys: &'a Keys, known: &'a [String]) -> Vec<Making<'a>> {
    let one = |name, listener| -> Making<'a> { (name, Box::new(move || Ok(Row::admitted(name, listener, known)))) };
    let of = |name, signer: &'a Signer| -> Making<'a> {
        (name, Box::new(move || Ok(Row::admitted(name, JWT_AUTHN, &good(signer, 1)?))))
    };
    let refuse = move || {
        let forged = badly_signed(&keys.rs256, FORGED)?;
        Ok(Row::refused("jwt_authn_bad_rs256", JWT_AUTHN, &forged, "Jwt verification fails"))
    };
    vec![
        one(BARE, BARE),
        one("jwt_authn_cached", JWT_AUTHN_CACHED),
        of("jwt_authn_rs256", &keys.rs256),
        of("jwt_authn_es256", &keys.es256),
        of("jwt_authn_eddsa", &keys.eddsa),
        of("jwt_authn_hs256", &keys.hs256),
        ("jwt_authn_bad_rs256", Box::new(refuse)),
        one("ext_authz", EXT_AUTHZ),
        one("jwt_authn_cached_plus_ext_authz", BOTH),
    ]
}

fn curfews<'a>(keys: &'a Keys, known: &'a [String], stack: &'a Stack) -> Vec<Making<'a>> {
    let unknown =
        |name, signer: &'a Signer| -> Making<'a> { (name, Box::new(move || cold(name, keys, signer, stack))) };
    let refuse = move || {
        let forged = badly_signed(&keys.rs256, FORGED)?;
        Ok(Row::refused("curfew_bad_rs256", CURFEW, &forged, "signature does not verify"))
    };
    vec![
        ("curfew_warm", Box::new(move || Ok(Row::admitted("curfew_warm", CURFEW, known)))),
        unknown("curfew_cold_rs256", &keys.rs256),
        unknown("curfew_cold_es256", &keys.es256),
        unknown("curfew_cold_eddsa", &keys.eddsa),
        unknown("curfew_cold_hs256", &keys.hs256),
        ("curfew_bad_rs256", Box::new(refuse)),
        (BEHIND, Box::new(move || Ok(Row::admitted(BEHIND, BEHIND, known)))),
    ]
}

/// The cost of a question, and of a question that the host refuses.
fn questions<'a>(keys: &'a Keys, known: &'a [String], bursts: usize) -> Vec<Making<'a>> {
    let asking = |name, signer: &'a Signer| -> Making<'a> { (name, Box::new(move || asked(name, signer, bursts))) };
    vec![
        ("curfew_unasked", Box::new(move || Ok(Row::admitted("curfew_unasked", CURFEW_COLD, known)))),
        asking("curfew_cold_rs256_asked", &keys.rs256),
        asking("curfew_cold_hs256_asked", &keys.hs256),
    ]
}

/// The bench's variants of these rows.
pub(super) fn of(rows: &[Row], stack: &Stack) -> Result<Vec<Variant>> {
    rows.iter().map(|row| one(row, row.name, stack)).collect()
}

/// A row's variant under another name.
pub(super) fn one(row: &Row, name: &str, stack: &Stack) -> Result<Variant> {
    Variant::new(name, row.listener, stack.envoy.listener(row.listener)?, row.supply(), row.expected)
}

fn asked(name: &'static str, signer: &Signer, bursts: usize) -> Result<Row> {
    Ok(Row { once_in: Some(bursts), ..Row::admitted(name, CURFEW, &good(signer, ASKED * bursts)?) })
}

/// Fills the cold listener's cache with tokens of no variant, twice each, so that the cache takes them to be in use.
fn occupy(keys: &Keys, stack: &Stack) -> Result<()> {
    let tokens = requests(&good(&keys.hs256, COLD)?);
    send(stack, tokens.into_iter().flat_map(|token| [token.clone(), token]).collect())
}

/// Tokens that the filter has forgotten when they are sent again. Sends all of them twice to check that it has.
fn cold(name: &'static str, keys: &Keys, signer: &Signer, stack: &Stack) -> Result<Row> {
    occupy(keys, stack)?;
    let row = Row::admitted(name, CURFEW_COLD, &good(signer, COLD)?);
    send(stack, row.requests.clone())?;
    let missed = || {
        thread::sleep(TOLD);
        stack.envoy.metric("curfew_proofs_missed")?.context("no counter curfew_proofs_missed")
    };
    let before = missed()?;
    send(stack, row.requests.clone())?;
    let anew = usize::try_from(missed()?.saturating_sub(before))?;
    ensure!(anew >= COLD - COLD / 100, "{name}: only {anew} of {COLD} tokens were proven anew");
    Ok(row)
}

fn send(stack: &Stack, requests: Vec<Vec<u8>>) -> Result<()> {
    let mut client = Client::connect(stack.envoy.listener(CURFEW_COLD)?, 1)?;
    let statuses = client.run(&mut Supply::once(requests, 1).burst(), PATIENCE)?;
    ensure!(statuses.keys().all(|status| *status == ADMITTED.status), "not all are admitted: {statuses:?}");
    Ok(())
}
