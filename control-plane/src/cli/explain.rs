//! `curfew explain`: why a token is accepted or not, what has revoked it, and which workers know that.

use std::io::Write;

use axum::http::Method;
use clap::Args;
use serde_json::json;

use super::calls::InternalUrl;
use super::inspect::date;
use super::{Failure, token_text};
use crate::cli::client::{Call, CallFailure};
use crate::config::{ClientArgs, Environment};
use crate::explain::{Explanation, Kept, Told};
use crate::store::{Covers, Found, Registered};

pub(super) const EXAMPLES: &str = "\
Examples:
  curfew explain < token.txt
  curfew token mint --user alice | curfew explain -

It calls the internal listener with CURFEW_INTERNAL_SECRET, or with the secret that a server with the same data \
directory has generated. The token travels in the body of that call; nothing stores it. It exits with 1 if the token is \
not accepted, or was logged out.";

/// The arguments of `curfew explain`. No `Debug`: they hold a token.
#[derive(Args)]
pub(super) struct ExplainArgs {
    /// The token; - reads it from standard input
    #[arg(value_name = "TOKEN", default_value = "-")]
    token: String,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    internal: InternalUrl,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn explain(args: &ExplainArgs, environment: &Environment) -> Result<(), Failure> {
    let token = token_text::read(&args.token)?;
    let secret = args.client.internal_secret(environment)?;
    let (base, path) = (args.internal.internal_url.as_str(), "/internal/v1/explain");
    let body = Some(json!({ "token": token }));
    let answer = Call { base, method: Method::POST, path, bearer: Some(secret.reveal()), body }.send().await?;
    let explanation: Explanation =
        serde_json::from_value(answer.clone()).map_err(|_| CallFailure::Stranger(base.to_owned()))?;
    let mut stdout = std::io::stdout().lock();
    match args.json {
        true => writeln!(stdout, "{answer:#}")?,
        false => writeln!(stdout, "{}", lines(&explanation).join("\n"))?,
    }
    let is_good = explanation.accepted && explanation.revoked == Some(false);
    if is_good { Ok(()) } else { Err(Failure::NotAccepted) }
}

fn lines(explanation: &Explanation) -> Vec<String> {
    let mut lines = vec![verdict(explanation)];
    lines.extend(explanation.token.iter().flat_map(told));
    lines.extend(explanation.stored.iter().flat_map(kept));
    lines
}

/// The answer in one line: what the control plane makes of the token.
fn verdict(explanation: &Explanation) -> String {
    let logged_out = if explanation.revoked == Some(true) { ", and logged out" } else { "" };
    match &explanation.refusal {
        Some(broken) => format!("not accepted: {} ({}, {}){logged_out}", broken.detail, broken.code, broken.reason),
        None if logged_out.is_empty() => "accepted, and not logged out".to_owned(),
        None => "logged out (token_revoked)".to_owned(),
    }
}

fn told(token: &Told) -> Vec<String> {
    let key = match &token.key {
        Some(key) => format!("{} {}", key.algorithm, key.kid.as_deref().unwrap_or("without kid")),
        None => "none: nothing proves what the token says".to_owned(),
    };
    let absent = || "none".to_owned();
    let text = |value: &Option<String>| value.as_ref().map_or_else(absent, |value| format!("{value:?}"));
    vec![
        format!("key         {key}"),
        format!("issuer      {:?}", token.issuer),
        format!("user        {}", text(&token.user)),
        format!("session     {}", text(&token.session)),
        format!("issued      {}", token.issued_at.map_or_else(absent, date)),
        format!("expires     {}", date(token.expires_at)),
    ]
}

fn kept(kept: &Kept) -> Vec<String> {
    let mut lines = vec![registration(kept.registration.as_ref())];
    lines.extend(kept.revocations.iter().map(revocation));
    if kept.revocations.is_empty() {
        lines.push("revocations none under the token's keys".to_owned());
    } else if !kept.workers.is_empty() {
        let holds = kept.workers.iter().filter(|holder| holder.holds).count();
        lines.push(format!("workers     {holds} of {} hold what is above", kept.workers.len()));
        let lacks = kept.workers.iter().filter(|holder| !holder.holds);
        lines.extend(lacks.map(|it| format!("            {} at {} does not", it.worker.worker, it.worker.address)));
    }
    lines.push(format!("read at     {} in {}", kept.seq, kept.epoch));
    lines
}

fn registration(row: Option<&Registered>) -> String {
    match row {
        None => "registered  no".to_owned(),
        Some(row) => {
            let blocked = row.blocked_at.map(|at| {
                format!(", logged out {} by {}", date(at), row.block_reason.as_deref().unwrap_or("an unknown call"))
            });
            format!("registered  {}{}", date(row.created_at), blocked.unwrap_or_default())
        }
    }
}

fn revocation(found: &Found) -> String {
    let covers = match found.covers {
        Covers::Yes => "covers it",
        Covers::SameSecond => "of the second in which the token was issued: covers it unless it was registered later",
        Covers::No => "does not cover it: the token was issued later",
    };
    let Found { kind, seq, reason, actor, created_at, expires_at, .. } = found;
    let (kind, made, kept) = (kind.as_str(), date(*created_at), date(*expires_at));
    format!("revocation  {kind} at {seq}, {made} by {actor} through {reason}, kept until {kept}: {covers}")
}

#[cfg(test)]
mod tests {
    use curfew_core::{Kind, RevocationKey};

    use super::*;
    use crate::explain::{Broken, Key};

    fn token(key: Option<Key>) -> Told {
        let user = Some("alice".to_owned());
        let (issued_at, expires_at) = (Some(1_700_000_000), 1_700_003_600);
        Told { issuer: String::new(), user, session: None, issued_at, cutoff_time: issued_at, expires_at, key }
    }

    #[test]
    fn a_revoked_token_is_explained() {
        let found = Found {
            kind: Kind::Subject,
            key: RevocationKey::from_bytes([1; 16]),
            seq: 7,
            cutoff: 1_700_000_000,
            expires_at: 1_700_009_000,
            reason: "lgt_all".to_owned(),
            actor: "app".to_owned(),
            created_at: 1_700_000_000,
            covers: Covers::SameSecond,
        };
        let stored =
            Kept { epoch: "ab".into(), seq: 9, revocations: vec![found], registration: None, workers: Vec::new() };
        let key = Key { algorithm: "RS256".to_owned(), kid: Some("k1".to_owned()) };
        let explanation = Explanation {
            accepted: true,
            revoked: Some(true),
            refusal: None,
            token: Some(token(Some(key))),
            stored: Some(stored),
        };
        let lines = lines(&explanation);
        assert_eq!(lines[0], "logged out (token_revoked)");
        assert_eq!(lines[1], "key         RS256 k1");
        assert_eq!(
            lines[8],
            "revocation  subject at 7, 2023-11-14T22:13:20Z by app through lgt_all, kept until 2023-11-15T00:43:20Z: of the \
             second in which the token was issued: covers it unless it was registered later"
        );
        assert_eq!(lines.last().unwrap(), "read at     9 in ab");
    }

    #[test]
    fn a_token_that_nothing_proves_says_so() {
        let detail = "The signature does not verify.".to_owned();
        let refusal = Some(Broken { code: "token_invalid".into(), reason: "signature".into(), detail });
        let explanation =
            Explanation { accepted: false, revoked: Some(false), refusal, token: Some(token(None)), stored: None };
        let lines = lines(&explanation);
        assert_eq!(lines[0], "not accepted: The signature does not verify. (token_invalid, signature)");
        assert_eq!(lines[1], "key         none: nothing proves what the token says");
    }
}
