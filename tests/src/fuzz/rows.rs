//! The first inputs of a run: the rows of the table of attacks as inputs of each target, and examples where there are
//! no rows.

use anyhow::Result;
use curfew_core::wire::{CheckAnswer, CheckRequest, CheckVerdict, RegisterAnswer, RegisterRequest, RegisterToken};
use curfew_core::{Keyspace, RevocationKey};
use curfew_filter::header_map::encode;
use serde_json::json;

use super::base64::canonical;
use super::fixed::{NOW, fixed};
use super::script::SEPARATOR;
use super::{Seed, head};
use crate::attacks::{Attack, Keys, rows};
use crate::http::Request;

const EPOCH: &str = "00112233445566778899aabbccddeeff";

/// Every row about a token, and a good token of each algorithm.
pub(super) fn tokens() -> Result<Vec<Seed>> {
    let keys = Keys::fixed(NOW)?;
    let forge = keys.forge("alice");
    let mut seeds = Vec::new();
    for row in rows() {
        seeds.extend(row.token(&forge)?.map(|token| Seed::new(&row.id, token)));
    }
    let third = fixed()?.third_tokens()?.into_iter();
    seeds.extend(third.map(|(algorithm, token)| Seed::new(format!("good-{algorithm}"), token)));
    Ok(seeds)
}

/// The claims of every row's token that can be read.
pub(super) fn payloads() -> Result<Vec<Seed>> {
    let payload = |seed: Seed| {
        let payload = seed.input.split(|&byte| byte == b'.').nth(1).and_then(canonical)?;
        (payload.len() < 4096).then(|| Seed::new(seed.name, payload))
    };
    Ok(tokens()?.into_iter().filter_map(payload).collect())
}

/// The head of every row's request.
pub(super) fn heads() -> Result<Vec<Seed>> {
    requests(|_, request| head::written(pairs(request)))
}

/// Every row's request target under rules that open some of the paths.
pub(super) fn targets() -> Result<Vec<Seed>> {
    const RULES: [(&str, &str); 2] = [
        ("open", r#"[{"prefix":"/public/","action":"skip"},{"path":"/orders","methods":["GET"],"action":"optional"}]"#),
        (
            "closed",
            r#"[{"prefix":"/public/admin","action":"require"},{"path":"/orders","methods":["GET","POST"],"action":"require"},{"prefix":"/","action":"skip"}]"#,
        ),
    ];
    let mut seeds = Vec::new();
    for (name, rules) in RULES {
        let inputs = requests(|row, request| match row {
            Attack::Target(_) => [rules.as_bytes(), b"\n", &head::written(pairs(request))].concat(),
            _ => Vec::new(),
        })?;
        seeds.extend(inputs.into_iter().map(|seed| Seed::new(format!("{}-{name}", seed.name), seed.input)));
    }
    seeds.retain(|seed| !seed.input.is_empty());
    Ok(seeds)
}

/// Every row's request, sent twice to the same filter, and its question answered.
pub(super) fn scripts() -> Result<Vec<Seed>> {
    requests(|_, request| {
        let headers: Vec<_> = pairs(request).map(|(name, value)| [name, b":", value].concat()).collect();
        let request = headers.join(&SEPARATOR);
        [b"k0\nr", request.as_slice(), b"\n+0\nr", &request].concat()
    })
}

/// Configurations, from the smallest to one with everything.
pub(super) fn configurations() -> Result<Vec<Seed>> {
    let small = json!({
        "issuers": [{"secret": "0123456789abcdef0123456789abcdef"}],
        "control_plane": {"cluster": "curfew", "secret": "0123456789abcdef"},
    });
    let issuers = &fixed()?.issuers;
    let whole = json!({
        "issuers": issuers.as_array().into_iter().flatten().take(2).collect::<Vec<_>>(),
        "sources": [{"header": "authorization"}, {"cookie": "access_token"}, {"query": "access_token"}],
        "rules": [{"prefix": "/public", "methods": ["GET"], "action": "skip"}, {"path": "/", "action": "optional"}],
        "identity_headers": {"x-user-id": "sub", "x-role": "role"},
        "control_plane": {"cluster": "c", "secret": "0123456789abcdef", "authority": "curfew", "timeout": "500ms"},
        "consistency": "bounded", "max_staleness": "5s", "on_unavailable": "deny", "user_claim": "sub",
        "issued_at_claim": "auth_time", "token_types": ["JWT"], "allow_missing_exp": true, "clock_skew": "5s",
        "max_token_ttl": "30d", "cache_bytes": 1_000_000, "report_only": true,
    });
    let third = json!({"issuers": issuers.get(2), "x": {}});
    let documents = [("small", small), ("whole", whole), ("third", third), ("list", json!([1, null]))];
    Ok(documents.into_iter().map(|(name, document)| Seed::new(name, document.to_string())).collect())
}

/// A message of each kind.
pub(super) fn messages() -> Result<Vec<Seed>> {
    let key = RevocationKey::from_bytes([0x5a; 16]);
    let question = CheckRequest {
        keyspace: Keyspace::from_bytes([1; 16]),
        token: key,
        jti: Some(key),
        session: Some(key),
        subject: Some(key),
        issued_at: Some(1_700_000_000),
    };
    let answer =
        CheckAnswer { epoch: EPOCH.to_owned(), seq: 7, keys_seq: 0, verdict: CheckVerdict::Revoked, same_second: true };
    let token = RegisterToken { token: "a.b.c".to_owned(), user_agent: Some("curl/8".to_owned()), ip: None };
    let registration = RegisterRequest { tokens: vec![token.clone(), token] };
    let without_user = std::num::NonZeroUsize::new(1);
    let registered = RegisterAnswer { registered: 1, known: 2, revoked: 1, without_user };
    let of = |kind: &str, message: Vec<u8>| [kind.as_bytes(), &message].concat();
    Ok(vec![
        Seed::new("check", of("c", serde_json::to_vec(&question)?)),
        Seed::new("answer", of("a", serde_json::to_vec(&answer)?)),
        Seed::new("register", of("r", serde_json::to_vec(&registration)?)),
        Seed::new("registered", of("d", serde_json::to_vec(&registered)?)),
        Seed::new("key", of("k", key.to_string().into_bytes())),
        Seed::new("map", of("m", encode(&[(":path", "/"), ("cookie", ""), ("x", "y")]))),
        Seed::new("lines", of("l", b":path:/\ncookie:\nx:y".to_vec())),
    ])
}

/// An input for each row, made from its request. Requests that are too large for a proxy are left out.
fn requests(input: impl Fn(&Attack, &Request) -> Vec<u8>) -> Result<Vec<Seed>> {
    let keys = Keys::fixed(NOW)?;
    let forge = keys.forge("alice");
    let mut seeds = Vec::new();
    for row in rows() {
        let request = row.request(&forge)?;
        seeds.push(Seed::new(&row.id, input(&row.attack, &request)));
    }
    seeds.retain(|seed| seed.input.len() < 16 * 1024);
    Ok(seeds)
}

/// The request's headers, the pseudo-headers first.
fn pairs(request: &Request) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pseudo = [(&b":method"[..], request.method.as_bytes()), (b":path", request.target.as_bytes())];
    pseudo.into_iter().chain(request.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
}
