//! `curfew serve`: puts the parts together, runs them, and takes them down in the right order.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::descriptors::ConnectionLimits;
use super::metrics::Metrics;
use crate::abuse::attempts::FailedAttempts;
use crate::abuse::lanes::Verification;
use crate::abuse::summary::FailedLogouts;
use crate::clock::Clock;
use crate::config::Config;
use crate::http::{AppState, Streams, internal_router, public_router, server};
use crate::leases::{self, Leases};
use crate::log::LogPosition;
use crate::log_throttle::LogThrottle;
use crate::logout::Logouts;
use crate::redis::{self, Misconfigured};
use crate::redis_copy::{self, RedisCopy};
use crate::store::purge::{self, Pace};
use crate::store::{self, OpenFailure, Settings, Store, watch};

/// How long each of the tasks may take to finish what has begun: the servers' own bound and some spare time.
const DRAIN: Duration = Duration::from_secs(12);

/// Connections that the kernel keeps until they are accepted: as many as a listener may have open. With fewer, a burst
/// makes a proxy in front wait for a second, which is its own time-out, and answer 503 by itself.
const BACKLOG: u32 = 4096;

/// Why the server did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeFailure {
    /// The database cannot be used.
    #[error("DATABASE_URL: {0}")]
    Database(#[from] OpenFailure),
    /// Logouts of all devices would reach nobody.
    #[error(
        "logouts of all devices are in force that the present settings do not reach: they were made for {0}. Restore \
         these settings (CURFEW_ISSUER or CURFEW_ISSUERS_FILE, CURFEW_USER_CLAIM, CURFEW_ISSUED_AT_CLAIM), or start \
         once with --accept-new-keyspace and log those users out again"
    )]
    Keyspace(String),
    /// Redis shows that a setting is wrong.
    #[error(transparent)]
    Redis(#[from] Misconfigured),
    /// An address cannot be listened on.
    #[error("{setting}: cannot listen on {address}: {source}")]
    Listen {
        /// The setting with the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Signals cannot be received, or the addresses not be printed.
    #[error("the process cannot be set up: {0}")]
    Process(#[from] std::io::Error),
    /// A task ended, which none does by itself.
    #[error("{0} stopped by itself")]
    Stopped(&'static str),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
///
/// See [`ServeFailure`].
pub async fn serve(mut config: Config) -> Result<(), ServeFailure> {
    // From here on a signal ends it in order, also one that comes before the end of the start.
    let mut signals = Signals::new()?;
    let public = bind("CURFEW_PUBLIC_LISTEN", config.listen.public)?;
    let internal = bind("CURFEW_INTERNAL_LISTEN", config.listen.internal)?;
    for migration in store::migrate(&config.database).await? {
        info!(version = migration.version, "applied a migration: {}", migration.description);
    }
    let clock = Clock::system();
    let audit = i64::try_from(config.audit_retention.as_secs()).unwrap_or(i64::MAX);
    let settings = Settings::of(&config.policy).keeping_rows(audit);
    prepare(&config, &settings, clock.now()).await?;
    let addresses = (public.local_addr()?, internal.local_addr()?);
    tell_settings(&config, addresses);

    let metrics = Metrics::default();
    let head = store::head(&config.database).await?;
    metrics.store.feed_reaches(head.seq);
    let redis_copy = open_redis_copy(config.redis.take(), head, &clock, &metrics).await?;
    let (store, writer) =
        Store::open(&config.database, settings, clock.clone(), metrics.store.clone(), redis_copy.observer());
    let store = store.with_patience(config.check_timeout);
    let stop_writer = CancellationToken::new();
    let mut writer = tokio::spawn(writer.run(stop_writer.clone()));

    let limits = ConnectionLimits::of_process();
    let running = Running { limits, purge: config.purge };
    let leases = Leases::new(
        store.clone(),
        metrics.leases.clone(),
        &config.internal_secret,
        leases::Settings::on_connections(limits.internal),
    )?;
    let leases = Arc::new(leases);
    let stop_leases = CancellationToken::new();
    let mut settling = tokio::spawn(keep_leases(Arc::clone(&leases), redis_copy.clone(), stop_leases.clone()));
    let state = Arc::new(state(config, store, Arc::clone(&leases), redis_copy, clock, &metrics));
    let stop_servers = CancellationToken::new();
    let mut servers = tokio::spawn(run_servers(state, (public, internal), running, stop_servers.clone()));
    print_addresses(addresses)?;

    let ended = tokio::select! {
        () = signals.received() => Ok(()),
        _ = &mut writer => Err(ServeFailure::Stopped("the writer")),
        _ = &mut servers => Err(ServeFailure::Stopped("a server")),
        _ = &mut settling => Err(ServeFailure::Stopped("the keeper of leases")),
    };
    leases.close();
    // The servers first: what they still answer needs the writer.
    stop_servers.cancel();
    finished(servers).await;
    // What still waited for leases has its answer by now.
    stop_leases.cancel();
    finished(settling).await;
    stop_writer.cancel();
    finished(writer).await;
    info!("stopped");
    ended
}

/// Takes the database over for the present settings, or refuses where logouts would be lost by them.
async fn prepare(config: &Config, settings: &Settings, now: i64) -> Result<(), ServeFailure> {
    let accept = config.accept_new_keyspace;
    let prepared = store::prepare(&config.database, settings, now, accept).await?;
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
                "logouts of all devices no longer reach anybody, as accepted: they were made for {}",
                orphaned.join("; ")
            );
            Ok(())
        }
        orphaned => Err(ServeFailure::Keyspace(orphaned.join("; "))),
    }
}

/// What the tasks need to know beside the state.
struct Running {
    limits: ConnectionLimits,
    purge: Pace,
}

/// Leases, and what control planes tell each other of them.
async fn keep_leases(leases: Arc<Leases>, redis_copy: RedisCopy, stop: CancellationToken) {
    let kept = CancellationToken::new();
    let keeping = async {
        leases::run(&leases, stop).await;
        kept.cancel();
    };
    tokio::join!(keeping, leases::gossip(&leases, &redis_copy, kept.clone()));
}

/// Both listeners, and what goes on beside them for as long as they run.
async fn run_servers(
    state: Arc<AppState>,
    (public, internal): (TcpListener, TcpListener),
    Running { limits, purge }: Running,
    stop: CancellationToken,
) {
    tokio::join!(
        server::serve(public, public_router(Arc::clone(&state)), limits.public, Streams::Public, stop.clone()),
        server::serve(internal, internal_router(Arc::clone(&state)), limits.internal, Streams::Internal, stop.clone()),
        purge::run(state.store.writer(), &state.store_counters, purge, stop.clone()),
        watch::run(&state.store, stop.clone()),
        state.failures.report(stop.clone()),
        redis_copy::run(&state.redis_copy, &state.store, stop),
    );
}

/// The blacklist, connected if Redis can be reached.
async fn open_redis_copy(
    settings: Option<redis::Settings>,
    head: LogPosition,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<RedisCopy, Misconfigured> {
    let Some(settings) = settings else { return Ok(RedisCopy::none()) };
    // Two libraries speak TLS here, and both take what the process has chosen. A choice made before stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let redis_copy = RedisCopy::new(settings, head, clock.clone(), metrics.redis.clone());
    redis_copy.start().await?;
    Ok(redis_copy)
}

fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ServeFailure> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|source| ServeFailure::Listen { setting, address, source })
}

fn state(
    config: Config,
    store: Store,
    leases: Arc<Leases>,
    redis_copy: RedisCopy,
    clock: Clock,
    metrics: &Metrics,
) -> AppState {
    AppState {
        policy: config.policy,
        store,
        logouts: Logouts::new(Arc::clone(&leases), &config.internal_secret),
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
        attempts: FailedAttempts::per_minute(config.limits.per_source, config.limits.per_token),
        trusted_proxies: config.limits.trusted_proxies,
        verification: Verification::of_machine(),
        read_failures: LogThrottle::default(),
        check_timeout: config.check_timeout,
        request_timeout: config.request_timeout,
    }
}

fn tell_settings(config: &Config, (public, internal): (SocketAddr, SocketAddr)) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        %public,
        %internal,
        database = %config.database,
        issuers = config.policy.issuers().count(),
        clock_skew_seconds = config.policy.clock_skew(),
        max_token_ttl_seconds = config.policy.max_token_ttl(),
        check_timeout = ?config.check_timeout,
        purge_interval = ?config.purge.interval,
        purge_rate = config.purge.rows_per_second,
        audit_retention = ?config.audit_retention,
        request_timeout = ?config.request_timeout,
        failed_logouts_per_minute = config.limits.per_source,
        failed_logouts_per_token = config.limits.per_token,
        trusted_proxies = config.limits.trusted_proxies,
        "starting"
    );
    for warning in &config.warnings {
        warn!("{warning}");
    }
    if let Some(path) = &config.generated {
        warn!(
            "using secrets generated for this machine, from {}: configure JWT_SECRET or JWKS_FILE, \
             CURFEW_INTERNAL_SECRET, APP_ID and APP_KEY for anything else",
            path.display()
        );
    }
}

/// The two lines that scripts wait for: from here on both listeners answer.
fn print_addresses((public, internal): (SocketAddr, SocketAddr)) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "public  http://{public}")?;
    writeln!(stdout, "internal http://{internal}")?;
    stdout.flush()
}

/// The signals that end the process; each is remembered from the moment when this is made.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn received(&mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "stopping: finishing what has begun");
    }
}

/// Waits for a task that was told to stop; one that has failed before has nothing left to wait for.
async fn finished<T>(task: JoinHandle<T>) {
    if !task.is_finished() && tokio::time::timeout(DRAIN, task).await.is_err() {
        warn!("a task did not finish before the process stopped");
    }
}
