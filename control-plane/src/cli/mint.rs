//! `curfew token mint`: a token for trying things out, as the configured issuer would make it.

use std::io::Write;
use std::time::Duration;

use axum::http::Method;
use clap::Args;
use curfew_core::wire::TOKENS_PATH;
use jwt_simple::prelude::{Claims, HS256Key, HS384Key, HS512Key, JWTClaims, MACLike};
use serde_json::{Map, Value, json};

use super::Failure;
use super::calls::InternalUrl;
use crate::cli::client::Call;
use crate::config::{AccessArgs, Environment, PolicyArgs, Signer, Tokens};

pub(super) const EXAMPLES: &str = "\
Examples:
  curfew token mint --user alice
  curfew token mint --user 42 --ttl 15m --session phone --claim scope=read --claim 'roles=[\"admin\"]'
  curfew token mint --user alice --register

It prints the token and nothing else. It signs with JWT_SECRET, with a secret from CURFEW_ISSUERS_FILE, or with the \
one that a server with the same data directory has generated. \
Tokens of issuers with public keys must come from their issuer.";

/// Claims that have an option of their own, or that are made here.
const OWN_CLAIMS: [&str; 8] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid"];

/// The arguments of `curfew token mint`.
#[derive(Debug, Args)]
pub(super) struct MintArgs {
    /// The user
    #[arg(long, value_name = "ID")]
    user: String,
    /// How long the token lives
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// The session, for the issuer's session claim (`sid` as a rule)
    #[arg(long, value_name = "SID")]
    session: Option<String>,
    /// The token's own name (`jti`) [default: random]
    #[arg(long, value_name = "JTI")]
    jti: Option<String>,
    /// Which of the configured issuers [default: the first with a secret]
    #[arg(long, value_name = "ISS")]
    issuer: Option<String>,
    /// The audience [default: the issuer's first]
    #[arg(long, value_name = "AUD")]
    audience: Option<String>,
    /// A further claim; the value is JSON, or else a text
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
    /// Register the token with the running server, as a login does
    #[arg(long)]
    register: bool,
    #[command(flatten)]
    internal: InternalUrl,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    access: AccessArgs,
}

pub(super) async fn mint(args: &MintArgs, environment: &Environment) -> Result<(), Failure> {
    let tokens = args.policy.resolve(environment)?;
    let signer = choose(&tokens.signers, args.issuer.as_deref())?;
    let token = sign(signer, claims(args, &tokens, signer)?)?;
    if args.register {
        let secret = args.policy.internal_secret(&args.access, environment)?;
        let call = Call {
            base: &args.internal.internal_url,
            method: Method::POST,
            path: TOKENS_PATH,
            bearer: Some(secret.reveal()),
            body: Some(json!({"tokens": [{"token": token, "user_agent": "curfew token mint"}]})),
        };
        call.send().await?;
    }
    writeln!(std::io::stdout(), "{token}")?;
    Ok(())
}

/// The issuer to sign as. A signer without an issuer's name can sign as any.
fn choose<'t>(signers: &'t [Signer], issuer: Option<&str>) -> Result<&'t Signer, Failure> {
    let fits = |signer: &&Signer| issuer.is_none() || signer.issuer.is_none() || signer.issuer.as_deref() == issuer;
    signers.iter().find(fits).ok_or_else(|| {
        let problem = match issuer {
            Some(_) => "--issuer: no such issuer is configured with a secret",
            None => "no secret is configured: a token can be verified with public keys, but not made",
        };
        Failure::Usage(problem.to_owned())
    })
}

fn claims(args: &MintArgs, tokens: &Tokens, signer: &Signer) -> Result<JWTClaims<Map<String, Value>>, Failure> {
    let mut custom: Map<String, Value> = args.claims.iter().cloned().collect();
    for (name, value) in &signer.required_claims {
        if !OWN_CLAIMS.contains(&name.as_str()) {
            custom.entry(name).or_insert_with(|| value.clone());
        }
    }
    if let Some(session) = &args.session {
        let namespace = signer.issuer.as_deref().unwrap_or_default();
        let claim = tokens.policy.session_claim(namespace).unwrap_or("sid");
        insert_at(&mut custom, claim, session.as_str().into());
    }
    if tokens.issued_at_claim != "iat" {
        custom.insert(tokens.issued_at_claim.clone(), crate::clock::Clock::system().now().into());
    }
    if tokens.user_claim != "sub" {
        insert_at(&mut custom, &tokens.user_claim, args.user.as_str().into());
    }
    let jti = match &args.jti {
        Some(jti) => jti.clone(),
        None => random_name()?,
    };
    let mut claims = Claims::with_custom_claims(custom, args.ttl.into()).with_jwt_id(jti);
    claims.invalid_before = None;
    if tokens.user_claim == "sub" {
        claims = claims.with_subject(&args.user);
    }
    if let Some(issuer) = args.issuer.as_ref().or(signer.issuer.as_ref()) {
        claims = claims.with_issuer(issuer);
    }
    if let Some(audience) = args.audience.as_ref().or(signer.audiences.first()) {
        claims = claims.with_audience(audience);
    }
    Ok(claims)
}

/// Writes a claim where it is read: `user.id` is `id` inside `user`. A URL is a name.
fn insert_at(claims: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        Some((first, rest)) if !path.contains('/') => {
            let inner = claims.entry(first).or_insert_with(|| Map::new().into());
            if let Value::Object(inner) = inner {
                insert_at(inner, rest, value);
            }
        }
        _ => drop(claims.insert(path.to_owned(), value)),
    }
}

fn sign(signer: &Signer, claims: JWTClaims<Map<String, Value>>) -> Result<String, Failure> {
    let secret = &signer.secret.0;
    let signed = match signer.algorithm.as_str() {
        "HS384" => HS384Key::from_bytes(secret).authenticate(claims),
        "HS512" => HS512Key::from_bytes(secret).authenticate(claims),
        _ => HS256Key::from_bytes(secret).authenticate(claims),
    };
    signed.map_err(|error| Failure::Usage(format!("the token cannot be made: {error}")))
}

/// 128 random bits, so that two tokens made in the same second are different tokens.
fn random_name() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::Io(std::io::Error::other(error)))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    if OWN_CLAIMS.contains(&name) {
        return Err(format!("{name} is set by the command itself; see its other options"));
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claims_value_is_json_or_else_text() {
        assert_eq!(claim("level=3"), Ok(("level".to_owned(), json!(3))));
        assert_eq!(claim(r#"roles=["a","b"]"#), Ok(("roles".to_owned(), json!(["a", "b"]))));
        assert_eq!(claim("scope=read write"), Ok(("scope".to_owned(), json!("read write"))));
        assert_eq!(claim("a=b=c"), Ok(("a".to_owned(), json!("b=c"))));
        assert!(claim("scope").is_err());
        assert!(claim("exp=1").is_err());
    }
}
