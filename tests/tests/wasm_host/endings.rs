//! The ways in which a question can end, and what each means for the requests that wait.

use anyhow::Result;
use curfew_testbed::wasm_host::Host;

use crate::support::verdict;

/// The decision that a request must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Active,
    Revoked,
    Missing,
}

/// One way to end a callout.
pub(crate) struct Ending {
    pub(crate) name: &'static str,
    pub(crate) means: Verdict,
    pub(crate) end: fn(&mut Host, u32) -> Result<()>,
}

const fn missing(name: &'static str, end: fn(&mut Host, u32) -> Result<()>) -> Ending {
    Ending { name, means: Verdict::Missing, end }
}

/// An answer "active" with these headers.
fn active_behind(host: &mut Host, call: u32, headers: &[(&str, &[u8])]) -> Result<()> {
    host.answer_with(call, headers, &verdict("active"))
}

/// An answer "active" followed by so much white space.
fn padded(size: usize) -> Vec<u8> {
    let mut body = verdict("active");
    body.resize(size, b' ');
    body
}

/// Every ending.
pub(crate) const ENDINGS: [Ending; 30] = [
    Ending { name: "active", means: Verdict::Active, end: |host, call| host.answer(call, 200, &verdict("active")) },
    Ending { name: "revoked", means: Verdict::Revoked, end: |host, call| host.answer(call, 200, &verdict("revoked")) },
    Ending {
        name: "active as text/html, and headers twice and not UTF-8",
        means: Verdict::Active,
        end: |host, call| {
            let more: [(&str, &[u8]); 4] =
                [(":status", b"200"), ("content-type", b"text/html"), ("x", b"\xff"), ("x", b"\xfe")];
            active_behind(host, call, &more)
        },
    },
    missing("reset", Host::fail),
    missing("lost", |host, call| {
        host.lose(call);
        Ok(())
    }),
    missing("504", |host, call| host.answer(call, 504, b"upstream request timeout")),
    missing("503", |host, call| host.answer(call, 503, b"no healthy upstream")),
    missing("500", |host, call| host.answer(call, 500, b"{}")),
    missing("409", |host, call| host.answer(call, 409, br#"{"code":"keyspace_unknown"}"#)),
    missing("409 that names settings", |host, call| host.answer(call, 409, br#"{"differs":["user_claim",7,"x"]}"#)),
    missing("409 with a verdict", |host, call| host.answer(call, 409, &verdict("active"))),
    missing("401", |host, call| host.answer(call, 401, br#"{"code":"credentials_invalid"}"#)),
    missing("404 with a verdict", |host, call| host.answer(call, 404, &verdict("active"))),
    missing("201 with a verdict", |host, call| host.answer(call, 201, &verdict("active"))),
    missing("200 without a body", |host, call| host.answer(call, 200, b"")),
    missing("200 with a page", |host, call| host.answer(call, 200, b"<html>")),
    missing("200 with null", |host, call| host.answer(call, 200, b"null")),
    missing("200 with bytes", |host, call| host.answer(call, 200, &[0xff; 300])),
    missing("200 with brackets", |host, call| host.answer(call, 200, &[b'['; 4000])),
    missing("another verdict", |host, call| host.answer(call, 200, &verdict("perhaps"))),
    missing("a verdict cut short", |host, call| {
        let body = verdict("active");
        host.answer(call, 200, &body[..body.len() - 1])
    }),
    missing("two verdicts", |host, call| host.answer(call, 200, &verdict("active").repeat(2))),
    missing("a verdict in 4 KiB and a byte", |host, call| host.answer(call, 200, &padded(4097))),
    missing("a verdict in 1 MB", |host, call| host.answer(call, 200, &padded(1_000_000))),
    missing("less body than promised", |host, call| host.answer_promising(call, 4000, &verdict("active")[..40])),
    missing("4 GB promised", |host, call| host.answer_promising(call, u32::MAX, &verdict("active"))),
    missing("no status", |host, call| active_behind(host, call, &[("content-type", b"application/json")])),
    missing("an empty status", |host, call| active_behind(host, call, &[(":status", b"")])),
    missing("a status that is no text", |host, call| active_behind(host, call, &[(":status", b"\xff\xfe")])),
    missing("two statuses", |host, call| active_behind(host, call, &[(":status", b"503"), (":status", b"200")])),
];
