//! A Redis that fails over: one primary, one replica, and Sentinels that watch them.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::place::Place;
use super::redis::{self, Redis, ask};
use super::server::{Launch, Server};

const SERVICE: &str = Sentinel::SERVICE;

/// How long the three parts may take to find each other, and how long a failover may take.
const AGREE_LIMIT: Duration = Duration::from_secs(60);

/// A primary with a replica and Sentinels.
#[derive(Debug)]
pub struct Sentinel {
    sentinels: Vec<(Server, u16)>,
    first: Redis,
    second: Redis,
}

impl Sentinel {
    /// The name of the group in the Sentinels' configuration.
    pub const SERVICE: &str = "curfew";

    /// Starts a primary, a replica and `count` Sentinels, of which a majority must agree to a failover.
    ///
    /// # Errors
    /// When a part does not start or they do not find each other.
    pub fn start(count: usize) -> Result<Self> {
        let first = Redis::start_with(&["repl-diskless-sync-delay 0"], None)?;
        let replica_of = format!("replicaof 127.0.0.1 {}", first.port());
        let second = Redis::start_with(&[&replica_of, "repl-diskless-sync-delay 0"], None)?;
        let sentinels = (0..count).map(|_| sentinel(first.port(), count / 2 + 1)).collect::<Result<_>>()?;
        let this = Self { sentinels, first, second };
        this.wait("the replica is known to every Sentinel", |this| this.all_know(count))?;
        Ok(this)
    }

    /// The addresses of the Sentinels, such as `127.0.0.1:26379,127.0.0.1:26380`.
    pub fn hosts(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        hosts.join(",")
    }

    /// The server that began as primary.
    pub fn first(&mut self) -> &mut Redis {
        &mut self.first
    }

    /// The server that began as replica.
    pub fn second(&mut self) -> &mut Redis {
        &mut self.second
    }

    /// Waits until the replica has been made primary.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn wait_for_failover(&self) -> Result<()> {
        self.wait("the replica is primary", |this| role(&this.second).is_some_and(|role| role == "master"))
    }

    fn all_know(&self, count: usize) -> bool {
        let others = (count - 1).to_string();
        let linked = role(&self.second).is_some_and(|role| role == "slave");
        linked
            && self.sentinels.iter().all(|(server, _)| {
                state(server).is_some_and(|state| {
                    let has = |name: &str, value: &str| state.windows(2).any(|pair| pair == [name, value]);
                    has("num-slaves", "1") && has("num-other-sentinels", &others) && has("flags", "master")
                })
            })
    }

    fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + AGREE_LIMIT;
        while !done(self) {
            if Instant::now() > deadline {
                let outputs = self.sentinels.iter().map(|(server, _)| server.output()).collect::<String>();
                bail!("not within {AGREE_LIMIT:?}: {what}\n{outputs}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

fn sentinel(primary: u16, quorum: usize) -> Result<(Server, u16)> {
    let program = redis::find()?;
    Server::start(Place::new(None)?, |place, port| {
        let directory = place.path().display();
        let text = format!(
            "bind 127.0.0.1\nport {port}\ndir {directory}\nunixsocket {directory}/redis.sock\n\
             sentinel monitor {SERVICE} 127.0.0.1 {primary} {quorum}\n\
             sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 5000\n"
        );
        let file = place.write("sentinel.conf", &text)?;
        let socket = place.path().join("redis.sock");
        let arguments = vec![file.into(), "--sentinel".into()];
        let ready = Box::new(move || ask(&socket, None, &["PING"]).is_ok());
        Ok(Launch { name: "sentinel", program: program.clone(), arguments, ready })
    })
}

/// The Sentinel's facts about the primary: names and values in turn.
fn state(sentinel: &Server) -> Option<Vec<String>> {
    let socket = sentinel.place().path().join("redis.sock");
    let answer = ask(&socket, None, &["SENTINEL", "MASTER", SERVICE]).ok()?;
    ::redis::from_redis_value(answer).ok()
}

fn role(server: &Redis) -> Option<String> {
    let ::redis::Value::Array(parts) = server.command(&["ROLE"]).ok()? else {
        return None;
    };
    ::redis::from_redis_value(parts.into_iter().next()?).ok()
}
