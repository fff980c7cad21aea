//! The echo upstream as a program of its own, for docker-compose.yaml.

use std::net::SocketAddr;

use clap::Parser;

/// Describes every request in the answer, as JSON.
#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    curfew_demo::upstream::serve(Arguments::parse().listen).await
}
