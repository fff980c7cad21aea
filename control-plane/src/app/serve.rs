//! `curfew serve`: puts the parts together, runs them, and takes them down in the right order.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ServeFailure;
use super::announce::{print_addresses, tell_settings};
use super::clock_doubt::ClockDoubt;
use super::clock_rate::ClockRate;
use super::descriptors::ConnectionLimits;
use super::file_lock::{self, FileLock};
use super::http2_warnings;
use super::metrics::Metrics;
use super::signals::{Hangups, Signals};
use super::start::{bind, open_redis_copy, prepare, state};
use crate::clock::Clock;
use crate::config::Config;
use crate::http::server::{self, Server};
use crate::http::{AppState, Listener, Terms, internal_router, public_router};
use crate::keys::{KeySource, Origin, Provider};
use crate::leases::{self, Leases};
use crate::redis_copy::{self, RedisCopy};
use crate::store::purge::{self, Pace};
use crate::store::{self, Settings, Store, watch};

/// How long each of the tasks may take to finish what has begun: the servers' own bound and some spare time.
const DRAIN: Duration = Duration::from_secs(12);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
///
/// See [`ServeFailure`].
pub async fn serve(config: Config) -> Result<(), ServeFailure> {
    // From here on a signal ends the process in order, even if it comes before the start is complete. A SIGHUP is kept until then.
    let mut signals = Signals::new()?;
    let hangups = Hangups::new()?;
    let mut tasks = start(config, hangups).await?;
    let ended = tokio::select! {
        () = signals.received() => Ok(()),
        part = tasks.one_ended() => Err(ServeFailure::Stopped(part)),
    };
    tasks.stop().await;
    info!("stopped");
    ended
}

/// A part that runs until it is told to stop.
struct Task {
    name: &'static str,
    stop: CancellationToken,
    handle: JoinHandle<()>,
}

/// The parts that run.
struct Tasks {
    leases: Arc<Leases>,
    servers: Task,
    keeper: Task,
    writer: Task,
    /// Held until all of them have ended.
    _file_lock: Option<FileLock>,
}

impl Task {
    fn spawn<F: Future<Output = ()> + Send + 'static>(
        name: &'static str,
        run: impl FnOnce(CancellationToken) -> F,
    ) -> Self {
        let stop = CancellationToken::new();
        let handle = tokio::spawn(run(stop.clone()));
        Self { name, stop, handle }
    }

    /// Tells it to stop, and waits for its end. There is nothing to wait for if it has ended before.
    async fn stop(self) {
        self.stop.cancel();
        if !self.handle.is_finished() && tokio::time::timeout(DRAIN, self.handle).await.is_err() {
            warn!(part = self.name, "a task did not finish before the process stopped");
        }
    }
}

impl Tasks {
    /// Waits for a part that stops by itself, which none should, and returns its name.
    async fn one_ended(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.writer.handle => self.writer.name,
            _ = &mut self.servers.handle => self.servers.name,
            _ = &mut self.keeper.handle => self.keeper.name,
        }
    }

    /// The servers stop first: their last answers need the writer, and wait for leases.
    async fn stop(self) {
        self.leases.close();
        self.servers.stop().await;
        self.keeper.stop().await;
        self.writer.stop().await;
    }
}

/// Starts all parts, and says where they listen.
async fn start(mut config: Config, hangups: Hangups) -> Result<Tasks, ServeFailure> {
    let public = bind("CURFEW_PUBLIC_LISTEN", config.listen.public)?;
    let internal = bind("CURFEW_INTERNAL_LISTEN", config.listen.internal)?;
    let addresses = (public.local_addr()?, internal.local_addr()?);
    let file_lock = file_lock::lock(&config.database, addresses)?;
    for migration in store::migrate(&config.database).await? {
        info!(version = migration.version, "applied a migration: {}", migration.description);
    }
    let clock = Clock::system();
    let audit = i64::try_from(config.audit_retention.as_secs()).unwrap_or(i64::MAX);
    let settings = Settings::of(&config.policy).keeping_rows(audit);
    prepare(&config, &settings, &clock).await?;
    tell_settings(&config, addresses);

    let metrics = Metrics::default();
    let head = store::head(&config.database).await?;
    metrics.store.feed_reaches(head.seq);
    let redis_copy = open_redis_copy(config.redis.take(), head, &clock, &metrics).await?;
    let (store, writer) =
        Store::open(&config.database, settings, clock.clone(), metrics.store.clone(), redis_copy.observer());
    let store = store.with_patience(config.check_timeout);
    let limits = ConnectionLimits::of_process();
    let terms = leases::Settings::on_connections(limits.internal);
    let leases = Arc::new(Leases::new(store.clone(), metrics.leases.clone(), &config.internal_secret, terms)?);

    let writer = Task::spawn("the writer", |stop| writer.run(stop));
    let keeper = Task::spawn("the keeper of leases", |stop| keep_leases(Arc::clone(&leases), redis_copy.clone(), stop));
    let (purge, share) = (config.purge, config.limits.connections_per_address);
    let provider = Provider::new(sources(&mut config), metrics.keys.clone());
    let state = Arc::new(state(config, store.clone(), Arc::clone(&leases), redis_copy, clock, &provider, &metrics));
    let clocks = (metrics.clock_rate.clone(), metrics.clock_doubt.clone());
    if state.keys.start().await.is_err() {
        warn!("the keys of the settings could not be stored: filters that ask for them get what was stored before");
    }
    let listeners = (public, internal);
    let servers = Servers { state, store, provider, hangups, listeners, limits, share, purge, clocks };
    let servers = Task::spawn("a server", |stop| servers.run(stop));
    print_addresses(addresses)?;
    Ok(Tasks { leases, servers, keeper, writer, _file_lock: file_lock })
}

/// The sources of public keys. A file with secrets is read at the start alone.
fn sources(config: &mut Config) -> Vec<Option<KeySource>> {
    let sources = std::mem::take(&mut config.sources).into_iter().zip(&config.key_issuers);
    sources.map(|(source, issuer)| source.filter(|_| issuer.origin != Origin::Secret)).collect()
}

/// Keeps the leases, and tells the other control planes of them.
async fn keep_leases(leases: Arc<Leases>, redis_copy: RedisCopy, stop: CancellationToken) {
    let kept = CancellationToken::new();
    let keeping = async {
        leases::run(&leases, stop).await;
        kept.cancel();
    };
    tokio::join!(keeping, leases::gossip(&leases, redis_copy.settings(), kept.clone()));
}

/// Has files of keys read again and issuers asked at each SIGHUP, until it is told to stop.
async fn follow_hangups(mut hangups: Hangups, provider: &Provider, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = hangups.received() => provider.hang_up(),
            () = stop.cancelled() => return,
        }
    }
}

/// Both listeners, and what runs beside them.
struct Servers {
    state: Arc<AppState>,
    store: Store,
    provider: Arc<Provider>,
    hangups: Hangups,
    listeners: (TcpListener, TcpListener),
    limits: ConnectionLimits,
    share: Option<u32>,
    purge: Pace,
    clocks: (ClockRate, ClockDoubt),
}

impl Servers {
    async fn run(self, stop: CancellationToken) {
        let Self { state, store, provider, hangups, listeners, limits, share, purge, clocks } = self;
        let (public, internal) = listeners;
        let public = Server {
            socket: public,
            listener: Listener::Public,
            router: public_router(Arc::clone(&state)),
            terms: Terms::new(limits.public, share).behind_proxies(state.trusted_proxies > 0),
            counters: state.counters.clone(),
            longest_token: state.policy.max_token_bytes(),
        };
        let internal = Server {
            socket: internal,
            listener: Listener::Internal,
            router: internal_router(Arc::clone(&state)),
            terms: Terms::new(limits.internal, share),
            counters: state.counters.clone(),
            longest_token: state.policy.max_token_bytes(),
        };
        tokio::join!(
            server::serve(public, stop.clone()),
            server::serve(internal, stop.clone()),
            purge::run(store.writer(), &state.store_counters, purge, stop.clone()),
            watch::run(&store, stop.clone()),
            state.failures.report(stop.clone()),
            state.keys.follow(stop.clone()),
            Arc::clone(&provider).run(&state.keys, stop.clone()),
            follow_hangups(hangups, &provider, stop.clone()),
            clocks.0.watch(stop.clone()),
            clocks.1.watch(&state.clock, stop.clone()),
            http2_warnings::report(stop.clone()),
            redis_copy::run(&state.redis_copy, &store, stop),
        );
    }
}
