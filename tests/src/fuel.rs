//! Instructions inside the shipped module for one request, counted by wasmtime. The count is the same on every machine
//! and under any load, so a test can see that a change costs more.
//!
//! Fuel counts WebAssembly instructions, not time; Envoy's V8 compiles them to other machine code. Callouts, the host's
//! copies of headers and the host's `verify_signature` are not counted. A request is counted from the creation of its
//! context to the end.

mod record;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use curfew_core::wire::{CHECK_PATH, FEED_PATH, FeedAnswer, FeedRequest, FeedRevocation};
use curfew_core::{Epoch, Kind, RevocationKey};
use serde_json::{Value, json};

use crate::attacks::rsa_pem;
use crate::tokens::{ALGORITHMS, Signer, jwks, with};
use crate::wasm_host::{Callout, Host, Outcome, START, Setup};

pub use record::{Figures, Record, compare, read, write};

const ACTIVE: &str = r#"{"epoch":"00000000000000000000000000000000","seq":1,"verdict":"active"}"#;

/// How many revocations the worker's copy holds.
const REVOCATIONS: u32 = 1_000;

/// Instructions for each measured case, by its name. Keys and tokens are the same in every run.
///
/// For each algorithm, in strict mode with a lease: `cold` is a token that is new to the worker, `warm` one that is
/// known, and `forged` has a signature of the right form that is not the issuer's. Names with `alone` are measured
/// without the host's `verify_signature`.
///
/// # Errors
/// When the module cannot be built, or decides otherwise than expected.
pub fn measure() -> Result<Figures> {
    let mut figures = Figures::new();
    let pem = rsa_pem()?;
    for algorithm in ALGORITHMS {
        let signer = Signer::fixed(algorithm, &pem)?;
        of_algorithm(&mut figures, algorithm, &signer, true)?;
        if uses_host(algorithm) {
            of_algorithm(&mut figures, &format!("{algorithm} alone"), &signer, false)?;
        }
    }
    let signer = Signer::fixed("ES256", &pem)?;
    refusals(&mut figures, &signer)?;
    bounded(&mut figures, &signer)?;
    Ok(figures)
}

/// True if the filter leaves this algorithm to the host's `verify_signature`.
fn uses_host(algorithm: &str) -> bool {
    algorithm.starts_with("RS") || algorithm.starts_with("ES")
}

fn configuration(signer: &Signer) -> Value {
    json!({
        "issuers": [{"issuer": "https://issuer.example", "jwks": jwks([signer])}],
        "identity_headers": {"x-user-id": "sub"},
        "control_plane": {"cluster": "curfew", "authority": "curfew.internal", "secret": "0123456789abcdef0123456789abcdef"},
        "consistency": "strict",
    })
}

/// A token of its own for each number.
fn token(signer: &Signer, number: i64, expires: i64) -> Result<String> {
    let claims: Value = json!({
        "iss": "https://issuer.example", "sub": "alice", "jti": format!("token-{number:04}"), "iat": START, "exp": expires,
    });
    signer.sign(&claims)
}

/// A worker with a lease, whose copy holds [`REVOCATIONS`] revocations, that of the token `revoked` among them. Also
/// returns how many instructions it took to apply them.
fn leased(signer: &Signer, with_host: bool, revoked: &str) -> Result<(Host, u64)> {
    let setup = Setup::new(&configuration(signer));
    let mut host = Host::start(&if with_host { setup } else { setup.without_verify_signature() })?;
    send(&mut host, &format!("Bearer {}", token(signer, 1, START + 600)?))?;
    let poll = callouts_to(&host, FEED_PATH).pop().context("no poll is under way")?;
    let before = host.total_fuel();
    host.answer(poll.token, 200, &serde_json::to_vec(&page(&poll, revoked)?)?)?;
    let page = host.total_fuel() - before;
    Ok((host, page))
}

fn callouts_to(host: &Host, path: &str) -> Vec<Callout> {
    host.callouts().into_iter().filter(|callout| callout.headers.get(":path").as_deref() == Some(path)).collect()
}

fn page(poll: &Callout, revoked: &str) -> Result<FeedAnswer> {
    let from = serde_json::from_slice::<FeedRequest>(&poll.body)?.applied;
    let (signing_input, _) = revoked.rsplit_once('.').context("a token has dots")?;
    let others = (1..REVOCATIONS).map(|number| RevocationKey::token(&number.to_be_bytes()));
    let keys = others.chain([RevocationKey::token(signing_input.as_bytes())]);
    let expires_at = START + 3_600;
    let revocations = keys.map(|key| FeedRevocation { kind: Kind::Token, key, cutoff: START, expires_at }).collect();
    let (epoch, to) = (Epoch::from_bytes([0x11; 16]), REVOCATIONS.into());
    Ok(FeedAnswer { epoch, from, to, more: false, keys_seq: 0, revocations, lease_ms: 2_000, fresh_ms: 0 })
}

/// Sends one request. Returns its outcome, its instructions, and separately those of the answer to its question, if it
/// asked one.
fn send(host: &mut Host, authorization: &str) -> Result<(Outcome, u64, u64)> {
    let headers: [(&str, &[u8]); 7] = [
        (":method", b"GET"),
        (":path", b"/orders?page=2"),
        (":authority", b"shop.example"),
        (":scheme", b"https"),
        ("user-agent", b"curl/8.5.0"),
        ("accept", b"*/*"),
        ("authorization", authorization.as_bytes()),
    ];
    let before = host.total_fuel();
    let (stream, _) = host.request(&headers)?;
    let asked = host.total_fuel();
    for callout in callouts_to(host, CHECK_PATH) {
        host.answer(callout.token, 200, ACTIVE.as_bytes())?;
    }
    let answer = host.total_fuel() - asked;
    let outcome = host.outcome(stream)?;
    host.close(stream)?;
    Ok((outcome, host.total_fuel() - before - answer, answer))
}

fn admitted(host: &mut Host, token: &str) -> Result<(u64, u64)> {
    match send(host, &format!("Bearer {token}"))? {
        (Outcome::Continued { .. }, request, answer) => Ok((request, answer)),
        (outcome, ..) => bail!("a good token is not admitted: {outcome:?}"),
    }
}

/// Expects that the copy alone admits the request.
fn decided(host: &mut Host, token: &str) -> Result<u64> {
    match admitted(host, token)? {
        (request, 0) => Ok(request),
        _ => bail!("the filter asked about a token though it has a lease"),
    }
}

fn refused(host: &mut Host, authorization: &str) -> Result<u64> {
    match send(host, authorization)? {
        (Outcome::LocalReply { .. }, request, 0) => Ok(request),
        (outcome, ..) => bail!("not refused at once: {outcome:?}"),
    }
}

fn of_algorithm(figures: &mut Figures, name: &str, signer: &Signer, with_host: bool) -> Result<()> {
    let [good, other, cold] = [2, 3, 4].map(|number| token(signer, number, START + 600));
    let (good, other, cold) = (good?, other?, cold?);
    let (mut host, _) = leased(signer, with_host, &other)?;
    let forged = format!("Bearer {}", with_signature_of(&good, &other)?);
    // Each once in advance, so that work that is done once per VM is not counted.
    decided(&mut host, &good)?;
    refused(&mut host, &forged)?;
    figures.insert(format!("{name} cold"), decided(&mut host, &cold)?);
    figures.insert(format!("{name} warm"), decided(&mut host, &good)?);
    figures.insert(format!("{name} forged"), refused(&mut host, &forged)?);
    Ok(())
}

fn with_signature_of(token: &str, other: &str) -> Result<String> {
    let signed = token.rsplit_once('.').zip(other.rsplit_once('.'));
    let ((signing_input, _), (_, signature)) = signed.context("tokens have dots")?;
    Ok(format!("{signing_input}.{signature}"))
}

/// Refusals that need no algorithm, and the cost of a page of revocations.
fn refusals(figures: &mut Figures, signer: &Signer) -> Result<()> {
    let revoked = token(signer, 2, START + 600)?;
    let expired = format!("Bearer {}", token(signer, 3, START - 600)?);
    let (mut host, page) = leased(signer, true, &revoked)?;
    let revoked = format!("Bearer {revoked}");
    let cases = [
        ("no token", ""),
        ("not a JWT", "Bearer not-a-token"),
        ("expired", expired.as_str()),
        ("revoked", revoked.as_str()),
    ];
    for (name, authorization) in cases {
        refused(&mut host, authorization)?;
        figures.insert(format!("{name}, refused"), refused(&mut host, authorization)?);
    }
    figures.insert(format!("a page of {REVOCATIONS} revocations"), page);
    Ok(())
}

/// Bounded mode, in which the filter asks about each token.
fn bounded(figures: &mut Figures, signer: &Signer) -> Result<()> {
    let configuration = with(configuration(signer), json!({"consistency": "bounded"}));
    let mut host = Host::start(&Setup::new(&configuration))?;
    admitted(&mut host, &token(signer, 1, START + 600)?)?;
    let token = token(signer, 2, START + 600)?;
    let (request, answer) = admitted(&mut host, &token)?;
    figures.insert("bounded: ES256 asking".to_owned(), request);
    figures.insert("bounded: ES256 answered".to_owned(), answer);
    figures.insert("bounded: ES256 known".to_owned(), decided(&mut host, &token)?);
    Ok(())
}

/// The figures of one kind by algorithm, for a table.
pub fn kind<'a>(figures: &'a Figures, kind: &'a str) -> BTreeMap<&'a str, u64> {
    figures.iter().filter_map(|(name, fuel)| Some((name.strip_suffix(kind)?.trim_end(), *fuel))).collect()
}
