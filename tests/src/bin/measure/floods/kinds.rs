//! The kinds of requests in a flood, and the answer that each must get.

use anyhow::{Result, ensure};
use curfew_testbed::http::Request;
use curfew_testbed::measure::{Expected, Supply, get};
use curfew_testbed::stack::Stack;

use crate::tokens::{Keys, badly_signed, expired, good, junk, of_unknown_keys, requests};

/// Forgeries of a kind. None is ever cached, so a token that is sent again is as new as before.
const FORGED: usize = 5_000;

/// New tokens in one burst. An RSA signature takes the test program a millisecond or more.
const NEW_RS256: usize = 150;
const NEW_HS256: usize = 500;

/// The answer to a good token.
pub(super) const ADMITTED: Expected = Expected { status: 200, says: "" };

const GOOD: &str = "a good token, known";

/// One kind of request.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) curfew: Expected,
    /// `None` if `jwt_authn` has no such check.
    pub(super) jwt_authn: Option<Expected>,
    requests: Vec<Vec<u8>>,
    /// How many bursts share the requests, if each is sent once.
    once_in: Option<usize>,
}

impl Kind {
    fn refused(name: &'static str, tokens: &[String], curfew: &'static str, jwt_authn: &'static str) -> Self {
        let refused = |says| Expected { status: 401, says };
        let (curfew, jwt_authn) = (refused(curfew), Some(refused(jwt_authn)));
        Self { name, curfew, jwt_authn, requests: requests(tokens), once_in: None }
    }

    fn admitted(name: &'static str, tokens: &[String], once_in: Option<usize>) -> Self {
        Self { name, curfew: ADMITTED, jwt_authn: Some(ADMITTED), requests: requests(tokens), once_in }
    }

    /// The requests for one listener.
    pub(super) fn supply(&self) -> Supply {
        let requests = self.requests.clone();
        self.once_in.map_or_else(|| Supply::repeated(requests.clone()), |bursts| Supply::once(requests.clone(), bursts))
    }
}

/// All kinds, cheap ones first.
pub(super) fn kinds(keys: &Keys, stack: &Stack, bursts: usize) -> Result<Vec<Kind>> {
    const SIGNATURE: (&str, &str) = ("signature does not verify", "Jwt verification fails");
    let badly = |signer| badly_signed(signer, FORGED);
    let no_token = vec![get("/orders?page=2", &[])];
    Ok(vec![
        Kind::admitted(GOOD, &good(&keys.rs256, 1)?, None),
        Kind { requests: no_token, ..Kind::refused("no token", &[], "token_missing", "Jwt is missing") },
        Kind::refused("not a JWT", &junk(FORGED), "compact form", "not in the form"),
        Kind::refused("expired, RS256", &expired(&keys.rs256, 20)?, "token_expired", "Jwt is expired"),
        Kind::refused("unknown kid", &of_unknown_keys(FORGED), "key is not known", "match kid or alg"),
        Kind::refused("bad signature, HS256", &badly(&keys.hs256)?, SIGNATURE.0, SIGNATURE.1),
        Kind::refused("bad signature, RS256", &badly(&keys.rs256)?, SIGNATURE.0, SIGNATURE.1),
        Kind::refused("bad signature, ES256", &badly(&keys.es256)?, SIGNATURE.0, SIGNATURE.1),
        revoked(keys, stack)?,
        Kind::admitted("good, HS256, each new", &good(&keys.hs256, NEW_HS256 * bursts)?, Some(bursts)),
        Kind::admitted("good, RS256, each new", &good(&keys.rs256, NEW_RS256 * bursts)?, Some(bursts)),
    ])
}

/// Tokens that were logged out; from their second use on their proofs are cached.
fn revoked(keys: &Keys, stack: &Stack) -> Result<Kind> {
    let tokens = good(&keys.rs256, 20)?;
    for token in &tokens {
        let answer = stack.send(&Request::post("/api/v2/logout").bearer(token))?;
        ensure!(answer.status == 200, "logout: {} {}", answer.status, answer.text());
    }
    Ok(Kind { jwt_authn: None, ..Kind::refused("logged out, and known for it", &tokens, "token_revoked", "") })
}

/// Requests with good tokens that are known to the filter, for the bare listener.
pub(super) fn good_requests(kinds: &[Kind]) -> Vec<Vec<u8>> {
    kinds.iter().filter(|kind| kind.name == GOOD).flat_map(|kind| kind.requests.clone()).collect()
}
