//! Requests on their way through the filter, and the rule that each is decided exactly once.

use std::collections::BTreeMap;

use wasmtime::{Linker, Result};

use super::faults::HostCall;
use super::guest::{Call, read, read_text, status};
use super::headers::HeaderMap;
use super::state::State;

const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits.
    Paused,
    /// It was admitted to the upstream with these headers.
    Continued {
        /// The headers as the upstream gets them.
        headers: HeaderMap,
    },
    /// The filter answered it.
    LocalReply {
        /// The status code.
        status: u32,
        /// The headers that the filter added.
        headers: HeaderMap,
        /// The body.
        body: String,
        /// The value of `%RESPONSE_CODE_DETAILS%`.
        details: String,
        /// The gRPC status, -1 for none.
        grpc_status: i32,
    },
}

/// One request.
#[derive(Debug)]
pub(super) struct Stream {
    root: u32,
    headers: Option<HeaderMap>,
    body: Option<Vec<u8>>,
    trailers: Option<HeaderMap>,
    outcome: Outcome,
    properties: BTreeMap<String, Vec<u8>>,
    finished: bool,
}

impl Stream {
    pub(super) fn root(&self) -> u32 {
        self.root
    }

    pub(super) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    pub(super) fn headers(&self) -> Option<&HeaderMap> {
        self.headers.as_ref()
    }

    pub(super) fn headers_mut(&mut self) -> Option<&mut HeaderMap> {
        self.headers.as_mut()
    }

    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    pub(super) fn trailers_mut(&mut self) -> Option<&mut HeaderMap> {
        self.trailers.as_mut()
    }

    pub(super) fn set_trailers(&mut self, trailers: HeaderMap) {
        self.trailers = Some(trailers);
    }

    pub(super) fn property(&self, name: &str) -> Option<Vec<u8>> {
        self.properties.get(name).cloned()
    }

    pub(super) fn set_property(&mut self, name: String, value: Vec<u8>) {
        self.properties.insert(name, value);
    }

    /// Decides the request; an error if it was decided before.
    fn decide(&mut self, outcome: Outcome) -> std::result::Result<(), String> {
        if self.outcome != Outcome::Paused {
            return Err(format!("a second decision {outcome:?} after {:?}", self.outcome));
        }
        self.outcome = outcome;
        self.headers = None;
        Ok(())
    }

    fn let_through(&mut self) -> std::result::Result<(), String> {
        let headers = self.headers.clone().unwrap_or_default();
        self.decide(Outcome::Continued { headers })
    }
}

/// All requests of a VM, by context.
#[derive(Debug, Default)]
pub(super) struct Streams(BTreeMap<u32, Stream>);

impl Streams {
    pub(super) fn open(&mut self, id: u32, root: u32, headers: HeaderMap, body: Option<Vec<u8>>) {
        let stream = Stream {
            root,
            headers: Some(headers),
            body,
            trailers: None,
            outcome: Outcome::Paused,
            properties: BTreeMap::new(),
            finished: false,
        };
        self.0.insert(id, stream);
    }

    pub(super) fn close(&mut self, id: u32) {
        self.0.remove(&id);
    }

    pub(super) fn get(&self, id: u32) -> Option<&Stream> {
        self.0.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.0.get_mut(&id)
    }

    /// The headers callback has returned. A local reply stands whatever action comes with it, as in Envoy.
    pub(super) fn headers_done(&mut self, id: u32, action: u32) -> anyhow::Result<()> {
        let Some(stream) = self.0.get_mut(&id) else {
            anyhow::bail!("the stream is closed");
        };
        match (action, &stream.outcome) {
            (CONTINUE, Outcome::Paused) => stream.let_through().map_err(anyhow::Error::msg),
            (_, Outcome::LocalReply { .. }) | (PAUSE, Outcome::Paused) => Ok(()),
            (action, outcome) => {
                anyhow::bail!("action {action} from the headers callback after {outcome:?}")
            }
        }
    }

    /// A decided request whose last callback has not been made: its body if it was admitted with one, `None` if it was
    /// answered.
    pub(super) fn next_to_finish(&mut self) -> Option<(u32, Option<Vec<u8>>)> {
        for (id, stream) in &mut self.0 {
            if stream.finished || stream.outcome == Outcome::Paused {
                continue;
            }
            stream.finished = true;
            match (&stream.outcome, stream.body.take()) {
                (Outcome::Continued { .. }, None) => {}
                (Outcome::Continued { .. }, body) => return Some((*id, body)),
                _ => return Some((*id, None)),
            }
        }
        None
    }
}

/// The imports that decide a request.
pub(super) fn install(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap("env", "proxy_continue_stream", |mut call: Call<'_>, kind: u32| {
        if kind != 0 {
            return status::BAD_ARGUMENT;
        }
        if call.data().fails(HostCall::Resume) {
            return status::INTERNAL_FAILURE;
        }
        decide(&mut call, Stream::let_through);
        status::OK
    })?;
    linker.func_wrap("env", "proxy_send_local_response", send_local_response)?;
    Ok(())
}

fn decide(call: &mut Call<'_>, decision: impl FnOnce(&mut Stream) -> std::result::Result<(), String>) {
    let context = call.data().context();
    let state = call.data_mut();
    let result = match state.streams.get_mut(context) {
        Some(stream) => decision(stream),
        None => Err(format!("context {context} is no request")),
    };
    if let Err(violation) = result {
        state.violations.push(violation);
    }
}

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn send_local_response(
    mut call: Call<'_>,
    code: u32,
    details: u32,
    details_length: u32,
    body: u32,
    body_length: u32,
    headers: u32,
    headers_length: u32,
    grpc_status: i32,
) -> Result<u32> {
    if call.data().fails(HostCall::Reply) {
        return Ok(status::INTERNAL_FAILURE);
    }
    let details = read_text(&mut call, details, details_length)?;
    let body = read_text(&mut call, body, body_length)?;
    let headers = HeaderMap::decode(&read(&mut call, headers, headers_length)?)?;
    let reply = Outcome::LocalReply { status: code, headers, body, details, grpc_status };
    decide(&mut call, |stream| stream.decide(reply));
    Ok(status::OK)
}
