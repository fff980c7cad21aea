//! Curfew's control plane: the logout endpoints and the state behind them.
//!
//! Two listeners: the public one takes logouts from clients through Envoy, the internal one answers the filter,
//! services and operators. Both are plain axum routers over one [`state::AppState`], so tests drive them without a
//! socket. The truth is in SQL ([`store`]); what a token is and when it is revoked is decided by `curfew-core`, the
//! same code that the filter runs.

pub mod attempts;
pub mod barrier;
pub mod blacklist;
pub mod cells;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod failures;
pub mod http;
pub mod keys;
pub mod limits;
pub mod metrics;
pub mod rate;
pub mod secret;
pub mod seldom;
pub mod serve;
pub mod shares;
pub mod source;
pub mod state;
pub mod stop;
pub mod store;
pub mod strict;
mod telemetry;
pub mod verification;
