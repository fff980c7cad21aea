//! A provider of keys on a free port of this machine, which answers bytes that a story has written.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use curfew_control_plane::keys::{
    Discovery, FetchFailure, FetchTerms, Fetched, Fetcher, KeySource, KeyUrl, Outcome, Source,
};
use curfew_testbed::servers::Authority;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// The set that most stories publish.
pub(crate) fn set() -> Value {
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})
}

/// What a provider does with a request: the bytes that it answers, each after a pause. Then it closes the connection.
#[derive(Clone, Default)]
pub(crate) struct Answer(Vec<(Duration, Vec<u8>)>);

impl Answer {
    /// An answer with this status line, these lines of the head and this body.
    pub(crate) fn new(status: &str, head: &[&str], body: &str) -> Self {
        let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        Self::default().then(0, &format!("HTTP/1.1 {status}\r\n{head}content-length: {length}\r\n\r\n{body}"))
    }

    /// A JSON document.
    pub(crate) fn json(document: &Value) -> Self {
        Self::new("200 OK", &[], &document.to_string())
    }

    /// A redirect.
    pub(crate) fn to(place: &str) -> Self {
        Self::new("302 Found", &[&format!("location: {place}")], "")
    }

    /// 404.
    pub(crate) fn absent() -> Self {
        Self::new("404 Not Found", &[], "")
    }

    /// The same, and more bytes after so many milliseconds.
    pub(crate) fn then(mut self, milliseconds: u64, bytes: &str) -> Self {
        self.0.push((Duration::from_millis(milliseconds), bytes.as_bytes().to_vec()));
        self
    }
}

/// A provider that runs until it is dropped.
pub(crate) struct Provider {
    address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Provider {
    /// One without encryption, which answers by the request's target and by its whole head.
    pub(crate) async fn plain(answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(None, answer).await
    }

    /// One with a certificate of this authority for `localhost` and 127.0.0.1.
    pub(crate) async fn encrypted(
        authority: &Authority,
        answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let certificate = CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(authority.key().as_bytes()).unwrap();
        let settings = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Self::start(Some(TlsAcceptor::from(Arc::new(settings))), answer).await
    }

    async fn start(tls: Option<TlsAcceptor>, answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (answer, heads) = (Arc::new(answer), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, heads, tls) = (Arc::clone(&answer), Arc::clone(&heads), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &*answer, &heads).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &*answer, &heads).await,
                            Err(_) => heads.lock().unwrap().push("no handshake".to_owned()),
                        },
                    }
                });
            }
        });
        Self { address, scheme, asked, _serving: AbortOnDropHandle::new(serving) }
    }

    /// The URL of a path here.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The same with another name for this machine.
    pub(crate) fn url_as(&self, name: &str, path: &str) -> String {
        format!("{}://{name}:{}{path}", self.scheme, self.address.port())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The targets of the requests so far.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.asked().iter().map(|head| target(head).to_owned()).collect()
    }
}

fn target(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: &(dyn Fn(&str, &str) -> Answer + Send + Sync),
    heads: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    let head = String::from_utf8(head).unwrap();
    heads.lock().unwrap().push(head.clone());
    for (pause, bytes) in answer(target(&head), &head).0 {
        tokio::time::sleep(pause).await;
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

/// A source of keys at this URL, by the usual terms.
pub(crate) fn at(url: &str) -> KeySource {
    KeySource { source: Source::Url(KeyUrl::parse(url).unwrap()), terms: FetchTerms::default() }
}

/// The same by these terms.
pub(crate) fn by(url: &str, terms: FetchTerms) -> KeySource {
    KeySource { terms, ..at(url) }
}

/// A source of keys that the issuer of this name publishes.
pub(crate) fn of_issuer(issuer: &str) -> KeySource {
    let discovery = Discovery { issuer: issuer.to_owned(), at: KeyUrl::parse(issuer).unwrap() };
    KeySource { source: Source::Discovery(discovery), terms: FetchTerms::default() }
}

/// Fetches once, without an `etag`.
pub(crate) async fn fetch(from: &KeySource) -> Result<Outcome, FetchFailure> {
    Fetcher::default().fetch(from, None).await
}

/// Fetches what must be a set.
pub(crate) async fn fetched(from: &KeySource) -> Fetched {
    match fetch(from).await.unwrap() {
        Outcome::Fetched(fetched) => fetched,
        Outcome::NotModified { .. } => panic!("nothing was known"),
    }
}

/// The code and the sentence of a fetch that must fail. The provider's address is written `HOST` in it.
pub(crate) async fn refused(provider: &Provider, from: &KeySource) -> (&'static str, String) {
    let failure = fetch(from).await.unwrap_err();
    (failure.code(), failure.to_string().replace(&provider.address.to_string(), "HOST"))
}
