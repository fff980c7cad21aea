//! Four issuers of one control plane, one for each kind of source.

use curfew_testbed::key_server::KeyServer;
use curfew_testbed::tokens::{Signer, jwks};
use serde_json::json;

use super::{Issuers, get, token, until};
use crate::shared::told;

const NAMES: [&str; 4] = [
    "https://url.example.com",
    "https://file.example.com",
    "https://document.example.com",
    "https://inline.example.com",
];

#[test]
fn four_issuers_have_their_keys_from_four_kinds_of_source_and_a_file_that_changes_is_followed() {
    let signers = ["url", "file", "document", "inline"].map(|kid| Signer::named(kid).unwrap());
    let [by_url, by_document] = [KeyServer::start().unwrap(), KeyServer::start().unwrap()];
    by_url.lists(&jwks([&signers[0]]));
    by_document.lists(&jwks([&signers[2]]));
    by_document.describes(NAMES[2]);
    let issuers = Issuers::new(&json!([]));
    let file = issuers.path("keys.json");
    std::fs::write(&file, jwks([&signers[1]]).to_string()).unwrap();
    issuers.write(&json!([
        {"issuer": NAMES[0], "jwks_url": by_url.url()},
        {"issuer": NAMES[1], "jwks_file": file},
        {"issuer": NAMES[2], "discovery": by_document.issuer()},
        {"issuer": NAMES[3], "jwks": jwks([&signers[3]])},
    ]));
    let stack = issuers.plan(&NAMES).start().unwrap();
    let tokens: Vec<_> = signers.iter().zip(NAMES).map(|(signer, issuer)| token(signer, issuer)).collect();
    for token in &tokens {
        until("the keys come", || get(&stack, "/orders", token).status == 200);
    }
    // Each key is its own issuer's alone.
    for (place, signer) in signers.iter().enumerate() {
        let strange = token(signer, NAMES[(place + 1) % NAMES.len()]);
        assert_eq!(told(&get(&stack, "/orders", &strange)), (401, "token_invalid".into()), "{place}");
    }

    let new = Signer::named("new").unwrap();
    std::fs::write(&file, "{\"keys\": [{\"kty\"").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(get(&stack, "/orders", &tokens[1]).status, 200, "a file that is half written changes nothing");
    std::fs::write(&file, jwks([&new]).to_string()).unwrap();
    let of_new = token(&new, NAMES[1]);
    println!(
        "a file was followed after {:?}",
        until("it is followed", || get(&stack, "/orders", &of_new).status == 200)
    );
    // Nobody waits for the workers that a file tells of its change: the other one may follow a little later.
    until("all workers have followed", || (0..20).all(|_| get(&stack, "/orders", &tokens[1]).status == 401));
    for _ in 0..8 {
        assert_eq!(told(&get(&stack, "/orders", &tokens[1])), (401, "token_invalid".into()));
        for token in [&tokens[0], &tokens[2], &tokens[3], &of_new] {
            assert_eq!(get(&stack, "/orders", token).status, 200);
        }
    }
}
