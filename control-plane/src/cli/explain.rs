//! `curfew explain`: why a token is accepted or not, what has revoked it, which workers know that, and what a filter would
//! answer to a request with it.

mod filter_file;
mod text;

use std::io::Write;
use std::path::PathBuf;

use axum::http::Method;
use clap::Args;
use serde_json::{Value, json};

use super::calls::InternalUrl;
use super::{Failure, token_text};
use crate::cli::client::{Call, CallFailure};
use crate::config::{ClientArgs, Environment};
use crate::explain::Explanation;

pub(super) const EXAMPLES: &str = "\
Examples:
  curfew explain < token.txt
  curfew token mint --user alice | curfew explain -
  curfew explain --filter filter.json --method POST --path /orders/7 < token.txt

It calls the internal listener with CURFEW_INTERNAL_SECRET, or with the secret that a server with the same data \
directory has generated. The token travels in the body of that call; nothing stores it. It exits with 1 if the token is \
not accepted, or was logged out; with --filter, if the filter would refuse the request. It exits with 2 if FILE or the request \
cannot be read or understood. With --source none, no token is needed.

FILE is the filter's configuration: the JSON that stands in `configuration` of the filter in Envoy's configuration. The path is \
the one that Envoy hands to the filter, after normalize_path.";

/// The `--source` of a request without a token.
const NOWHERE: &str = "none";

/// The arguments of `curfew explain`. No `Debug`: they hold a token.
#[derive(Args)]
pub(super) struct ExplainArgs {
    /// The token; - reads it from standard input, which is the default unless the request has no token
    #[arg(value_name = "TOKEN")]
    token: Option<String>,
    /// Say what a filter with the configuration in this file would answer
    #[arg(long, value_name = "FILE")]
    filter: Option<PathBuf>,
    #[command(flatten)]
    request: RequestArgs,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    internal: InternalUrl,
    #[command(flatten)]
    client: ClientArgs,
}

/// The request that the filter would get.
#[derive(Args)]
struct RequestArgs {
    /// The request's method
    #[arg(long, requires = "filter", default_value = "GET")]
    method: String,
    /// The request's path, with its query
    #[arg(long, requires = "filter", default_value = "/")]
    path: String,
    /// The host that the request is for
    #[arg(long, requires = "filter", default_value = "localhost")]
    host: String,
    /// A further header of the request; may be given more than once
    #[arg(long = "header", requires = "filter", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Where the token is, such as header:authorization, cookie:access_token, query:token or subprotocol:bearer; none for a
    /// request without it. By default where the filter looks for it first
    #[arg(long, requires = "filter", value_name = "PLACE")]
    source: Option<String>,
}

pub(super) async fn explain(args: &ExplainArgs, environment: &Environment) -> Result<(), Failure> {
    let mut body = json!({});
    if let Some(path) = &args.filter {
        body = json!({"filter": filter_file::read(path)?, "request": args.request.to_json()?});
    }
    let secret = args.client.internal_secret(environment)?;
    // Last, because it may wait for standard input.
    let token = args.token().map(token_text::read).transpose()?;
    if let (Value::Object(members), Some(token)) = (&mut body, token) {
        members.insert("token".to_owned(), Value::String(token));
    }
    let (base, path) = (args.internal.internal_url.as_str(), "/internal/v1/explain");
    let call = Call { base, method: Method::POST, path, bearer: Some(secret.reveal()), body: Some(body) };
    let answer = call.send().await.map_err(|failure| args.failure(failure))?;
    let explanation: Explanation =
        serde_json::from_value(answer.clone()).map_err(|_| CallFailure::Stranger(base.to_owned()))?;
    let mut stdout = std::io::stdout().lock();
    match args.json {
        true => writeln!(stdout, "{answer:#}")?,
        false => writeln!(stdout, "{}", text::lines(&explanation).join("\n"))?,
    }
    outcome(&explanation, args.filter.is_some())
}

impl ExplainArgs {
    /// The token's argument. A request without a token needs none.
    fn token(&self) -> Option<&str> {
        let is_needed = self.request.source.as_deref() != Some(NOWHERE);
        self.token.as_deref().or_else(|| is_needed.then_some("-"))
    }

    /// A FILE or a request that the server does not understand is a mistake in the arguments.
    fn failure(&self, failure: CallFailure) -> Failure {
        let CallFailure::Refused { detail, code, .. } = &failure else { return failure.into() };
        match (code.as_str(), &self.filter) {
            ("filter_configuration_invalid", Some(path)) => {
                Failure::Usage(format!("--filter: {}: {detail} ({code})", path.display()))
            }
            ("request_malformed", _) => Failure::Usage(format!("{detail} ({code})")),
            _ => failure.into(),
        }
    }
}

/// With a filter, its decision counts: a path may need no token.
fn outcome(explanation: &Explanation, is_filter: bool) -> Result<(), Failure> {
    match &explanation.filter {
        Some(answered) if answered.refusal.is_some() && answered.upstream.is_none() => Err(Failure::WouldBeRefused),
        Some(_) => Ok(()),
        None if !is_filter && explanation.accepted && explanation.revoked == Some(false) => Ok(()),
        None => Err(Failure::NotAccepted),
    }
}

impl RequestArgs {
    fn to_json(&self) -> Result<Value, Failure> {
        let Self { method, path, host, headers, source } = self;
        let header = |line: &String| {
            let split = line.split_once(':').filter(|(name, _)| !name.trim().is_empty());
            let (name, value) =
                split.ok_or_else(|| Failure::Usage("--header: give it as \"Name: value\"".to_owned()))?;
            Ok(json!({"name": name.trim(), "value": value.trim()}))
        };
        let headers = headers.iter().map(header).collect::<Result<Vec<_>, Failure>>()?;
        let mut request = json!({"method": method, "path": path, "host": host, "headers": headers});
        if let (Value::Object(members), Some(source)) = (&mut request, source) {
            members.insert("source".to_owned(), Value::String(source.clone()));
        }
        Ok(request)
    }
}
