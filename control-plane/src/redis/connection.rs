//! A connection to Redis, and the few commands that are sent over it.
//!
//! The caller sets the time limits. Nothing is tried twice here: after a failure the room `redis_copy` makes a new
//! connection before it asks again.

use futures_util::future::try_join_all;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, RedisError, RedisResult, TlsCertificates, TlsMode, Value,
    cmd,
};

use super::entry::Written;
use super::target::{Target, at_once};

/// A connection to Redis. Clones share it.
#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Makes a connection. `attempt` counts the attempts: each begins with another Sentinel. Otherwise a Sentinel that does
/// not answer would always be asked first.
pub(crate) async fn connect(target: &Target, authority: Option<&[u8]>, attempt: usize) -> RedisResult<Connection> {
    match target {
        Target::Sentinel { .. } | Target::One(_) => {
            let client = client(target, authority, attempt).await?;
            Ok(Connection::One(client.get_multiplexed_async_connection_with_config(&unlimited()).await?))
        }
        Target::Cluster(nodes) => {
            let mut builder = ClusterClientBuilder::new(nodes.clone()).retries(1).tcp_settings(at_once());
            if let Some(certificates) = certificates(target, authority) {
                builder = builder.certs(certificates);
            }
            Ok(Connection::Cluster(builder.build()?.get_async_connection().await?))
        }
    }
}

fn certificates(target: &Target, authority: Option<&[u8]>) -> Option<TlsCertificates> {
    let pem = authority.filter(|_| target.is_encrypted())?;
    Some(TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) })
}

/// A client of one server: the only one, the primary that a Sentinel names, or one node of a Cluster.
pub(crate) async fn client(target: &Target, authority: Option<&[u8]>, attempt: usize) -> RedisResult<Client> {
    let certificates = certificates(target, authority);
    match target {
        Target::One(info) => open(info, certificates),
        Target::Sentinel { sentinels, service, redis } => {
            let mut hosts: Vec<_> = sentinels.iter().map(|sentinel| sentinel.addr().clone()).collect();
            let first = attempt.checked_rem(hosts.len()).unwrap_or(0);
            hosts.rotate_left(first);
            let login = redis.redis_settings();
            let mut builder = SentinelClientBuilder::new(hosts, service, SentinelServerType::Master)?;
            builder = builder
                .set_client_to_redis_db(login.db())
                .set_client_to_redis_tcp_settings(at_once())
                .set_client_to_sentinel_tcp_settings(at_once());
            if let Some(user) = login.username() {
                builder = builder.set_client_to_redis_username(user);
            }
            if let Some(password) = login.password() {
                builder = builder.set_client_to_redis_password(password);
            }
            if target.is_encrypted() {
                builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
                if let Some(certificates) = certificates {
                    builder = builder
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_certificates(certificates);
                }
            }
            builder.build()?.async_get_client().await
        }
        Target::Cluster(nodes) => match attempt.checked_rem(nodes.len()).and_then(|place| nodes.get(place)) {
            Some(node) => open(node, certificates),
            None => Err((ErrorKind::InvalidClientConfig, "no node is named").into()),
        },
    }
}

fn open(info: &ConnectionInfo, certificates: Option<TlsCertificates>) -> RedisResult<Client> {
    match certificates {
        Some(certificates) => Client::build_with_tls(info.clone(), certificates),
        None => Client::open(info.clone()),
    }
}

/// A configuration without the crate's own time limits, because the caller knows how long it can wait.
pub(crate) fn unlimited() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

impl Connection {
    /// The values of some keys. A value that is not a string counts as absent.
    pub(crate) async fn get(&self, names: &[&str]) -> RedisResult<Vec<Option<Vec<u8>>>> {
        match self {
            Self::One(connection) => cmd("MGET").arg(names).query_async(&mut connection.clone()).await,
            // The keys of one token are on several nodes.
            Self::Cluster(connection) => try_join_all(names.iter().map(|name| get_one(connection.clone(), name))).await,
        }
    }

    /// Writes entries, in one pipeline if one server holds all keys.
    pub(crate) async fn set(&self, entries: &[Written]) -> RedisResult<()> {
        match self {
            Self::One(connection) => {
                let mut pipeline = redis::pipe();
                for entry in entries {
                    pipeline.add_command(set_command(entry)).ignore();
                }
                pipeline.query_async(&mut connection.clone()).await
            }
            Self::Cluster(connection) => {
                let writes = entries.iter().map(|entry| set_one(connection.clone(), entry));
                try_join_all(writes).await.map(drop)
            }
        }
    }

    /// Writes a value for `life` seconds if the key exists (`XX`) or does not (`NX`); true if it was written.
    pub(crate) async fn set_if(&self, name: &str, value: &str, life: i64, condition: &str) -> RedisResult<bool> {
        let mut command = cmd("SET");
        command.arg(name).arg(value).arg(condition).arg("EX").arg(life);
        let answer: Value = match self {
            Self::One(connection) => command.query_async(&mut connection.clone()).await?,
            Self::Cluster(connection) => command.query_async(&mut connection.clone()).await?,
        };
        Ok(answer != Value::Nil)
    }

    /// What Redis says about its memory. A Cluster is not asked, because each of its nodes would have to be asked.
    pub(crate) async fn memory(&self) -> RedisResult<Option<String>> {
        match self {
            Self::One(connection) => cmd("INFO").arg("memory").query_async(&mut connection.clone()).await.map(Some),
            Self::Cluster(_) => Ok(None),
        }
    }
}

async fn get_one(mut connection: ClusterConnection, name: &str) -> RedisResult<Option<Vec<u8>>> {
    match cmd("GET").arg(name).query_async(&mut connection).await {
        Err(error) if is_wrong_type(&error) => Ok(None),
        answer => answer,
    }
}

async fn set_one(mut connection: ClusterConnection, entry: &Written) -> RedisResult<()> {
    set_command(entry).query_async(&mut connection).await
}

fn set_command(entry: &Written) -> redis::Cmd {
    let mut command = cmd("SET");
    command.arg(&entry.name).arg(entry.cutoff).arg("EX").arg(entry.life);
    command
}

fn is_wrong_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}
