//! A request as it arrived: raw bytes, because nothing that a client sends need be text.

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    headers: &'a [(&'a [u8], &'a [u8])],
}

impl<'a> Request<'a> {
    /// A request with these headers, pseudo-headers included, names in lower case as the proxy hands them over.
    pub fn new(headers: &'a [(&'a [u8], &'a [u8])]) -> Self {
        Self { headers }
    }

    /// All headers in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.headers.iter().copied()
    }

    /// Every value of a header, in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers().filter(move |(own, _)| own.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The first value of a header; empty if there is none.
    pub fn value(&self, name: &str) -> &'a [u8] {
        self.values(name).next().unwrap_or_default()
    }

    /// `:path` as it arrived, with its query.
    pub fn target(&self) -> &'a [u8] {
        self.value(":path")
    }

    /// The part of `:path` after the first `?`.
    pub fn query(&self) -> &'a [u8] {
        self.target().splitn(2, |&byte| byte == b'?').nth(1).unwrap_or_default()
    }

    /// `:method`.
    pub fn method(&self) -> &'a [u8] {
        self.value(":method")
    }

    /// True if this is a gRPC call of any kind (`application/grpc`, `+proto`, `-web` ...), whose client cannot read a
    /// problem document.
    pub fn is_grpc(&self) -> bool {
        const GRPC: &[u8] = b"application/grpc";
        self.value("content-type").get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
    }
}
