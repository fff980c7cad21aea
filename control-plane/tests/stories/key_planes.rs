//! Two control planes, processes of the real binary, on one PostgreSQL, and one issuer that is asked for its keys.

use std::time::{Duration, Instant};

use curfew_testbed::key_server::KeyServer;
use curfew_testbed::servers::Postgres;
use curfew_testbed::tokens::{Signer, jwks};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{Server, command, curfew};

const PATIENCE: Duration = Duration::from_secs(40);

/// How long a control plane that asks is waited for by the others.
const CLAIM: Duration = Duration::from_secs(10);

/// A control plane, which the issuer knows by the query of its questions.
struct Plane {
    server: Server,
    directory: TempDir,
}

impl Plane {
    fn start(name: &str, url: &str, issuer: &KeyServer) -> Self {
        let directory = TempDir::new().unwrap();
        let mut serve = command(directory.path());
        serve
            .env("DATABASE_URL", url)
            .env("JWKS_URL", format!("{}?{name}", issuer.url()))
            .env("CURFEW_KEYS_MIN_INTERVAL", "1s")
            .env("CURFEW_KEYS_MAX_INTERVAL", "1s")
            .env("CURFEW_INTERNAL_SECRET", "an-internal-secret-of-both")
            .env("APP_ID", "shop")
            .env("APP_KEY", "a-key-of-16-bytes");
        Self { server: Server::spawn(directory.path(), serve), directory }
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut client = command(self.directory.path());
        client.args(arguments).env("CURFEW_INTERNAL_SECRET", "an-internal-secret-of-both");
        crate::binary::curfew_with(client, &self.server)
    }

    fn kids(&self) -> Vec<String> {
        let (code, shown, error) = self.run(&["keys", "list", "--json"]);
        assert_eq!(code, Some(0), "{error}");
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let keys = shown["sets"][0]["keys"].as_array().cloned().unwrap_or_default();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn one_of_two_control_planes_asks_and_the_other_takes_over_when_it_is_killed() {
    let postgres = Postgres::start().unwrap();
    let url = postgres.fresh_database("keys_of_two").unwrap();
    let issuer = KeyServer::start().unwrap();
    let [one, two] = ["one", "two"].map(|kid| Signer::named(kid).unwrap());
    issuer.lists(&jwks([&one]));
    let mut planes = vec![("a", Plane::start("a", &url, &issuer)), ("b", Plane::start("b", &url, &issuer))];
    until("both know the key", || planes.iter().all(|(_, plane)| plane.kids() == ["one"]));

    // The interval is one second, for both together.
    let (begun, before) = (Instant::now(), issuer.fetches());
    std::thread::sleep(Duration::from_secs(5));
    let (fetches, most) = (issuer.fetches() - before, usize::try_from(begun.elapsed().as_secs()).unwrap() + 1);
    assert!((2..=most).contains(&fetches), "{fetches} fetches in {:?}", begun.elapsed());

    // Either may be told to ask.
    for ((_, plane), list) in planes.iter().zip([jwks([&one, &two]), jwks([&two])]) {
        issuer.lists(&list);
        let (code, _, error) = plane.run(&["keys", "refresh"]);
        assert_eq!(code, Some(0), "{error}");
        let kids = planes.iter().map(|(_, plane)| plane.kids()).collect::<Vec<_>>();
        assert_eq!(kids[0], kids[1]);
        assert_eq!(kids[0].len(), list["keys"].as_array().unwrap().len());
    }

    // Whichever asks next is killed while it waits for the answer.
    issuer.holds_next();
    until("one of them asks", || issuer.held() == 1);
    let (killed, asked) = (Instant::now(), issuer.fetches());
    let asking = issuer.queries().last().unwrap().clone();
    let place = planes.iter().position(|(name, _)| *name == asking).unwrap();
    drop(planes.remove(place));
    issuer.lists(&jwks([&one]));
    let (name, other) = &planes[0];
    until("the other one asks", || issuer.fetches() > asked);
    assert!(killed.elapsed() > CLAIM - Duration::from_secs(2), "it is not asked twice at once: {:?}", killed.elapsed());
    assert!(killed.elapsed() < CLAIM + Duration::from_secs(8), "{:?}", killed.elapsed());
    println!("the other control plane asked {:?} later", killed.elapsed());
    until("the new key is in force", || other.kids() == ["one"]);
    let queries = issuer.queries();
    assert!(queries[asked..].iter().all(|query| query == name), "{queries:?}");
}

/// What it has from its issuer is enough for a start without it.
#[test]
fn a_restart_while_the_issuer_is_away_goes_on_with_the_last_good_set() {
    let (directory, issuer) = (TempDir::new().unwrap(), KeyServer::start().unwrap());
    let one = Signer::named("one").unwrap();
    issuer.lists(&jwks([&one]));
    let start = || {
        let mut serve = command(directory.path());
        serve.env("JWKS_URL", issuer.url());
        Server::spawn(directory.path(), serve)
    };
    let mint = || one.sign(&curfew_testbed::tokens::claims("alice")).unwrap();
    let log_out = |server: &Server| {
        let (_, done, error) = curfew(directory.path(), server, &["logout", "--token", &mint()]);
        format!("{done}{error}")
    };
    let server = start();
    until("the key comes", || log_out(&server) == "Successfully Logged Out.");
    issuer.goes_down();
    drop(server);
    let server = start();
    assert_eq!(log_out(&server), "Successfully Logged Out.");
}
