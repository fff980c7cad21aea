//! The parts of the process, made from the configuration.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tracing::{info, warn};

use super::failure::ServeFailure;
use super::metrics::Metrics;
use super::port_holder::holder;
use crate::abuse::attempts::FailedAttempts;
use crate::abuse::lanes::Lanes;
use crate::abuse::summary::FailedLogouts;
use crate::clock::Clock;
use crate::config::Config;
use crate::http::{AppState, Entrances, Notices, Records};
use crate::keys::{Keys, Provider};
use crate::leases::Leases;
use crate::log::LogPosition;
use crate::logout::Logouts;
use crate::redis::{self, Misconfigured};
use crate::redis_copy::RedisCopy;
use crate::store::{self, Settings, Store};

/// Connections that the kernel keeps until they are accepted: as many as a listener may have open. With fewer, a burst
/// makes a proxy in front wait for a second. That is the proxy's own timeout, and it answers 503 by itself.
const BACKLOG: u32 = 4096;

/// Listens on an address; connections wait in the kernel until they are accepted.
///
/// # Errors
///
/// The setting with the address, and why the process cannot listen on it.
pub(super) fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ServeFailure> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|source| {
        let is_in_use = source.kind() == ErrorKind::AddrInUse;
        let holder = if is_in_use { holder(address) } else { None };
        ServeFailure::Listen { setting, address, source, holder }
    })
}

/// Prepares the database for the present settings, or refuses them if logouts would lose their effect.
pub(super) async fn prepare(config: &Config, settings: &Settings, clock: &Clock) -> Result<(), ServeFailure> {
    let accept = config.accept_new_keyspace;
    store::reckon(&config.database, clock).await?;
    let prepared = store::prepare(&config.database, settings, clock.moment().earliest(), accept).await?;
    if prepared.prolonged > 0 {
        info!(
            entries = prepared.prolonged,
            "kept revocations for longer, as CURFEW_MAX_TOKEN_TTL and CURFEW_CLOCK_SKEW now ask"
        );
    }
    for warning in &prepared.warnings {
        warn!("{warning}");
    }
    let orphaned: Vec<_> = prepared.orphaned.iter().map(ToString::to_string).collect();
    match orphaned.as_slice() {
        [] => Ok(()),
        orphaned if accept => {
            warn!(
                "logouts of all devices or of sessions no longer reach anybody, as accepted: they were made for {}",
                orphaned.join("; ")
            );
            Ok(())
        }
        orphaned => Err(ServeFailure::Keyspace(orphaned.join("; "))),
    }
}

/// The copy in Redis, connected if Redis can be reached.
pub(super) async fn open_redis_copy(
    settings: Option<redis::Settings>,
    head: LogPosition,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<RedisCopy, Misconfigured> {
    let Some(settings) = settings else { return Ok(RedisCopy::none()) };
    // Two libraries speak TLS here, and both use the provider that the process has chosen. An earlier choice stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let redis_copy = RedisCopy::new(settings, head, clock.clone(), metrics.redis.clone());
    redis_copy.start().await?;
    Ok(redis_copy)
}

/// What handlers share.
pub(super) fn state(
    config: Config,
    store: Store,
    leases: Arc<Leases>,
    redis_copy: RedisCopy,
    clock: Clock,
    provider: &Arc<Provider>,
    metrics: &Metrics,
) -> AppState {
    let keys = Keys::new(config.key_issuers, config.keys, store.clone(), clock.clone(), metrics.keys.clone());
    let keys = Arc::new(keys.fetching(provider.fetch_now()));
    AppState {
        policy: config.policy,
        keys,
        entrances: Entrances::new(&store, Logouts::new(Arc::clone(&leases), &config.internal_secret)),
        records: Records::of(store),
        leases,
        redis_copy,
        clock,
        counters: metrics.http.clone(),
        abuse_counters: metrics.abuse.clone(),
        store_counters: metrics.store.clone(),
        registry: metrics.registry(),
        internal_secret: config.internal_secret,
        app: config.app,
        failures: FailedLogouts::default(),
        notices: Notices::default(),
        attempts: FailedAttempts::per_minute(config.limits.per_source, config.limits.per_token),
        trusted_proxies: config.limits.trusted_proxies,
        default_scopes: config.default_scopes,
        clear_site_data: config.clear_site_data,
        lanes: Lanes::of_machine(),
        check_timeout: config.check_timeout,
        request_timeout: config.request_timeout,
    }
}
