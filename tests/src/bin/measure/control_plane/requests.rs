//! Requests to the control plane over connections that stay open.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use curfew_core::wire::{CHECK_PATH, CheckRequest};
use curfew_core::{Policy, verify_natively};
use curfew_testbed::control_plane::ControlPlane;
use curfew_testbed::http::{Request, connect, read_answer};
use curfew_testbed::settings::Settings;
use curfew_testbed::tokens::{ISSUER, Signer, claims, now};
use serde_json::json;

use super::load::Client;

/// The keys and secrets for requests.
pub(super) struct Requests {
    secret: String,
    internal_secret: String,
}

impl Requests {
    pub(super) fn new() -> Result<Self> {
        let settings = Settings::demo()?;
        let setting = |name| settings.required(name).map(str::to_owned);
        Ok(Self { secret: setting("JWT_SECRET")?, internal_secret: setting("CURFEW_INTERNAL_SECRET")? })
    }

    /// A new token of this user.
    pub(super) fn token(&self, user: &str) -> Result<String> {
        Signer::from_secret(&self.secret).sign(&claims(user))
    }

    /// A client that logs out a new token each time. Signing it is not measured.
    pub(super) fn logouts(&self, address: SocketAddr) -> Result<Client> {
        let mut connection = BufReader::new(connect(address)?);
        let signer = Signer::from_secret(&self.secret);
        let mut users = 0_u64..;
        Ok(Box::new(move || {
            let user = users.next().unwrap_or_default();
            let token = signer.sign(&claims(&format!("user-{user}")))?;
            let head = format!("POST /api/v2/logout HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
            ask(&mut connection, head.as_bytes())
        }))
    }

    /// The filter's question about a token that is alive, or was logged out.
    pub(super) fn question(&self, server: &ControlPlane, logged_out: bool) -> Result<Vec<u8>> {
        let token = self.token("asked")?;
        if logged_out {
            let answer = Request::post("/api/v2/logout").bearer(&token).send(server.public())?;
            ensure!(answer.status == 200, "logout: {} {}", answer.status, answer.text());
        }
        let issuers = json!([{"issuer": ISSUER, "secret": self.secret}]);
        let policy = Policy::from_document(&json!({"issuers": issuers}));
        let (policy, keys) = policy.map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
        let proven = policy.prove(token.as_bytes(), now(), &keys, verify_natively)?;
        let body = serde_json::to_string(&CheckRequest::about(&proven))?;
        let question = format!(
            "POST {CHECK_PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.internal_secret,
            body.len()
        );
        let verdict = if logged_out { "revoked" } else { "active" };
        let answer = exchange(&mut BufReader::new(connect(server.internal())?), question.as_bytes())?;
        ensure!(answer.json().get("verdict").and_then(|said| said.as_str()) == Some(verdict), "{}", answer.text());
        Ok(question.into_bytes())
    }
}

/// A client that sends the same request again and again.
pub(super) fn repeated(address: SocketAddr, request: Vec<u8>) -> Result<Client> {
    let mut connection = BufReader::new(connect(address)?);
    Ok(Box::new(move || ask(&mut connection, &request)))
}

fn ask(connection: &mut BufReader<TcpStream>, request: &[u8]) -> Result<std::time::Duration> {
    let started = Instant::now();
    let answer = exchange(connection, request)?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    Ok(started.elapsed())
}

fn exchange(connection: &mut BufReader<TcpStream>, request: &[u8]) -> Result<curfew_testbed::http::Answer> {
    connection.get_mut().write_all(request).context("the control plane closed a connection")?;
    read_answer(connection, "POST")
}
