//! The service that Envoy's `ext_authz` asks when it is measured beside Curfew: a small HTTP endpoint that asks the
//! control plane about each request's token, as a service without the filter would.
//!
//! It caches proofs of signatures, and never a verdict. Its own cost is not in the worker's time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use curfew_core::wire::{CHECK_PATH, CheckAnswer, CheckRequest, CheckVerdict};
use curfew_core::{KeySets, Policy, from_authorization, verify_natively};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::local_server::LocalServer;
use crate::ports::loopback;
use crate::tokens::now;

/// The endpoint, on a thread of its own, stopped when dropped.
#[derive(Debug)]
pub struct Authorization {
    server: LocalServer,
    control_plane: Arc<OnceLock<ControlPlane>>,
}

#[derive(Debug)]
struct ControlPlane {
    check: String,
    secret: String,
}

struct Endpoint {
    policy: Policy,
    keys: KeySets,
    control_plane: Arc<OnceLock<ControlPlane>>,
    questions: Mutex<HashMap<Vec<u8>, CheckRequest>>,
    client: Client<HttpConnector, Body>,
}

impl Authorization {
    /// Starts to serve, for tokens of these issuers. Every request is refused until [`Self::ask`] has set a control
    /// plane.
    ///
    /// # Errors
    /// When the issuers are not as the filter takes them, or there is no free port.
    pub fn start(issuers: &Value) -> Result<Self> {
        let policy = Policy::from_document(&json!({ "issuers": issuers }));
        let (policy, keys) = policy.map_err(|mistakes| anyhow::anyhow!("the issuers are wrong: {mistakes:?}"))?;
        let control_plane = Arc::new(OnceLock::new());
        let client = Client::builder(TokioExecutor::new()).build_http();
        let endpoint =
            Endpoint { policy, keys, control_plane: Arc::clone(&control_plane), questions: Mutex::default(), client };
        let router = Router::new().fallback(authorize).with_state(Arc::new(endpoint));
        Ok(Self { server: LocalServer::start(loopback(0), router)?, control_plane })
    }

    /// Sets the address of the control plane's internal listener, and its secret. Only the first call has an effect.
    pub fn ask(&self, internal: SocketAddr, secret: &str) {
        let check = format!("http://{internal}{CHECK_PATH}");
        self.control_plane.get_or_init(|| ControlPlane { check, secret: format!("Bearer {secret}") });
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

async fn authorize(State(endpoint): State<Arc<Endpoint>>, request: Request) -> StatusCode {
    let credential = request.headers().get(AUTHORIZATION).and_then(|value| from_authorization(value.as_bytes()).ok());
    let Some(question) = credential.and_then(|text| endpoint.question(text)) else {
        return StatusCode::UNAUTHORIZED;
    };
    match endpoint.verdict(&question).await {
        Ok(CheckVerdict::Active) => StatusCode::OK,
        Ok(CheckVerdict::Revoked) => StatusCode::UNAUTHORIZED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl Endpoint {
    /// The question about a token whose signature and times are good.
    fn question(&self, text: &[u8]) -> Option<CheckRequest> {
        let mut known = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(question) = known.get(text) {
            return Some(question.clone());
        }
        let token = self.policy.prove(text, now(), &self.keys, verify_natively).ok()?;
        let question = CheckRequest::about(&token);
        known.insert(text.to_vec(), question.clone());
        Some(question)
    }

    async fn verdict(&self, question: &CheckRequest) -> Result<CheckVerdict> {
        let control_plane = self.control_plane.get().context("no control plane was set")?;
        let request = axum::http::Request::post(&control_plane.check)
            .header("authorization", &control_plane.secret)
            .header("content-type", "application/json")
            .body(Body::from(serde_json::to_vec(question)?))?;
        let answer = self.client.request(request).await?.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice::<CheckAnswer>(&answer)?.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Request;
    use crate::tokens::{ISSUER, Signer, claims};

    #[test]
    fn without_a_good_token_or_an_answer_no_request_passes() {
        const SECRET: &str = "0123456789abcdef0123456789abcdef";
        let issuers = json!([{"issuer": ISSUER, "secret": SECRET}]);
        let endpoint = Authorization::start(&issuers).unwrap();
        let token = Signer::from_secret(SECRET).sign(&claims("alice")).unwrap();
        let status = |request: Request| request.send(endpoint.address()).unwrap().status;
        assert_eq!(status(Request::get("/orders")), 401);
        assert_eq!(status(Request::get("/orders").bearer("a.b.c")), 401);
        assert_eq!(status(Request::get("/orders").bearer(&token)), 503);
        // Nothing listens on port 1.
        endpoint.ask(loopback(1), "secret");
        assert_eq!(status(Request::get("/orders").bearer(&token)), 503);
    }
}
