//! `curfew gateways`: which workers of proxies follow the log.

use std::io::Write;

use axum::http::Method;
use clap::Args;

use super::Failure;
use super::calls::InternalUrl;
use crate::cli::client::Call;
use crate::config::{ClientArgs, Environment};
use crate::leases::{Gateway, GatewayList};

pub(super) const EXAMPLES: &str = "\
Examples:
  curfew gateways
  curfew gateways --json

It calls the internal listener with CURFEW_INTERNAL_SECRET, or with the secret that a server with the same data \
directory has generated. Each control plane knows only the workers that have polled it within 30 s.";

/// The arguments of `curfew gateways`.
#[derive(Debug, Args)]
pub(super) struct GatewaysArgs {
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    internal: InternalUrl,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn gateways(args: &GatewaysArgs, environment: &Environment) -> Result<(), Failure> {
    let secret = args.client.internal_secret(environment)?;
    let (base, path) = (args.internal.internal_url.as_str(), "/internal/v1/gateways");
    let call = Call { base, method: Method::GET, path, bearer: Some(secret.reveal()), body: None };
    let answer = call.send().await?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{answer:#}")?;
        return Ok(());
    }
    let list: GatewayList = serde_json::from_value(answer)
        .map_err(|_| Failure::Usage("the server's answer is not a list of gateways".to_owned()))?;
    if list.workers.is_empty() {
        writeln!(stdout, "no worker has polled within 30 s")?;
    }
    list.workers.iter().try_for_each(|gateway| writeln!(stdout, "{}", line(gateway)))?;
    Ok(())
}

fn line(gateway: &Gateway) -> String {
    let lag = match gateway.lag {
        Some(0) => "up to date".to_owned(),
        Some(lag) => format!("{lag} behind"),
        None => "another history".to_owned(),
    };
    let lease = match gateway.lease_ms {
        0 => "no lease".to_owned(),
        left => format!("lease for {left} ms"),
    };
    let version = gateway.version.as_deref().unwrap_or("-");
    let Gateway { worker, address, applied, polled_ms, .. } = gateway;
    format!("{worker}  {address}  {version}  at {applied}, {lag}  {lease}  polled {polled_ms} ms ago")
}

#[cfg(test)]
mod tests {
    use curfew_core::WorkerId;

    use super::*;

    #[test]
    fn a_worker_is_one_line() {
        let gateway = Gateway {
            worker: WorkerId::from_bytes([1; 16]),
            address: [192, 0, 2, 7].into(),
            version: Some("0.1.0".to_owned()),
            applied: 5,
            lag: Some(0),
            lease_ms: 1900,
            polled_ms: 12,
        };
        let name = "01".repeat(16);
        assert_eq!(
            line(&gateway),
            format!("{name}  192.0.2.7  0.1.0  at 5, up to date  lease for 1900 ms  polled 12 ms ago")
        );
        let behind = Gateway { lag: Some(2), lease_ms: 0, version: None, ..gateway.clone() };
        assert_eq!(line(&behind), format!("{name}  192.0.2.7  -  at 5, 2 behind  no lease  polled 12 ms ago"));
        assert!(line(&Gateway { lag: None, ..gateway }).contains("another history"));
    }
}
