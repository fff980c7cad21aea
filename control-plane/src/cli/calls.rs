//! The commands that call a running server.

use std::io::Write;

use axum::http::Method;
use clap::Args;
use serde_json::{Value, json};

use super::{Failure, token_text};
use crate::cli::client::{Call, CallFailure};
use crate::config::{ClientArgs, Environment};
use crate::logout::{LOGGED_OUT, LOGGED_OUT_EVERYWHERE, OTHERS_LOGGED_OUT};
use crate::store::sessions::{Session, SessionList};

pub(super) const LOGOUT_EXAMPLES: &str = "\
Examples:
  curfew logout --token - < token.txt
  curfew token mint --user alice | curfew logout --token -
  curfew logout --user alice

--token calls the public listener, as a client does. CURFEW_TOKEN may hold the token instead. \
--user calls /api/v2/lgt-all on the internal listener with APP_ID and APP_KEY, or with the credentials that a server \
with the same data directory has generated.";

pub(super) const SESSIONS_EXAMPLES: &str = "\
Examples:
  curfew sessions --user alice
  curfew sessions --user alice --issuer https://issuer.example.com --json

It calls the internal listener with CURFEW_INTERNAL_SECRET, or with the secret that a server with the same data \
directory has generated. Sessions are known once their token was registered or logged out.";

/// Where the public listener is.
#[derive(Debug, Args)]
struct PublicUrl {
    /// The public listener
    #[arg(long, env = "CURFEW_PUBLIC_URL", default_value = "http://127.0.0.1:8080", hide_env_values = true)]
    url: String,
}

/// Where the internal listener is.
#[derive(Debug, Args)]
pub(super) struct InternalUrl {
    /// The internal listener
    #[arg(long, env = "CURFEW_INTERNAL_URL", default_value = "http://127.0.0.1:8081", hide_env_values = true)]
    pub(super) internal_url: String,
}

/// The arguments of `curfew logout`. No `Debug`: they hold a token.
#[derive(Args)]
pub(super) struct LogoutArgs {
    /// Log out this token; - reads it from standard input [env: CURFEW_TOKEN]
    #[arg(long, value_name = "JWT", conflicts_with = "user")]
    token: Option<String>,
    /// With a token: log out every other token of its user, too
    #[arg(long, conflicts_with = "user")]
    all_devices: bool,
    /// With a token: how much to log out, if not what its issuer's logout_scope says
    #[arg(long, value_name = "SCOPE", value_parser = SCOPES, conflicts_with_all = ["user", "all_devices"])]
    scope: Option<String>,
    /// Log out every token of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// With --user: only tokens of this issuer
    #[arg(long, value_name = "ISS", requires = "user")]
    issuer: Option<String>,
    #[command(flatten)]
    public: PublicUrl,
    #[command(flatten)]
    internal: InternalUrl,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn logout(args: &LogoutArgs, environment: &Environment) -> Result<(), Failure> {
    let (base, answer, expected) = match &args.user {
        Some(user) => (&args.internal.internal_url, logout_user(args, user, environment).await?, LOGGED_OUT_EVERYWHERE),
        None => {
            let (path, expected) = match (args.all_devices, args.scope.as_deref()) {
                (true, _) => ("/api/v2/logout-all-device".to_owned(), LOGGED_OUT_EVERYWHERE),
                (false, None) => ("/api/v2/logout".to_owned(), LOGGED_OUT),
                (false, Some(scope)) => (format!("/api/v2/logout?scope={scope}"), told_of(scope)),
            };
            let token = token(args, environment)?;
            let base = &args.public.url;
            let call = Call { base, method: Method::POST, path: &path, bearer: Some(&token), body: None };
            (base, call.send().await?, expected)
        }
    };
    if answer.get("message").and_then(Value::as_str) != Some(expected) {
        return Err(CallFailure::Stranger(base.to_owned()).into());
    }
    let scope = answer.get("scope").and_then(Value::as_str);
    if args.scope.as_deref().is_some_and(|asked| asked != scope.unwrap_or("token")) {
        // A control plane of an earlier version does not know scopes.
        return Err(CallFailure::Stranger(base.to_owned()).into());
    }
    let scope = scope.map(|scope| format!(" Scope: {scope}.")).unwrap_or_default();
    writeln!(std::io::stdout(), "{expected}{scope}")?;
    if answer.get("known") == Some(&Value::Bool(false)) {
        let hint = "no token of this user is known: is the ID what the tokens have in the user claim?";
        writeln!(std::io::stderr(), "note: {hint}")?;
    }
    Ok(())
}

/// The names of scopes.
const SCOPES: [&str; 4] = ["token", "session", "others", "global"];

/// What the answer to a logout of this scope says.
fn told_of(scope: &str) -> &'static str {
    match scope {
        "others" => OTHERS_LOGGED_OUT,
        "global" => LOGGED_OUT_EVERYWHERE,
        _ => LOGGED_OUT,
    }
}

/// The token from the argument, or else from the environment.
fn token(args: &LogoutArgs, environment: &Environment) -> Result<String, Failure> {
    let given = args.token.as_deref().or_else(|| environment.get("CURFEW_TOKEN"));
    let token = token_text::read(given.ok_or_else(|| usage("give --token, CURFEW_TOKEN or --user"))?)?;
    if token.is_empty() { Err(usage("the token is empty")) } else { Ok(token) }
}

fn usage(problem: &str) -> Failure {
    Failure::Usage(problem.to_owned())
}

async fn logout_user(args: &LogoutArgs, user: &str, environment: &Environment) -> Result<Value, Failure> {
    let app = args.client.app(environment)?;
    let mut body = json!({"user_id": user, "app_id": app.id.reveal(), "app_key": app.key.reveal()});
    if let (Some(issuer), Some(body)) = (&args.issuer, body.as_object_mut()) {
        body.insert("issuer".to_owned(), issuer.as_str().into());
    }
    let base = &args.internal.internal_url;
    let call = Call { base, method: Method::POST, path: "/api/v2/lgt-all", bearer: None, body: Some(body) };
    Ok(call.send().await?)
}

/// The arguments of `curfew sessions`.
#[derive(Debug, Args)]
pub(super) struct SessionsArgs {
    /// Whose sessions
    #[arg(long, value_name = "ID")]
    user: String,
    /// Only tokens of this issuer
    #[arg(long, value_name = "ISS")]
    issuer: Option<String>,
    /// The most sessions to list, newest first
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    internal: InternalUrl,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn sessions(args: &SessionsArgs, environment: &Environment) -> Result<(), Failure> {
    let secret = args.client.internal_secret(environment)?;
    let issuer = args.issuer.as_ref().map(|issuer| format!("&issuer={}", percent_encoded(issuer)));
    let path = format!(
        "/internal/v1/users/{}/sessions?limit={}{}",
        percent_encoded(&args.user),
        args.limit,
        issuer.unwrap_or_default()
    );
    let base = &args.internal.internal_url;
    let call = Call { base, method: Method::GET, path: &path, bearer: Some(secret.reveal()), body: None };
    let answer = call.send().await?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{answer:#}")?;
        return Ok(());
    }
    let list: SessionList = serde_json::from_value(answer).map_err(|_| CallFailure::Stranger(base.to_owned()))?;
    if list.sessions.is_empty() {
        writeln!(stdout, "no sessions are known")?;
    }
    list.sessions.iter().try_for_each(|session| writeln!(stdout, "{}", line(session)))?;
    Ok(())
}

fn line(session: &Session) -> String {
    let state = match &session.block_reason {
        Some(reason) if session.blocked => format!("logged out ({reason})"),
        _ => "active".to_owned(),
    };
    format!(
        "{}  issued {}  expires {}  {}  {}  {}",
        session.token_id,
        session.issued_at.map_or_else(|| "-".to_owned(), super::inspect::date),
        super::inspect::date(session.expires_at),
        state,
        session.ip.as_deref().unwrap_or("-"),
        session.user_agent.as_deref().unwrap_or("-"),
    )
}

/// Encodes everything but unreserved characters (RFC 3986 section 2.1).
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_cannot_leave_its_place_in_the_path() {
        assert_eq!(percent_encoded("../a?b#c/ü"), "..%2Fa%3Fb%23c%2F%C3%BC");
    }
}
