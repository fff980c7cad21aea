//! Hosts, requests and verdicts for all stories.

use anyhow::{Context as _, Result, bail};
use curfew_testbed::tokens::{self, Signer, claims, with};
use curfew_testbed::wasm_host::{Callout, Host, Outcome, START, Setup, StreamId};
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "a-secret-for-the-stories-0123456789";
pub(crate) const INTERNAL_SECRET: &str = "an-internal-secret-0123456789abcdef";

pub(crate) fn configuration() -> Value {
    json!({
        "issuers": [{"issuer": tokens::ISSUER, "secret": SECRET, "algorithm": "HS256"}],
        "identity_headers": {"x-user-id": "sub"},
        "control_plane": {
            "cluster": "curfew", "authority": "curfew.internal", "secret": INTERNAL_SECRET, "timeout": "250ms",
        },
        "consistency": "bounded",
        "max_staleness": "5s",
    })
}

pub(crate) fn configured(changes: Value) -> Setup {
    Setup::new(&with(configuration(), changes))
}

pub(crate) fn host() -> Result<Host> {
    Host::start(&Setup::new(&configuration()))
}

/// Claims of a token made when the hosts' clocks start, valid for ten minutes.
pub(crate) fn claims_of(user: &str) -> Value {
    with(claims(user), json!({"iat": START, "exp": START + 600}))
}

pub(crate) fn sign(claims: &Value) -> Result<String> {
    Signer::from_secret(SECRET).sign(claims)
}

pub(crate) fn token() -> Result<String> {
    sign(&claims_of("alice"))
}

pub(crate) type Headers<'a> = Vec<(&'a str, &'a [u8])>;

pub(crate) fn get<'a>(path: &'a str, more: &[(&'a str, &'a [u8])]) -> Headers<'a> {
    let mut headers: Headers<'a> =
        vec![(":method", b"GET"), (":path", path.as_bytes()), (":scheme", b"http"), (":authority", b"shop.example")];
    headers.extend(more);
    headers
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// `GET /orders` with a token.
pub(crate) fn send(host: &mut Host, token: &str) -> Result<(StreamId, Outcome)> {
    host.request(&get("/orders", &[("authorization", bearer(token).as_bytes())]))
}

pub(crate) fn only_callout(host: &Host) -> Result<Callout> {
    match host.callouts().as_slice() {
        [callout] => Ok(callout.clone()),
        others => bail!("{} callouts are waiting: {others:?}", others.len()),
    }
}

pub(crate) fn verdict(verdict: &str) -> Vec<u8> {
    json!({"epoch": "0123456789abcdef0123456789abcdef", "seq": 7, "verdict": verdict}).to_string().into_bytes()
}

pub(crate) fn answer(host: &mut Host, says: &str) -> Result<()> {
    let callout = only_callout(host)?;
    host.answer(callout.token, 200, &verdict(says))
}

/// Sends a request that has to wait, and answers its question.
pub(crate) fn send_and_answer(host: &mut Host, token: &str, says: &str) -> Result<Outcome> {
    let (stream, outcome) = send(host, token)?;
    if outcome != Outcome::Paused {
        bail!("nothing was asked: {outcome:?}");
    }
    answer(host, says)?;
    host.outcome(stream)
}

/// The headers as the upstream gets them.
pub(crate) fn admitted(outcome: &Outcome) -> Result<&curfew_testbed::wasm_host::HeaderMap> {
    match outcome {
        Outcome::Continued { headers } => Ok(headers),
        other => bail!("not admitted: {other:?}"),
    }
}

/// Status and code of a local reply, after checking the parts that all refusals share.
pub(crate) fn refusal(outcome: &Outcome) -> Result<(u32, String)> {
    let Outcome::LocalReply { status, headers, body, details, .. } = outcome else {
        bail!("not refused: {outcome:?}");
    };
    let problem: Value = serde_json::from_str(body).context("the body is no JSON")?;
    let code = problem["code"].as_str().context("the problem has no code")?.to_owned();
    assert_eq!(problem["status"], json!(status));
    assert_eq!(*details, format!("curfew_{code}"));
    assert_eq!(headers.get("content-type").as_deref(), Some("application/problem+json"));
    assert_eq!(headers.get("cache-control").as_deref(), Some("no-store"));
    match status {
        401 => {
            assert_eq!(problem["title"], "Unauthorized");
            let challenge = headers.get("www-authenticate").context("no challenge")?;
            assert_eq!(challenge.contains("error="), code != "token_missing", "{challenge}");
        }
        503 => assert_eq!(headers.get("retry-after").as_deref(), Some("1")),
        other => bail!("a refusal with {other}"),
    }
    Ok((*status, code))
}

pub(crate) fn refused(outcome: &Outcome, status: u32, code: &str) {
    assert_eq!(refusal(outcome).unwrap_or_else(|error| panic!("{error:#}")), (status, code.to_owned()));
}
