//! A WebSocket whose token comes as a subprotocol, through the configuration that the documentation shows.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use curfew_testbed::http::{Answer, Request, connect};
use curfew_testbed::ports::loopback;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};
use curfew_testbed::workspace;
use serde_json::{Value, json};

use crate::shared::{PATIENCE, told};

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// The key and the answer to it in RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How long a stream may be quiet where its route says nothing else.
const IDLE: Duration = Duration::from_secs(2);

/// "Hello" as a client and as a server sends it: RFC 6455 section 5.7.
const MASKED: [u8; 11] = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
const UNMASKED: [u8; 7] = [0x81, 0x05, b'H', b'e', b'l', b'l', b'o'];

/// A WebSocket server that takes the first subprotocol that it is offered, and sends each short frame back.
struct Chat {
    address: SocketAddr,
    /// The head of each handshake that has reached it.
    heads: Receiver<String>,
}

impl Chat {
    /// Its threads end with this process.
    fn start() -> Result<Self> {
        let listener = TcpListener::bind(loopback(0))?;
        let address = listener.local_addr()?;
        let (sender, heads) = channel();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let sender = sender.clone();
                thread::spawn(move || serve(connection, &sender));
            }
        });
        Ok(Self { address, heads })
    }

    /// The values of a header in the next handshake that reaches it.
    fn saw(&self, name: &str) -> Vec<String> {
        values(&self.heads.recv_timeout(PATIENCE).unwrap(), name)
    }
}

fn values(head: &str, name: &str) -> Vec<String> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
}

/// Reads until the empty line behind a head.
fn head(connection: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head)?)
}

fn serve(mut connection: TcpStream, sender: &Sender<String>) -> Result<()> {
    let head = head(&mut connection)?;
    let offered = values(&head, "sec-websocket-protocol").join(",");
    let chosen = offered.split(',').next().unwrap_or_default().trim().to_owned();
    assert_eq!(values(&head, "sec-websocket-key"), [KEY]);
    sender.send(head)?;
    write!(
        connection,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: {chosen}\r\n\r\n"
    )?;
    loop {
        let mut start = [0; 6];
        connection.read_exact(&mut start)?;
        let mut payload = vec![0; usize::from(start[1] & 0x7f)];
        connection.read_exact(&mut payload)?;
        for (byte, mask) in payload.iter_mut().zip(start[2..].iter().cycle()) {
            *byte ^= mask;
        }
        connection.write_all(&[start[0], u8::try_from(payload.len())?])?;
        connection.write_all(&payload)?;
    }
}

/// The YAML under "Tokens of WebSockets".
fn documented() -> Value {
    let page = std::fs::read_to_string(workspace::root().join("docs/filter-configuration.md")).unwrap();
    let (_, section) = page.split_once("\n### Tokens of WebSockets\n").unwrap();
    let (_, yaml) = section.split_once("```yaml\n").unwrap();
    serde_saphyr::from_str(yaml.split("```").next().unwrap()).unwrap()
}

struct Scene {
    stack: Stack,
    chat: Chat,
    signer: Signer,
}

impl Scene {
    /// The documented route leads to the server, and so does one without a time of its own.
    fn start() -> Result<Self> {
        let chat = Chat::start()?;
        let mut plan = Plan::shipped()?.change_filter(|filter| {
            filter["sources"] = json!([{"header": "authorization"}, {"subprotocol": "access_token"}]);
            filter["forward"] = json!(false);
        })?;
        plan.bootstrap.add_cluster("chat", chat.address)?;
        let documented = documented();
        plan.bootstrap.add_to_connection_manager("upgrade_configs", documented["upgrade_configs"].clone())?;
        plan.bootstrap.set_connection_manager("stream_idle_timeout", json!(format!("{}s", IDLE.as_secs())))?;
        let mut config = plan.bootstrap.at(&format!("{MANAGER}/route_config"))?.clone();
        let routes = config.pointer_mut("/virtual_hosts/0/routes").and_then(Value::as_array_mut).context("routes")?;
        let mut route = documented["routes"][0].clone();
        route["route"]["cluster"] = json!("chat");
        // A limit for answers is none for streams that go on.
        route["route"]["timeout"] = json!("1s");
        routes.insert(0, route);
        routes.insert(0, json!({"match": {"prefix": "/short"}, "route": {"cluster": "chat"}}));
        plan.bootstrap.set_connection_manager("route_config", config)?;
        let signer = Signer::from_secret(plan.settings.required("JWT_SECRET")?);
        Ok(Self { stack: plan.start()?, chat, signer })
    }

    fn handshake(&self, path: &str, protocols: &str) -> Request {
        Request::get(path)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", KEY)
            .header("Sec-WebSocket-Protocol", protocols)
    }

    /// Opens a WebSocket and returns it with the head of the 101.
    fn open(&self, path: &str, protocols: &str) -> Result<(TcpStream, String)> {
        let mut connection = connect(self.stack.address())?;
        connection.write_all(&self.handshake(path, protocols).to_open_connection())?;
        let head = head(&mut connection)?;
        Ok((connection, head))
    }

    /// A handshake that is refused.
    fn refused(&self, protocols: &str) -> Answer {
        self.stack.send(&self.handshake("/feed", protocols)).unwrap()
    }
}

/// Sends "Hello" and waits for the echo.
fn talk(connection: &mut TcpStream) -> Result<()> {
    connection.write_all(&MASKED)?;
    let mut echo = [0; 7];
    connection.read_exact(&mut echo)?;
    assert_eq!(echo, UNMASKED);
    Ok(())
}

#[test]
fn a_websocket_with_its_token_among_the_subprotocols_opens_and_the_upstream_sees_none_of_it() {
    let scene = Scene::start().unwrap();
    let token = scene.signer.sign(&claims("alice")).unwrap();
    let both_forms = [format!("chat.v1, access_token, {token}"), format!("chat.v1, access_token.{token}")];
    let mut opened = Vec::new();
    for protocols in &both_forms {
        let (mut connection, head) = scene.open("/feed", protocols).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert_eq!(values(&head, "sec-websocket-accept"), [ACCEPT]);
        assert_eq!(values(&head, "sec-websocket-protocol"), ["chat.v1"]);
        let seen = scene.chat.heads.recv_timeout(PATIENCE).unwrap();
        assert_eq!(values(&seen, "sec-websocket-protocol"), ["chat.v1"]);
        assert_eq!(values(&seen, "x-user-id"), ["alice"]);
        assert!(!seen.contains("access_token") && !seen.contains(token.rsplit('.').next().unwrap()), "{seen}");
        talk(&mut connection).unwrap();
        opened.push(connection);
    }
    // Longer than a stream may be quiet elsewhere, and than the route gives an answer.
    thread::sleep(IDLE * 2);
    for mut connection in opened {
        talk(&mut connection).unwrap();
    }
    let logout = Request::post("/api/v2/logout").bearer(&token);
    assert_eq!(logout.send(scene.stack.control_plane.public()).unwrap().status, 200);
    for protocols in &both_forms {
        assert_eq!(told(&scene.refused(protocols)), (401, "token_revoked".into()));
    }
    assert_eq!(told(&scene.refused("chat.v1")), (401, "token_missing".into()));
    assert_eq!(told(&scene.refused("chat.v1, access_token, a.b.c")), (401, "token_invalid".into()));
    assert!(scene.chat.heads.try_recv().is_err(), "a refused handshake reached the upstream");
}

#[test]
fn a_route_without_an_idle_timeout_of_its_own_ends_a_quiet_websocket() {
    let scene = Scene::start().unwrap();
    let token = scene.signer.sign(&claims("alice")).unwrap();
    let (mut connection, head) = scene.open("/short", &format!("chat.v1, access_token, {token}")).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(scene.chat.saw("sec-websocket-protocol"), ["chat.v1"]);
    // Talk puts the end off.
    thread::sleep(IDLE / 2);
    let talked = Instant::now();
    talk(&mut connection).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(connection.read(&mut [0]).unwrap(), 0, "Envoy closes it");
    assert!(talked.elapsed() >= IDLE, "closed after {:?}", talked.elapsed());
}
