//! Connections that say nothing, in a number that once kept every client from logging out.

use std::time::{Duration, Instant};

use curfew_testbed::http::{Request, connect};
use curfew_testbed::stack::Plan;
use curfew_testbed::tokens::{Signer, claims};

/// More connections than the public listener has places and the kernel keeps waiting.
const SILENT: usize = 4_480;

#[test]
fn silent_connections_to_the_control_plane_do_not_keep_clients_from_logging_out() {
    let stack = Plan::shipped().unwrap().start().unwrap();
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    for address in [stack.control_plane.public(), stack.control_plane.internal()] {
        let held: Vec<_> = (0..SILENT).map(|_| connect(address).unwrap()).collect();
        for user in ["alice", "bob", "carol", "dave"] {
            let token = signer.sign(&claims(user)).unwrap();
            let asked = Instant::now();
            let logout = stack.send(&Request::post("/api/v2/logout").bearer(&token)).unwrap();
            println!("{} silent, and a logout in {:?}", held.len(), asked.elapsed());
            assert_eq!((logout.status, logout.text().as_str()), (200, r#"{"message":"Successfully Logged Out."}"#));
            assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
            let refused = stack.send(&Request::get("/orders").bearer(&token)).unwrap();
            assert_eq!((refused.status, refused.code().as_str()), (401, "token_revoked"));
        }
    }
}
