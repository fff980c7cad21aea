//! The small HTTP client behind the commands that call a running server.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Longer than the server takes to give up by itself.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The calls that the public listener has; all others are the internal one's.
const PUBLIC_PATHS: [&str; 2] = ["/api/v2/logout", "/api/v2/logout-all-device"];

/// In bytes. A list of a thousand sessions is well below this.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Why a call has no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum CallFailure {
    /// The address is not the address of a server.
    #[error("{0} is not an http:// address of a server")]
    Address(String),
    /// A header cannot hold the text.
    #[error("the credential holds characters that no header can")]
    Credential,
    /// No server answered.
    #[error("no answer from {address}: {reason}. Is `curfew serve` running there?")]
    Unreachable {
        /// The server's address.
        address: String,
        /// What happened.
        reason: String,
    },
    /// Something answered, but not as the endpoint's documentation says.
    #[error(
        "{0} is not a Curfew control plane: its answer is another one than documented, and nothing is known to be done"
    )]
    Stranger(String),
    /// The other listener of a control plane answered.
    #[error(
        "{address} is the {is} listener of a control plane, and this call is for the {wanted} one: name that in {setting}"
    )]
    OtherListener {
        /// The address.
        address: String,
        /// Which listener it is.
        is: &'static str,
        /// Which one has the call.
        wanted: &'static str,
        /// The setting with the address.
        setting: &'static str,
    },
    /// The server refused.
    #[error("{status}: {detail} ({code})")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What the server says.
        detail: String,
        /// Its stable code.
        code: String,
    },
}

/// One call.
pub struct Call<'a> {
    /// The server, such as `http://127.0.0.1:8080`.
    pub base: &'a str,
    /// GET or POST.
    pub method: Method,
    /// The path and query.
    pub path: &'a str,
    /// The bearer credential.
    pub bearer: Option<&'a str>,
    /// The JSON body.
    pub body: Option<Value>,
}

impl Call<'_> {
    /// Sends the call and returns the body of the answer: a JSON object with status 200, as every endpoint has it that
    /// these commands call. An address of another server answers with 2xx, too, and must not pass for success.
    ///
    /// # Errors
    ///
    /// See [`CallFailure`].
    pub async fn send(self) -> Result<Value, CallFailure> {
        let request = self.request()?;
        let unreachable = |reason: String| CallFailure::Unreachable { address: self.base.to_owned(), reason };
        let answer = tokio::time::timeout(TIMEOUT, exchange(request))
            .await
            .map_err(|_| unreachable("it took too long".to_owned()))?;
        let (status, body) = answer.map_err(|error| unreachable(innermost(&*error)))?;
        self.judge(status, serde_json::from_slice(&body).unwrap_or_default())
    }

    fn judge(&self, status: StatusCode, body: Value) -> Result<Value, CallFailure> {
        match status {
            StatusCode::OK if body.is_object() => Ok(body),
            status if status.is_success() => Err(CallFailure::Stranger(self.base.to_owned())),
            status => Err(self.other_listener(status, &body).unwrap_or_else(|| refused(status, &body))),
        }
    }

    /// The failure, if the answer shows that the call went to the wrong listener. The public one has nothing at the paths of
    /// the internal one. The internal one asks for its secret before it looks at a path, and the public one has none.
    fn other_listener(&self, status: StatusCode, body: &Value) -> Option<CallFailure> {
        let code = body.get("code").and_then(Value::as_str);
        let is_public = PUBLIC_PATHS.contains(&self.path);
        let (is, wanted, setting) = match (is_public, status, code?) {
            (false, StatusCode::NOT_FOUND, "not_found") => {
                ("public", "internal", "CURFEW_INTERNAL_URL or --internal-url")
            }
            (true, StatusCode::UNAUTHORIZED, "credentials_invalid") | (true, StatusCode::NOT_FOUND, "not_found") => {
                ("internal", "public", "CURFEW_PUBLIC_URL or --url")
            }
            _ => return None,
        };
        Some(CallFailure::OtherListener { address: self.base.to_owned(), is, wanted, setting })
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, CallFailure> {
        let address = || CallFailure::Address(self.base.to_owned());
        let uri: Uri = format!("{}{}", self.base.trim_end_matches('/'), self.path).parse().map_err(|_| address())?;
        if uri.scheme_str() != Some("http") || uri.authority().is_none() {
            return Err(address());
        }
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        if self.body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(bearer) = self.bearer {
            let mut value = HeaderValue::try_from(format!("Bearer {bearer}")).map_err(|_| CallFailure::Credential)?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), AnyError> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let response = client.request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?;
    Ok((status, body.to_bytes()))
}

/// The innermost cause: "connection refused" says more than "client error".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let last = std::iter::successors(Some(error), |error| error.source()).last();
    last.unwrap_or(error).to_string()
}

fn refused(status: StatusCode, body: &Value) -> CallFailure {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or("no reason given").to_owned();
    CallFailure::Refused { status, detail: text("detail"), code: text("code") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(status: u16, body: Value) -> Result<Value, String> {
        let call = Call { base: "http://127.0.0.1:8080", method: Method::POST, path: "/", bearer: None, body: None };
        call.judge(StatusCode::from_u16(status).unwrap(), body).map_err(|failure| failure.to_string())
    }

    #[test]
    fn only_the_documented_answer_is_success() {
        let done = json!({"message": "Successfully Logged Out."});
        assert_eq!(judged(200, done.clone()), Ok(done.clone()));
        let stranger = "http://127.0.0.1:8080 is not a Curfew control plane: its answer is another one than documented, \
            and nothing is known to be done";
        for (status, body) in [
            (200, Value::Null),
            (200, json!([])),
            (200, json!("done")),
            (201, done.clone()),
            (202, done),
            (204, Value::Null),
        ] {
            assert_eq!(judged(status, body.clone()), Err(stranger.to_owned()), "{status} {body}");
        }
    }

    #[test]
    fn an_answer_of_the_other_listener_names_both() {
        let told = |path: &str, status: StatusCode, code: &str| {
            let call = Call { base: "http://127.0.0.1:8080", method: Method::POST, path, bearer: None, body: None };
            call.judge(status, json!({"code": code, "detail": "-"})).unwrap_err().to_string()
        };
        let (not_found, unauthorized) = (StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED);
        assert_eq!(
            told("/internal/v1/gateways", not_found, "not_found"),
            "http://127.0.0.1:8080 is the public listener of a control plane, and this call is for the internal one: name that in \
             CURFEW_INTERNAL_URL or --internal-url"
        );
        assert_eq!(
            told("/api/v2/logout", unauthorized, "credentials_invalid"),
            "http://127.0.0.1:8080 is the internal listener of a control plane, and this call is for the public one: name that in \
             CURFEW_PUBLIC_URL or --url"
        );
        // The right listener, which refuses.
        assert_eq!(told("/api/v2/logout", unauthorized, "token_revoked"), "401 Unauthorized: - (token_revoked)");
        let refused = "401 Unauthorized: - (credentials_invalid)";
        assert_eq!(told("/internal/v1/gateways", unauthorized, "credentials_invalid"), refused);
    }

    #[test]
    fn anything_else_is_a_refusal() {
        let problem = json!({"code": "token_revoked", "detail": "The token was logged out."});
        let refusal = "401 Unauthorized: The token was logged out. (token_revoked)";
        assert_eq!(judged(401, problem), Err(refusal.to_owned()));
        assert_eq!(judged(302, Value::Null), Err("302 Found: no reason given (no reason given)".to_owned()));
    }
}
