//! Instructions inside the module, counted by wasmtime: the same on every machine and under any load.
//!
//! Fuel counts WebAssembly instructions, not time; Envoy's V8 turns them into machine code of its own. Callouts, header
//! copies on the host's side and the host's `verify_signature` are outside.

use anyhow::{Context as _, Result, bail};
use curfew_testbed::tokens::{ALGORITHMS, Signer, claims, jwks, with};
use curfew_testbed::wasm;
use curfew_testbed::wasm_host::{Host, Outcome, START, Setup};
use serde_json::{Value, json};

const ACTIVE: &str = r#"{"epoch":"00000000000000000000000000000000","seq":1,"verdict":"active"}"#;

/// Measures every algorithm, with and without the host's help, and the refusals.
pub(crate) fn measure() -> Result<Value> {
    let module = wasm::build()?;
    let size = std::fs::metadata(&module)?.len();
    println!("{:<34}{:>14}", "module", format!("{size} bytes"));
    println!("{:<34}{:>14}{:>14}{:>14}", "instructions per request", "cold", "answer", "warm");
    let mut rows = Vec::new();
    for algorithm in ALGORITHMS {
        let signer = Signer::generate(algorithm)?;
        rows.push(admitted(&signer, true)?);
        if uses_host(algorithm) {
            rows.push(admitted(&signer, false)?);
        }
    }
    let refused = refused()?;
    Ok(json!({"module_bytes": size, "admitted": rows, "refused": refused}))
}

/// Whether the filter leaves this algorithm to the host's `verify_signature`.
fn uses_host(algorithm: &str) -> bool {
    algorithm.starts_with("RS") || algorithm.starts_with("ES")
}

fn configuration(signer: &Signer) -> Value {
    json!({
        "issuers": [{"issuer": "https://issuer.example", "jwks": jwks([signer])}],
        "identity_headers": {"x-user-id": "sub"},
        "control_plane": {"cluster": "curfew", "authority": "curfew.internal", "secret": "0123456789abcdef0123456789abcdef"},
        "consistency": "bounded",
    })
}

fn token(signer: &Signer, expires: i64) -> Result<String> {
    let times = json!({"iss": "https://issuer.example", "iat": START, "exp": expires});
    signer.sign(&with(claims("alice"), times))
}

fn send(host: &mut Host, authorization: &str) -> Result<(Outcome, u64)> {
    let headers: [(&str, &[u8]); 7] = [
        (":method", b"GET"),
        (":path", b"/orders?page=2"),
        (":authority", b"shop.example"),
        (":scheme", b"https"),
        ("user-agent", b"curl/8.5.0"),
        ("accept", b"*/*"),
        ("authorization", authorization.as_bytes()),
    ];
    let (_, outcome) = host.request(&headers)?;
    Ok((outcome, host.last_fuel()))
}

fn admitted(signer: &Signer, with_host: bool) -> Result<Value> {
    let setup = Setup::new(&configuration(signer));
    let setup = if with_host { setup } else { setup.without_verify_signature() };
    let mut host = Host::start(&setup)?;
    // One request ahead, so that nothing that happens once per VM is counted.
    let authorization = |token: String| format!("Bearer {token}");
    admit(&mut host, &authorization(token(signer, START + 600)?))?;
    let bearer = authorization(token(signer, START + 601)?);
    let (cold, answer) = admit(&mut host, &bearer)?;
    let (outcome, warm) = send(&mut host, &bearer)?;
    if !matches!(outcome, Outcome::Continued { .. }) {
        bail!("a cached token is not admitted: {outcome:?}");
    }
    let name = signer.algorithm().to_owned() + if with_host { "" } else { " (no verify_signature)" };
    println!("{name:<34}{cold:>14}{answer:>14}{warm:>14}");
    Ok(
        json!({"algorithm": signer.algorithm(), "verify_signature": with_host, "cold": cold, "answer": answer, "warm": warm}),
    )
}

/// A first request with a token, and the answer to the question it raises: instructions for each.
fn admit(host: &mut Host, authorization: &str) -> Result<(u64, u64)> {
    let (outcome, cold) = send(host, authorization)?;
    let callout = host.callouts().pop();
    let callout = callout.with_context(|| format!("no question was asked: {outcome:?}"))?;
    host.answer(callout.token, 200, ACTIVE.as_bytes())?;
    Ok((cold, host.last_fuel()))
}

fn refused() -> Result<Value> {
    let signer = Signer::generate("ES256")?;
    let mut host = Host::start(&Setup::new(&configuration(&signer)))?;
    let good = token(&signer, START + 600)?;
    let forged = format!("{}AAAA", good.get(..good.len() - 4).context("a token is long")?);
    let cases = [
        ("no credential", String::new()),
        ("garbage", "Bearer not-a-token".to_owned()),
        ("forged signature", format!("Bearer {forged}")),
        ("expired", format!("Bearer {}", token(&signer, START - 600)?)),
    ];
    let mut rows = Vec::new();
    for (name, authorization) in cases {
        send(&mut host, &authorization)?;
        let (outcome, fuel) = send(&mut host, &authorization)?;
        if !matches!(outcome, Outcome::LocalReply { .. }) {
            bail!("{name} is not refused: {outcome:?}");
        }
        println!("{:<34}{fuel:>14}", format!("refused: {name}"));
        rows.push(json!({"case": name, "instructions": fuel}));
    }
    Ok(Value::Array(rows))
}
