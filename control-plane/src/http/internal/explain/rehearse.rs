//! Plays a request through the filter's own gate. The gate's calls are answered as the endpoints of the filter answer them,
//! and with what is stored of the token.

use std::sync::Arc;

use curfew_core::wire::{CheckAnswer, CheckRequest, FeedRevocation, KeysAnswer, KeysRequest};
use curfew_core::{Mistakes, TokenKeys};
use curfew_filter::rehearsal::{Answers, Known, Rehearsal};
use curfew_filter::request::Request;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::asked::{Asked, Place};
use super::remarks::{self, Noted};
use crate::explain::Answered;
use crate::http::problem::ApiError;
use crate::http::routes::KEYS_BODY;
use crate::http::state::AppState;
use crate::store::Explained;

/// How many rehearsals may run at once: each checks signatures and reads keys on a thread of its own.
const MOST_AT_ONCE: usize = 4;

/// The most bytes of what is told of a configuration that a filter would refuse.
const MOST_MISTAKES: usize = 2000;

static TURNS: Semaphore = Semaphore::const_new(MOST_AT_ONCE);

/// What a filter with this configuration would answer to the request with the token.
pub(super) async fn rehearse(state: &Arc<AppState>, token: &str, asked: Asked) -> Result<Answered, ApiError> {
    let turn = TURNS.acquire().await.map_err(|_| ApiError::Internal)?;
    let (state, token, runtime) = (Arc::clone(state), token.to_owned(), Handle::current());
    // The turn goes along: the thread works on if the caller goes away.
    let played = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        play(&state, runtime, &token, asked)
    });
    played.await.map_err(|_| ApiError::Internal)?
}

fn play(state: &Arc<AppState>, runtime: Handle, token: &str, asked: Asked) -> Result<Answered, ApiError> {
    let Asked { configuration, mut head, place } = asked;
    let rehearsal = Rehearsal::read(configuration.as_bytes()).map_err(|mistakes| refused(&mistakes))?;
    let wanted = match &place {
        Place::First => Some(None),
        Place::Wanted(place) => Some(Some(place.as_str())),
        Place::Nowhere => None,
    };
    let put = wanted.map(|wanted| rehearsal.put(token.as_bytes(), wanted, &mut head)).transpose();
    let token_in = put.map_err(|places| {
        ApiError::Malformed(format!("request.source is no place where the filter looks for tokens: {}.", places.0))
    })?;
    let pairs: Vec<_> = head.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
    let compared = state.policy.compared_with(&rehearsal.config().policy);
    let rules: Vec<_> = rehearsal.rules().to_vec();
    let agrees = rehearsal.config().policy.keyspaces().all(|keyspace| state.policy.knows(keyspace));
    let mut plane = Plane { state, runtime, agrees, noted: Noted::default() };
    let rehearsed = rehearsal.play(&Request::new(&pairs), state.clock.moment().now, &mut plane);
    let remarks = remarks::of(&state.keys, &compared, &plane.noted, &rehearsed.without_keys);
    Ok(Answered::of(rehearsed, |place| rules.get(place).cloned(), token_in, remarks))
}

/// The error for a configuration that a filter would refuse, in the filter's words.
fn refused(mistakes: &Mistakes) -> ApiError {
    let mut text = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if text.len() > MOST_MISTAKES {
        text.truncate(text.floor_char_boundary(MOST_MISTAKES));
        text.push_str(" ...");
    }
    ApiError::FilterConfiguration(text)
}

/// This control plane, as the calls of a filter reach it.
struct Plane<'a> {
    state: &'a Arc<AppState>,
    runtime: Handle,
    /// This control plane knows all keyspaces of the filter.
    agrees: bool,
    noted: Noted,
}

impl Answers for Plane<'_> {
    /// The issuer is not asked again: the explanation has just had that done, where the token's key was not known.
    fn keys(&mut self, request: &KeysRequest) -> Option<KeysAnswer> {
        // The endpoint of filters takes no longer body.
        if serde_json::to_string(request).is_ok_and(|body| body.len() > KEYS_BODY) {
            self.noted.too_many = true;
            return None;
        }
        let answer = self.runtime.block_on(self.state.keys.answer_for(request));
        self.noted.silent |= answer.is_none();
        answer
    }

    fn grants_leases(&mut self) -> bool {
        self.noted.no_lease |= !self.agrees;
        self.agrees
    }

    fn check(&mut self, request: &CheckRequest) -> Option<Known> {
        if !self.state.policy.knows(request.keyspace) {
            self.noted.disagrees = true;
            return None;
        }
        let CheckRequest { token, jti, session, subject, issued_at, .. } = *request;
        let keys = TokenKeys { token, jti, session, subject };
        let reading = timeout(self.state.check_timeout, self.state.records.explain(&keys, issued_at));
        let explained = self.runtime.block_on(reading).ok().and_then(Result::ok);
        self.noted.silent |= explained.is_none();
        explained.map(known)
    }
}

fn known(explained: Explained) -> Known {
    let Explained { position, keys_seq, verdict, same_second, revocations, spared, .. } = explained;
    let answer = CheckAnswer { epoch: position.epoch.to_string(), seq: position.seq, keys_seq, verdict, same_second };
    // In the order of the log.
    let revocations = spared.into_iter().chain(revocations).map(|found| FeedRevocation {
        kind: found.kind,
        key: found.key,
        cutoff: found.cutoff,
        expires_at: found.expires_at,
    });
    Known { answer, revocations: revocations.collect() }
}
