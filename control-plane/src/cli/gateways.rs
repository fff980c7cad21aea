//! `curfew gateways`: which workers of proxies follow the log.

use std::io::Write;

use axum::http::Method;
use clap::Args;

use super::Failure;
use super::calls::InternalUrl;
use crate::cli::client::{Call, CallFailure};
use crate::config::{ClientArgs, Environment};
use crate::leases::{Gateway, GatewayList, GatewayState};

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
    let list: GatewayList = serde_json::from_value(answer).map_err(|_| CallFailure::Stranger(base.to_owned()))?;
    if list.workers.is_empty() {
        writeln!(stdout, "no worker has polled within 30 s")?;
    }
    list.workers.iter().try_for_each(|gateway| writeln!(stdout, "{}", line(gateway)))?;
    let stuck = list.workers.iter().filter(|gateway| gateway.state == GatewayState::Stuck).count();
    if stuck > 0 {
        writeln!(
            stdout,
            "{stuck} of {} workers do not follow the log: look at their Envoys' logs",
            list.workers.len()
        )?;
    }
    Ok(())
}

fn line(gateway: &Gateway) -> String {
    let lease = match gateway.lease_ms {
        0 => "no lease".to_owned(),
        left => format!("lease for {left} ms"),
    };
    let version = gateway.version.as_deref().unwrap_or("-");
    let Gateway { worker, address, polled_ms, .. } = gateway;
    let lease = if gateway.state == GatewayState::Gone { "its lease is over" } else { &lease };
    format!("{worker}  {address}  {version}  {}  {lease}  polled {polled_ms} ms ago", place(gateway))
}

/// How far the worker is. Only what needs an operator looks like an alarm.
fn place(gateway: &Gateway) -> String {
    let Gateway { applied, lag, .. } = gateway;
    match (gateway.state, lag) {
        (GatewayState::UpToDate, _) => format!("at {applied}, up to date"),
        (GatewayState::Starting, _) => "starting".to_owned(),
        (GatewayState::CatchingUp, Some(lag)) => format!("at {applied}, catching up: {lag} to go"),
        (GatewayState::CatchingUp, None) => "catching up: loads the present history".to_owned(),
        (GatewayState::Stuck, Some(lag)) => format!("STUCK at {applied}: {lag} behind"),
        (GatewayState::Stuck, None) => "STUCK: does not load the present history".to_owned(),
        (GatewayState::Gone, _) => format!("gone, was at {applied}"),
        (GatewayState::Unknown, _) => format!("at {applied}; this control plane has not read the log yet"),
    }
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
            state: GatewayState::UpToDate,
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
        let gone = Gateway { lease_ms: 0, version: None, state: GatewayState::Gone, lag: Some(7), ..gateway };
        assert_eq!(line(&gone), format!("{name}  192.0.2.7  -  gone, was at 5  its lease is over  polled 12 ms ago"));
    }

    #[test]
    fn only_a_worker_that_needs_an_operator_looks_like_an_alarm() {
        use GatewayState::{CatchingUp, Starting, Stuck, Unknown};
        for (state, applied, lag, expected) in [
            (Starting, 0, None, "starting"),
            (CatchingUp, 5, Some(2), "at 5, catching up: 2 to go"),
            (CatchingUp, 5, None, "catching up: loads the present history"),
            (Unknown, 5, None, "at 5; this control plane has not read the log yet"),
            (Stuck, 5, Some(2), "STUCK at 5: 2 behind"),
            (Stuck, 5, None, "STUCK: does not load the present history"),
        ] {
            let worker = WorkerId::from_bytes([1; 16]);
            let address = [192, 0, 2, 7].into();
            let gateway = Gateway { worker, address, version: None, state, applied, lag, lease_ms: 0, polled_ms: 12 };
            assert_eq!(place(&gateway), expected);
        }
    }
}
