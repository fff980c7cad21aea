//! Ten thousand tokens that name keys which do not exist.

use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use curfew_testbed::http::{Answer, Request, connect, read_answer};
use curfew_testbed::key_server::KeyServer;
use curfew_testbed::stack::Stack;
use curfew_testbed::tokens::{Signer, jwks};

use super::{ISSUER, asked, get, token, until, with_kid};

const FLOOD: usize = 10_000;

/// Clients that send the flood, each over one connection and one request after the other.
const CLIENTS: usize = 4;

/// How long the issuer takes to answer. A request that waits for that takes longer, and every other one is told at once.
const SLOWNESS: Duration = Duration::from_millis(700);

/// One connection to Envoy.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(stack: &Stack) -> Self {
        Self(BufReader::new(connect(stack.address()).unwrap()))
    }

    fn get(&mut self, token: &str) -> (Answer, Duration) {
        let sent = Instant::now();
        let request = Request::get("/orders").bearer(token).to_open_connection();
        self.0.get_mut().write_all(&request).unwrap();
        (read_answer(&mut self.0, "GET").unwrap(), sent.elapsed())
    }
}

/// The median time of good requests, and how many there were, for as long as `goes_on`. All must be admitted.
fn good(stack: &Stack, token: &str, goes_on: impl Fn(usize) -> bool) -> (Duration, usize) {
    let (mut client, mut times) = (Client::new(stack), Vec::new());
    while goes_on(times.len()) {
        let (answer, took) = client.get(token);
        assert_eq!(answer.status, 200, "{}", answer.text());
        times.push(took);
        thread::sleep(Duration::from_millis(1));
    }
    times.sort();
    (times[times.len() / 2], times.len())
}

#[test]
fn a_flood_of_unknown_kids_costs_the_issuer_next_to_nothing_and_others_no_time() {
    let issuer = KeyServer::start().unwrap();
    let one = Signer::named("one").unwrap();
    issuer.lists(&jwks([&one]));
    let stack = asked(&issuer).plan(&[ISSUER]).start().unwrap();
    let token = token(&one, ISSUER);
    until("the keys come", || get(&stack, "/orders", &token).status == 200);
    let (quiet, _) = good(&stack, &token, |sent| sent < 300);

    issuer.takes(SLOWNESS, Duration::ZERO);
    let (before, begun) = (issuer.fetches(), Instant::now());
    let (next, slow, ended) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let flood = || {
        let mut client = Client::new(&stack);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= FLOOD {
                return;
            }
            let (answer, took) = client.get(&with_kid(&token, &format!("k{number}")));
            assert_eq!((answer.status, answer.code().as_str()), (401, "token_invalid"), "{}", answer.text());
            slow.fetch_add(usize::from(took >= SLOWNESS / 2), Ordering::Relaxed);
        }
    };
    let (busy, sent) = thread::scope(|scope| {
        let others = scope.spawn(|| good(&stack, &token, |sent| sent < 300 || !ended.load(Ordering::Relaxed)));
        let flooding: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(flood)).collect();
        let flooded: Vec<_> = flooding.into_iter().map(thread::ScopedJoinHandle::join).collect();
        ended.store(true, Ordering::Relaxed);
        flooded.into_iter().for_each(|ended| ended.unwrap());
        others.join().unwrap()
    });
    let (took, fetches, slow) = (begun.elapsed(), issuer.fetches() - before, slow.into_inner());
    println!("{FLOOD} in {took:?}: {fetches} fetches, {slow} waited; {sent} others: {quiet:?}, {busy:?} meanwhile");
    let most = usize::try_from(took.as_secs() / 10).unwrap() + 1;
    assert!((1..=most).contains(&fetches), "{fetches} fetches in {took:?}");
    // A worker asks at most once in ten seconds, and each client has one request at a time.
    assert!(slow <= 2 * CLIENTS * most, "{slow} requests of the flood waited");
    assert!(busy <= 4 * quiet + Duration::from_millis(20), "{busy:?} instead of {quiet:?}");
}
