//! Curfew's control plane: the logout endpoints and the state behind them.
//!
//! Two listeners: the public one takes logouts from clients through Envoy, the internal one answers the filter,
//! services and operators. Both are plain axum routers over one [`http::AppState`], so tests drive them without a
//! socket. The truth is in SQL ([`store`]); `curfew-core` decides what a token is and when it is revoked, in the same
//! code that the filter runs.
//!
//! Each module is a room with one task. A room uses only rooms that stand before it here, and `cargo verify` holds it to
//! that: the ground floor (`clock`, `secret`, `log_throttle`), [`log`], [`store`] and [`redis`], [`redis_copy`] and
//! [`leases`], [`logout`], [`abuse`], [`adopt`] and [`explain`], [`config`], [`http`] and [`cli`], [`app`].

pub mod clock;
pub mod log_throttle;
pub mod secret;

pub mod log;

pub mod redis;
pub mod store;

pub mod leases;
pub mod redis_copy;

pub mod abuse;
pub mod adopt;
pub mod explain;
pub mod keys;
pub mod logout;

pub mod config;

pub mod cli;
pub mod http;

pub mod app;
