//! The events of a script, as a fuzzer writes them: a line for each.
//!
//! | line | event |
//! |---|---|
//! | `kN` | first of all: the number of the configuration |
//! | `rNAME:VALUE␟NAME:VALUE` | a request; `@N` in a value stands for one of some tokens, and `{...}` to its end for a token with these claims, signed |
//! | `+N`, `-N` | a question is answered: active, revoked |
//! | `pN WORDS` | a poll is answered with a page, see `decisions/pages.rs` |
//! | `yN WORDS` | a call for keys is answered, see `decisions/key_sets.rs` |
//! | `aN:STATUS:BODY` | a question or a poll gets any answer |
//! | `xN` | its connection is reset |
//! | `tN`, `wN` | milliseconds pass; the wall clock is set by seconds |
//! | `cN` | a client goes away |
//! | `d`, `u` | the control plane goes away, and comes back |
//! | `iN` | so many ticks come, each at the time that the filter wants |
//! | `o` | a tick comes out of turn |
//! | `s` | ticks come until none is wanted: requests that are held are released, and polls get no answer until the worker leaves |

use super::head::{self, Pairs};

/// The separator between the headers of a request.
pub(super) const SEPARATOR: u8 = 0x1f;

/// The largest number of events in a script; the rest is cut off.
const MOST_EVENTS: usize = 100;

/// The largest number of ticks of one event.
const MOST_TICKS: u8 = 50;

/// An event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Request(Pairs),
    Verdict { question: usize, body: Vec<u8> },
    Page { poll: usize, words: Vec<u8> },
    Keys { call: usize, words: Vec<u8> },
    Answer { call: usize, status: u16, body: Vec<u8> },
    Reset(usize),
    Pass(u64),
    SetClock(i64),
    Leave(usize),
    Plane(bool),
    Ticks(u8),
    TickNow,
    Settle,
}

/// The number of the configuration, and the events, each with its line for error messages.
pub(super) fn read(text: &[u8]) -> (usize, Vec<(String, Event)>) {
    let mut lines = text.split(|&byte| byte == b'\n').peekable();
    let configuration = match lines.peek().and_then(|line| line.strip_prefix(b"k")) {
        Some(digits) => usize::from(number::<u16>(digits)),
        None => 0,
    };
    let shown = |line: &[u8]| Some((line.escape_ascii().to_string(), event(line)?));
    (configuration, lines.filter_map(shown).take(MOST_EVENTS).collect())
}

fn event(line: &[u8]) -> Option<Event> {
    let (kind, rest) = line.split_first()?;
    let place = || usize::from(number::<u16>(rest));
    let verdict = |verdict: &str| {
        let body = format!(r#"{{"epoch":"00000000000000000000000000000000","seq":1,"verdict":"{verdict}"}}"#);
        Event::Verdict { question: place(), body: body.into_bytes() }
    };
    Some(match kind {
        b'r' => Event::Request(request(rest)),
        b'+' => verdict("active"),
        b'-' => verdict("revoked"),
        b'p' => {
            let (poll, words) = place_and_words(rest);
            Event::Page { poll, words }
        }
        b'y' => {
            let (call, words) = place_and_words(rest);
            Event::Keys { call, words }
        }
        b'a' => {
            let mut parts = rest.splitn(3, |&byte| byte == b':');
            let mut part = || parts.next().unwrap_or_default();
            let (call, status) = (usize::from(number::<u16>(part())), number(part()));
            Event::Answer { call, status, body: part().to_vec() }
        }
        b'x' => Event::Reset(place()),
        b't' => Event::Pass(number::<u32>(rest).into()),
        b'w' => Event::SetClock(i64::from(number::<i32>(rest)) % 10_000_000),
        b'c' => Event::Leave(place()),
        b'd' => Event::Plane(false),
        b'u' => Event::Plane(true),
        b'i' => Event::Ticks(number::<u8>(rest).min(MOST_TICKS)),
        b'o' => Event::TickNow,
        b's' => Event::Settle,
        _ => return None,
    })
}

fn place_and_words(text: &[u8]) -> (usize, Vec<u8>) {
    let (place, words) = text.split_at(text.iter().position(|&byte| byte == b' ').unwrap_or(text.len()));
    (usize::from(number::<u16>(place)), words.to_vec())
}

/// Headers, preceded by the pseudo-headers that every request has.
fn request(text: &[u8]) -> Pairs {
    let given: Pairs = text.split(|&byte| byte == SEPARATOR).filter_map(head::line).collect();
    let usual = [(":method", "GET"), (":path", "/orders"), (":authority", "shop.example"), (":scheme", "https")];
    let missing = usual.iter().filter(|(name, _)| !given.iter().any(|(own, _)| own == name.as_bytes()));
    let mut pairs: Pairs = missing.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    pairs.extend(given);
    pairs
}

/// The decimal number at the start of a text, or zero.
pub(super) fn number<T: std::str::FromStr + Default>(text: &[u8]) -> T {
    std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_line_by_line() {
        let (configuration, events) = read(
            b"k2\nrauthorization:Bearer @0\x1f:path:/a\n+1\na0:503:\nx0\nt10\nw-5\nc0\nd\nu\np1 @0 l9\np\ni99\no\ns\n?",
        );
        let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let (lines, events): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        let Some((Event::Request(headers), rest)) = events.split_first() else { panic!("{events:?}") };
        assert_eq!((configuration, headers.len(), lines[1].as_str()), (2, 5, "+1"));
        assert_eq!(headers[3..], [pair("authorization", "Bearer @0"), pair(":path", "/a")]);
        assert!(matches!(rest[0], Event::Verdict { question: 1, .. }));
        let answer = Event::Answer { call: 0, status: 503, body: vec![] };
        let others = [answer, Event::Reset(0), Event::Pass(10), Event::SetClock(-5), Event::Leave(0)];
        assert_eq!(rest[1..6], others);
        let page = |poll, words: &str| Event::Page { poll, words: words.as_bytes().to_vec() };
        let last = [page(1, " @0 l9"), page(0, ""), Event::Ticks(50), Event::TickNow, Event::Settle];
        assert_eq!(rest[6..8], [Event::Plane(false), Event::Plane(true)]);
        assert_eq!(rest[8..], last);
    }
}
