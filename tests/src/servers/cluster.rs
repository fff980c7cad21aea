//! A Redis Cluster of three primaries without replicas.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::redis::Redis;
use crate::ports;

const NODES: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

/// How long the nodes may take to agree on the slots.
const AGREE_LIMIT: Duration = Duration::from_secs(60);

/// Three primaries that share the slots.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts three nodes and joins them.
    ///
    /// # Errors
    /// When a node does not start, or the nodes do not agree.
    pub fn start() -> Result<Self> {
        let nodes = NODES.iter().map(|_| node()).collect::<Result<Vec<(Redis, u16)>>>()?;
        for ((node, _), (epoch, (from, to))) in nodes.iter().zip((1..).zip(NODES)) {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &i32::to_string(&epoch)])?;
            node.command(&["CLUSTER", "ADDSLOTSRANGE", from, to])?;
        }
        for ((node, _), (other, bus)) in nodes.iter().zip(nodes.iter().skip(1)) {
            node.command(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string(), &bus.to_string()])?;
        }
        let this = Self { nodes: nodes.into_iter().map(|(node, _)| node).collect() };
        this.wait_until_agreed()?;
        Ok(this)
    }

    /// The addresses of the nodes, such as `127.0.0.1:7000,127.0.0.1:7001,127.0.0.1:7002`.
    pub fn hosts(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        hosts.join(",")
    }

    /// The nodes, in the order of their slots.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    fn wait_until_agreed(&self) -> Result<()> {
        let deadline = Instant::now() + AGREE_LIMIT;
        while !self.nodes.iter().all(agreed) {
            if Instant::now() > deadline {
                bail!("the nodes of the cluster did not agree within {AGREE_LIMIT:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// A node's bus has a port of its own, because the usual one is 10,000 higher, which may be taken.
fn node() -> Result<(Redis, u16)> {
    let bus = ports::lasting()?;
    let port = format!("cluster-port {bus}");
    let node = Redis::start_with(&["cluster-enabled yes", "cluster-node-timeout 2000", &port], None)?;
    Ok((node, bus))
}

fn agreed(node: &Redis) -> bool {
    let info = node.command(&["CLUSTER", "INFO"]).ok().and_then(|info| redis::from_redis_value::<String>(info).ok());
    info.is_some_and(|info| info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3"))
}
