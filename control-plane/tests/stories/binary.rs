//! The real binary, without any configuration.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use curfew_control_plane::cli::client::Call;
use serde_json::Value;
use tempfile::TempDir;

/// A running `curfew serve`, killed when it is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) public: String,
    pub(crate) internal: String,
}

impl Server {
    pub(crate) fn start(directory: &Path) -> Self {
        Self::spawn(directory, command(directory))
    }

    /// Starts the command as a server.
    pub(crate) fn spawn(directory: &Path, mut command: Command) -> Self {
        let mut process = command
            .args(["serve", "--public-listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(directory.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = |name: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(name).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        let (public, internal) = (address("public  "), address("internal "));
        Self { process, public, internal }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn stop(mut self) -> (Option<i32>, Duration) {
        let asked = std::time::Instant::now();
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        (self.process.wait().unwrap().code(), asked.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_curfew"));
    command.env_clear().current_dir(directory);
    command
}

/// Runs a command against the server; returns its exit code, standard output and standard error.
pub(crate) fn curfew(directory: &Path, server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command(directory);
    command.args(arguments);
    curfew_with(command, server)
}

pub(crate) fn curfew_with(mut command: Command, server: &Server) -> (Option<i32>, String, String) {
    let output =
        command.env("CURFEW_PUBLIC_URL", &server.public).env("CURFEW_INTERNAL_URL", &server.internal).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn logout_is_played_with_nothing_configured() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path());
    let run = |arguments: &[&str]| curfew(directory.path(), &server, arguments);
    let ok = |text: &str| (Some(0), text.to_owned(), String::new());

    let (code, token, _) = run(&["token", "mint", "--user", "alice", "--session", "phone", "--register"]);
    assert_eq!((code, token.split('.').count()), (Some(0), 3));
    let (code, shown, _) = run(&["token", "inspect", &token]);
    assert_eq!(code, Some(0));
    assert!(shown.contains("\"sid\": \"phone\"") && shown.ends_with("accepted"), "{shown}");
    let (_, sessions, _) = run(&["sessions", "--user", "alice"]);
    assert!(sessions.contains("  active  "), "{sessions}");
    assert_eq!(run(&["gateways"]), ok("no worker has polled within 30 s"));

    assert_eq!(run(&["logout", "--token", &token]), ok("Successfully Logged Out."));
    let revoked = "error: 401 Unauthorized: The token was logged out. (token_revoked)";
    assert_eq!(run(&["logout", "--token", &token]), (Some(1), String::new(), revoked.to_owned()));
    let (_, sessions, _) = run(&["sessions", "--user", "alice", "--json"]);
    let sessions: Value = serde_json::from_str(&sessions).unwrap();
    assert_eq!(sessions["sessions"][0]["block_reason"], "logout");

    let (_, other, _) = run(&["token", "mint", "--user", "alice"]);
    assert_eq!(run(&["logout", "--user", "alice"]), ok("Successfully Logged Out From All Device."));
    // It was minted in the second of the logout, or before.
    let refused = run(&["logout", "--token", &other]).2;
    assert!(refused.starts_with("error: 401 Unauthorized: ") && refused.ends_with(" (token_revoked)"), "{refused}");

    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    for secret in [&token, &other, "alice"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_token_need_not_be_shown_to_the_list_of_processes() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path());
    let mint = || curfew(directory.path(), &server, &["token", "mint", "--user", "alice"]).1;
    let run = |arguments: &[&str], prepare: &dyn Fn(&mut Command)| {
        let mut command = command(directory.path());
        command.arg("logout").args(arguments).stdin(Stdio::null());
        prepare(&mut command);
        curfew_with(command, &server)
    };
    let ok = |text: &str| (Some(0), text.to_owned(), String::new());
    let usage = |text: &str| (Some(2), String::new(), format!("error: {text}"));

    let file = directory.path().join("token");
    std::fs::write(&file, format!("{}\n", mint())).unwrap();
    let from_file = |command: &mut Command| {
        command.stdin(std::fs::File::open(&file).unwrap());
    };
    assert_eq!(run(&["--token", "-"], &from_file), ok("Successfully Logged Out."));

    let token = mint();
    let in_environment = |command: &mut Command| {
        command.env("CURFEW_TOKEN", &token);
    };
    let (_, done, note) = run(&["--user", "bob"], &in_environment);
    assert_eq!(done, "Successfully Logged Out From All Device.");
    assert_eq!(note, "note: no token of this user is known: is the ID what the tokens have in the user claim?");
    assert_eq!(run(&["--all-devices"], &in_environment), ok("Successfully Logged Out From All Device."));
    assert_eq!(run(&[], &|_| ()), usage("give --token, CURFEW_TOKEN or --user"));
    assert_eq!(run(&["--token", "-"], &|_| ()), usage("the token is empty"));
}

#[tokio::test]
async fn a_restart_forgets_no_logout_and_a_signal_ends_it_in_order() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path());
    let (_, token, _) = curfew(directory.path(), &server, &["token", "mint", "--user", "alice"]);
    curfew(directory.path(), &server, &["logout", "--token", &token]);
    // An idle connection does not delay the end.
    let mut idle = TcpStream::connect(server.public.strip_prefix("http://").unwrap()).unwrap();
    idle.write_all(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let (code, took) = server.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");

    let server = Server::start(directory.path());
    let call = Call {
        base: &server.public,
        method: axum::http::Method::POST,
        path: "/api/v2/logout",
        bearer: Some(&token),
        body: None,
    };
    let refused = call.send().await.unwrap_err().to_string();
    assert_eq!(refused, "401 Unauthorized: The token was logged out. (token_revoked)");
}

#[test]
fn a_token_that_is_not_accepted_is_explained() {
    let directory = TempDir::new().unwrap();
    let mint = |secret: &str| {
        let output = command(directory.path())
            .args(["token", "mint", "--user", "a"])
            .env("JWT_SECRET", secret)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let foreign = mint("another secret that has 32 bytes or more");
    let output = command(directory.path())
        .args(["token", "inspect", foreign.trim()])
        .env("JWT_SECRET", "the secret of this server, 32 bytes or more")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.ends_with("not accepted: The token's signature does not verify. (signature)\n"), "{shown}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let directory = TempDir::new().unwrap();
    let output = command(directory.path()).args(["logout", "--token", "a.b.c", "--url", "http://127.0.0.1:1"]).output();
    let output = output.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("error: no answer from http://127.0.0.1:1: "), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

/// Answers each connection with this, as some other server may; returns its address.
fn another_server(answer: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A connection that is closed with unread bytes in it is reset, and the answer may be lost.
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                line.clear();
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn an_answer_of_another_server_is_no_logout() {
    let directory = TempDir::new().unwrap();
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 16\r\nconnection: close\r\n\r\n{\"message\":\"ok\"}",
        "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
    ] {
        let url = another_server(answer);
        for arguments in
            [["--token", "a.b.c", "--url", &url].as_slice(), &["--token", "a.b.c", "--all-devices", "--url", &url]]
        {
            let output = command(directory.path()).arg("logout").args(arguments).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(stderr.starts_with(&format!("error: {url} is not a Curfew control plane: ")), "{stderr}");
            assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()), "{answer}");
        }
        for arguments in [["gateways"].as_slice(), &["sessions", "--user", "alice"]] {
            let mut reading = command(directory.path());
            reading.args(arguments).args(["--internal-url", &url]).env("CURFEW_INTERNAL_SECRET", "an-internal-secret");
            let output = reading.output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(stderr.starts_with(&format!("error: {url} is not a Curfew control plane: ")), "{stderr}");
            assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()), "{answer}");
        }
        let mut lgt_all = command(directory.path());
        lgt_all.args(["logout", "--user", "alice", "--internal-url", &url]);
        lgt_all.env("APP_ID", "shop").env("APP_KEY", "a key of the application");
        let output = lgt_all.output().unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()), "{answer}");
    }
}

#[test]
fn a_request_that_has_begun_is_finished_after_the_signal() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path());
    let mut client = TcpStream::connect(server.internal.strip_prefix("http://").unwrap()).unwrap();
    let head = "POST /api/v2/lgt-all HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
    client.write_all(format!("{head}content-length: 4\r\n\r\n[1").as_bytes()).unwrap();
    // The request has begun only if its head was read before the signal.
    std::thread::sleep(Duration::from_millis(200));
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        client.write_all(b"2]").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    });
    assert_eq!(server.stop().0, Some(0));
    let answer = late.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("\"code\":\"request_malformed\""), "{answer}");
}

/// Sends the requests over one connection, each after the answer to the last one. Returns the statuses.
fn over_one_connection(server: &Server, requests: &[&[&str]]) -> Vec<u16> {
    let stream = TcpStream::connect(server.public.strip_prefix("http://").unwrap()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let ask = |parts: &&[&str]| {
        for part in *parts {
            (&stream).write_all(part.as_bytes()).unwrap();
            // The pause makes the server read the parts one by one.
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "closed after: {head}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        reader.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
        head["HTTP/1.1 ".len()..][..3].parse().unwrap()
    };
    requests.iter().map(ask).collect()
}

#[test]
fn a_client_that_sends_a_small_body_with_a_logout_keeps_its_connection() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(directory.path());
    let head = |more: &str| format!("POST /api/v2/logout HTTP/1.1\r\nhost: x\r\n{more}\r\n");
    let (empty, small) = (head(""), head("content-length: 2\r\n"));
    let (chunked, at_once) = (head("transfer-encoding: chunked\r\n"), format!("{small}{{}}"));
    let requests: [&[&str]; 5] =
        [&[&at_once], &[&small, "{}"], &[&chunked, "2\r\n{}\r\n", "0\r\n\r\n"], &[&empty], &[&small, "{", "}"]];
    assert_eq!(over_one_connection(&server, &requests), [401; 5]);
}

#[test]
fn a_second_server_on_the_same_file_is_refused_until_the_first_one_is_gone() {
    let directory = TempDir::new().unwrap();
    let first = Server::start(directory.path());
    let mut second = command(directory.path());
    second.args(["serve", "--public-listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]);
    let refused = second.output().unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    let listens = |url: &str| url.trim_start_matches("http://").to_owned();
    let holder = format!(
        "process {}, which listens on {} and {}. A SQLite file has one control plane",
        first.process.id(),
        listens(&first.public),
        listens(&first.internal)
    );
    assert_eq!((refused.status.code(), refused.stdout.as_slice()), (Some(1), b"".as_slice()), "{told}");
    assert!(told.contains("another `curfew serve` uses ") && told.contains(&holder), "{told}");
    // The first one works on, and other commands work beside it.
    let (code, token, _) = curfew(directory.path(), &first, &["token", "mint", "--user", "alice"]);
    assert_eq!(code, Some(0));
    assert_eq!(curfew(directory.path(), &first, &["epoch", "bump"]).0, Some(0));
    assert_eq!(curfew(directory.path(), &first, &["migrate"]).0, Some(0));
    // The kernel frees the lock of a process that is killed.
    drop(first);
    let third = Server::start(directory.path());
    assert_eq!(curfew(directory.path(), &third, &["logout", "--token", &token]).0, Some(0));
}

#[test]
fn keys_that_are_not_used_are_told_at_the_start() {
    let directory = TempDir::new().unwrap();
    let k = "A".repeat(43);
    let keys = format!(
        r#"{{"keys": [{{"kty": "oct", "alg": "HS256", "k": "{k}"}}, {{"kty": "RSA", "kid": "old", "n": "AQAB=", "e": "AQAB"}}]}}"#
    );
    std::fs::write(directory.path().join("jwks.json"), keys).unwrap();
    let mut command = command(directory.path());
    command.env("JWKS_FILE", "jwks.json");
    drop(Server::spawn(directory.path(), command));
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    let told = "JWKS_FILE: keys[1]: (kid old) is not used: n is not base64url: it ends with '='";
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains(told)), "{log}");
}
