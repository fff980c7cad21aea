//! Issuers whose keys the control plane hands out.

mod trouble;

use std::time::Duration;

use anyhow::{Result, bail};
use curfew_core::wire::{FeedAnswer, FeedRevocation, IssuerKeys, KEYS_PATH, KeysAnswer, KeysRequest};
use curfew_core::{Epoch, Kind, RevocationKey};
use curfew_testbed::tokens::{self, Signer, base64, jwks, with};
use curfew_testbed::wasm_host::{Action, Callout, Host, Outcome, START};
use serde_json::{Value, json};

use crate::feed::{EPOCH, LEASE, body, callouts_to, only_poll, page, questions, strict, until_polled};
use crate::support::{admitted, bearer, claims_of, configured, get, send};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn handed_out() -> Value {
    json!({"issuers": [{"issuer": tokens::ISSUER}]})
}

fn strict_host() -> Host {
    Host::start(&strict(handed_out())).unwrap()
}

fn bounded_host() -> Host {
    Host::start(&configured(handed_out())).unwrap()
}

/// Two keys, which have names of their own.
struct Signers {
    old: Signer,
    new: Signer,
}

impl Signers {
    fn new() -> Self {
        Self { old: Signer::generate("ES256").unwrap(), new: Signer::generate("EdDSA").unwrap() }
    }
}

fn token_of(signer: &Signer) -> String {
    signer.sign(&claims_of("alice")).unwrap()
}

/// A token that nobody has signed, and that names this key.
fn forged(kid: &str) -> String {
    let header = json!({"alg": "ES256", "kid": kid}).to_string();
    let claims = claims_of("mallory").to_string();
    format!("{}.{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()), base64(&[7; 64]))
}

fn keys_of(epoch: Epoch, keys_seq: u64, signers: &[&Signer]) -> Vec<u8> {
    let jwks = Some(jwks(signers.iter().copied()));
    let sets = vec![IssuerKeys { issuer: tokens::ISSUER.to_owned(), jwks }];
    serde_json::to_vec(&KeysAnswer { epoch, keys_seq, sets }).unwrap()
}

fn key_calls(host: &Host) -> Vec<Callout> {
    callouts_to(host, KEYS_PATH)
}

fn only_key_call(host: &Host) -> Result<Callout> {
    match key_calls(host).as_slice() {
        [call] => Ok(call.clone()),
        others => bail!("{} calls for keys are under way: {others:?}", others.len()),
    }
}

/// Answers the only call for keys that is under way.
fn give(host: &mut Host, keys_seq: u64, signers: &[&Signer]) -> Result<()> {
    let call = only_key_call(host)?;
    host.answer(call.token, 200, &keys_of(EPOCH, keys_seq, signers))
}

/// Answers the poll with a page up to `to`, which shows this change of keys, and with a lease.
fn show(host: &mut Host, to: u64, keys_seq: u64, news: &[FeedRevocation]) -> Result<()> {
    until_polled(host)?;
    let (call, poll) = only_poll(host)?;
    let answer = FeedAnswer { to, keys_seq, revocations: news.to_vec(), ..page(&poll, &[]) };
    let from = if poll.epoch == Some(EPOCH) { poll.applied } else { 0 };
    host.answer(call, 200, &body(&FeedAnswer { from, ..answer }))
}

fn say(host: &mut Host, keys_seq: u64, verdict: &str) -> Result<()> {
    let question = questions(host).pop().unwrap();
    let answer = json!({"epoch": EPOCH.to_string(), "seq": 9, "keys_seq": keys_seq, "verdict": verdict});
    host.answer(question.token, 200, answer.to_string().as_bytes())
}

/// The status, code and cause of a refusal.
fn refused(outcome: &Outcome) -> (u32, String) {
    let Outcome::LocalReply { status, details, body, .. } = outcome else { panic!("not refused: {outcome:?}") };
    let problem: Value = serde_json::from_str(body).unwrap();
    assert!(details.starts_with(&format!("curfew_{}", problem["code"].as_str().unwrap())), "{details}");
    (*status, details.clone())
}

const WITHOUT_KEYS: &str = "curfew_unavailable_without_keys";

/// A worker with these keys as of `keys_seq` 1, a lease, and nothing under way but its poll.
fn leased(signers: &[&Signer]) -> Host {
    let mut host = strict_host();
    let (stream, _) = send(&mut host, &token_of(signers[0])).unwrap();
    show(&mut host, 1, 1, &[]).unwrap();
    give(&mut host, 1, signers).unwrap();
    admitted(&host.outcome(stream).unwrap()).unwrap();
    host.close(stream).unwrap();
    host
}

#[test]
fn a_new_worker_asks_for_keys_and_for_the_log_and_needs_nothing_else() {
    let (mut host, signers) = (strict_host(), Signers::new());
    assert!(host.callouts().is_empty(), "before the first request, nothing is asked");
    let token = token_of(&signers.old);
    let (stream, outcome) = send(&mut host, &token).unwrap();
    assert_eq!(outcome, Outcome::Paused);
    let call = only_key_call(&host).unwrap();
    let request: KeysRequest = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(request, KeysRequest { issuers: vec![tokens::ISSUER.to_owned()], refresh: None });
    assert_eq!((call.timeout, call.headers.get("authorization").is_some()), (ms(250), true));
    show(&mut host, 0, 0, &[]).unwrap();
    give(&mut host, 0, &[&signers.old]).unwrap();
    let outcome = host.outcome(stream).unwrap();
    let headers = admitted(&outcome).unwrap();
    assert_eq!(headers.all("x-user-id"), ["alice"], "the edits are made when the headers are read again");
    assert_eq!(host.metric("curfew_checks_sent"), 0);
    assert_eq!((host.metric("curfew_key_calls_sent"), host.metric("curfew_key_waits")), (1, 1));
    admitted(&send(&mut host, &token).unwrap().1).unwrap();
    assert_eq!(host.metric("curfew_requests_admitted"), 2);
}

#[test]
fn a_request_that_waited_for_keys_is_stripped_of_what_its_client_forged() {
    let (mut host, signers) = (bounded_host(), Signers::new());
    let authorization = bearer(&token_of(&signers.old));
    let forged: [(&str, &[u8]); 3] =
        [("authorization", authorization.as_bytes()), ("x-user-id", b"root"), ("x_user_id", b"root")];
    let (stream, outcome) = host.request(&get("/orders", &forged)).unwrap();
    assert_eq!(outcome, Outcome::Paused);
    give(&mut host, 0, &[&signers.old]).unwrap();
    say(&mut host, 0, "active").unwrap();
    let outcome = host.outcome(stream).unwrap();
    let headers = admitted(&outcome).unwrap();
    assert_eq!((headers.all("x-user-id"), headers.all("x_user_id").len()), (vec!["alice".to_owned()], 0));
}

#[test]
fn a_body_waits_with_its_head_for_keys() {
    let (mut host, signers) = (bounded_host(), Signers::new());
    let authorization = bearer(&token_of(&signers.old));
    let headers = get("/orders", &[("authorization", authorization.as_bytes())]);
    let (stream, _) = host.request_with_body(&headers, b"{}").unwrap();
    assert_eq!(host.body(stream, 2, true).unwrap(), Action::Pause);
    give(&mut host, 0, &[&signers.old]).unwrap();
    say(&mut host, 0, "active").unwrap();
    admitted(&host.outcome(stream).unwrap()).unwrap();
}

#[test]
fn a_rotation_admits_nothing_by_old_keys_and_lets_good_tokens_wait_for_one_call() {
    let signers = Signers::new();
    let (old, new) = (token_of(&signers.old), token_of(&signers.new));
    let mut host = leased(&[&signers.old, &signers.new]);
    for token in [&old, &new] {
        admitted(&send(&mut host, token).unwrap().1).unwrap();
    }
    show(&mut host, 2, 2, &[]).unwrap();
    assert_eq!(only_poll(&host).unwrap().1.applied, 2, "acknowledged at once");
    only_key_call(&host).unwrap();
    let streams: Vec<_> = [&old, &new, &old, &new].map(|token| send(&mut host, token).unwrap()).to_vec();
    assert!(streams.iter().all(|(_, outcome)| *outcome == Outcome::Paused), "{streams:?}");
    give(&mut host, 2, &[&signers.new]).unwrap();
    for (place, (stream, _)) in streams.iter().enumerate() {
        match place % 2 {
            1 => assert!(admitted(&host.outcome(*stream).unwrap()).is_ok()),
            _ => assert_eq!(host.outcome(*stream).unwrap(), Outcome::Paused, "its issuer is asked for its key"),
        }
    }
    give(&mut host, 2, &[&signers.new]).unwrap();
    for (stream, _) in [&streams[0], &streams[2]] {
        assert_eq!(refused(&host.outcome(*stream).unwrap()), (401, "curfew_token_invalid".to_owned()));
    }
    assert_eq!(host.metric("curfew_checks_sent"), 0);
    assert_eq!((host.metric("curfew_keys_seq"), host.metric("curfew_keys_replaced")), (2, 2));
    assert_eq!(host.metric("curfew_requests_invalid"), 2);
}

#[test]
fn an_answer_that_is_newer_than_the_keys_has_the_keys_read_and_is_asked_again() {
    let signers = Signers::new();
    for removed in [false, true] {
        let mut host = bounded_host();
        let (stream, _) = send(&mut host, &token_of(&signers.old)).unwrap();
        give(&mut host, 0, &[&signers.old]).unwrap();
        say(&mut host, 3, "active").unwrap();
        assert_eq!(host.outcome(stream).unwrap(), Outcome::Paused);
        let kept: &[&Signer] = if removed { &[&signers.new] } else { &[&signers.new, &signers.old] };
        give(&mut host, 3, kept).unwrap();
        say(&mut host, 3, "active").unwrap();
        let outcome = host.outcome(stream).unwrap();
        if removed {
            assert_eq!(refused(&outcome), (401, "curfew_token_invalid_key_removed".to_owned()));
            assert_eq!(host.metric("curfew_keys_removed_meanwhile"), 1);
        } else {
            admitted(&outcome).unwrap();
        }
        assert_eq!((host.metric("curfew_checks_sent"), host.metric("curfew_key_calls_sent")), (2, 2));
    }
}

#[test]
fn a_flood_of_unknown_kids_costs_one_call_with_refresh() {
    let signers = Signers::new();
    let mut host = leased(&[&signers.old]);
    let (first, outcome) = send(&mut host, &forged("k0")).unwrap();
    assert_eq!(outcome, Outcome::Paused);
    let call = only_key_call(&host).unwrap();
    assert_eq!(call.json()["refresh"], tokens::ISSUER);
    give(&mut host, 1, &[&signers.old]).unwrap();
    assert_eq!(refused(&host.outcome(first).unwrap()), (401, "curfew_token_invalid".to_owned()));
    for number in 1..1_000 {
        let (stream, outcome) = send(&mut host, &forged(&format!("k{number}"))).unwrap();
        assert_eq!(refused(&outcome).0, 401);
        host.close(stream).unwrap();
    }
    assert!(key_calls(&host).is_empty());
    // A token that is signed by a new key is good as soon as the issuer may be asked again.
    for _ in 0..10 {
        host.advance(ms(1_000));
        show(&mut host, 1, 1, &[]).unwrap();
        admitted(&send(&mut host, &token_of(&signers.old)).unwrap().1).unwrap();
    }
    let (stream, _) = send(&mut host, &token_of(&signers.new)).unwrap();
    give(&mut host, 2, &[&signers.old, &signers.new]).unwrap();
    admitted(&host.outcome(stream).unwrap()).unwrap();
}

#[test]
fn a_crowd_that_waits_for_keys_is_released_in_portions() {
    let (mut host, signers) = (strict_host(), Signers::new());
    let token = token_of(&signers.old);
    let streams: Vec<_> = (0..1_200).map(|_| send(&mut host, &token).unwrap().0).collect();
    show(&mut host, 0, 0, &[]).unwrap();
    host.close(streams[40]).unwrap();
    host.close(streams[900]).unwrap();
    give(&mut host, 0, &[&signers.old]).unwrap();
    let living: Vec<_> = (0..1_200).filter(|place| ![40, 900].contains(place)).map(|place| streams[place]).collect();
    let decided =
        |host: &Host| living.iter().filter(|stream| host.outcome(**stream).unwrap() != Outcome::Paused).count();
    let mut before = decided(&host);
    assert_eq!(before, 32);
    while before < living.len() {
        assert_eq!(host.ticks_wanted(), Some(ms(1)));
        host.tick().unwrap();
        let now = decided(&host);
        assert!((1..=32).contains(&(now - before)), "{now} after {before}");
        before = now;
    }
    for stream in &living {
        admitted(&host.outcome(*stream).unwrap()).unwrap();
    }
    assert_eq!((host.metric("curfew_requests_admitted"), host.metric("curfew_key_calls_sent")), (1_198, 1));
    assert_eq!(host.metric("curfew_proofs_missed"), 1_200, "each is counted when it arrives");
}

#[test]
fn a_new_configuration_leaves_those_who_wait_with_the_old_one() {
    let (mut host, signers) = (strict_host(), Signers::new());
    let token = token_of(&signers.old);
    let (old, _) = send(&mut host, &token).unwrap();
    let first = only_key_call(&host).unwrap();
    assert!(host.reconfigure(&strict(with(handed_out(), json!({"cache_bytes": 1_000_000})))).unwrap());
    let (new, _) = send(&mut host, &token).unwrap();
    let calls = key_calls(&host);
    assert_eq!(calls.len(), 2, "each configuration has keys of its own");
    host.answer(first.token, 200, &keys_of(EPOCH, 0, &[&signers.old])).unwrap();
    assert_eq!(host.outcome(new).unwrap(), Outcome::Paused);
    say(&mut host, 0, "active").unwrap();
    admitted(&host.outcome(old).unwrap()).unwrap();
    give(&mut host, 0, &[&signers.old]).unwrap();
    say(&mut host, 0, "active").unwrap();
    admitted(&host.outcome(new).unwrap()).unwrap();
}

#[test]
fn a_logged_out_token_is_refused_from_the_copy_while_keys_are_read() {
    let signers = Signers::new();
    let token = token_of(&signers.old);
    let mut host = leased(&[&signers.old]);
    let key = RevocationKey::token(token.rsplit_once('.').unwrap().0.as_bytes());
    let logout = FeedRevocation { kind: Kind::Token, key, cutoff: START, expires_at: START + 3_600 };
    show(&mut host, 3, 3, &[logout]).unwrap();
    assert_eq!(refused(&send(&mut host, &token).unwrap().1), (401, "curfew_token_revoked".to_owned()));
}

#[test]
fn a_rested_worker_finds_a_rotation_that_no_kid_shows() {
    let (one, two) = ("a-secret-that-goes-0123456789abcdef", "a-secret-that-comes-0123456789abcdef");
    let token = |secret: &str| tokens::hs256_text(secret, r#"{"alg":"HS256"}"#, &claims_of("alice").to_string());
    let answer = |keys_seq: u64, secret: &str| {
        let jwks = Some(json!({"keys": [{"kty": "oct", "alg": "HS256", "k": base64(secret.as_bytes())}]}));
        let sets = vec![IssuerKeys { issuer: tokens::ISSUER.to_owned(), jwks }];
        serde_json::to_vec(&KeysAnswer { epoch: EPOCH, keys_seq, sets }).unwrap()
    };
    let mut host = strict_host();
    let (stream, _) = send(&mut host, &token(one)).unwrap();
    show(&mut host, 1, 1, &[]).unwrap();
    let call = only_key_call(&host).unwrap();
    host.answer(call.token, 200, &answer(1, one)).unwrap();
    admitted(&host.outcome(stream).unwrap()).unwrap();
    host.advance(LEASE * 3);
    let (stream, outcome) = send(&mut host, &token(two)).unwrap();
    assert_eq!(outcome, Outcome::Paused);
    let call = only_key_call(&host).unwrap();
    host.answer(call.token, 200, &answer(2, two)).unwrap();
    say(&mut host, 2, "active").unwrap();
    admitted(&host.outcome(stream).unwrap()).unwrap();
}
