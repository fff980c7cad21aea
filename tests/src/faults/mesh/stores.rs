//! The stores of a mesh's control planes.

use anyhow::{Context as _, Result, bail};

use super::setup::{RedisMemory, Setup, Sql};
use crate::link::Link;
use crate::ports::loopback;
use crate::servers::{Mariadb, Postgres, Redis, Server};

/// Connections that a small PostgreSQL takes.
const FEW_CONNECTIONS: &str = "max_connections=40";

#[derive(Debug)]
enum Database {
    Postgres(Postgres),
    Mariadb(Mariadb),
    Sqlite,
}

/// A server's URL, and the port in it.
#[derive(Debug, Clone)]
pub(super) struct Location {
    url: String,
    port: u16,
}

impl Location {
    /// A new link to the server, and the URL through that link.
    pub(super) fn through_link(&self) -> Result<(Link, String)> {
        let link = Link::to(loopback(self.port))?;
        let url = self.url.replace(&format!("127.0.0.1:{}", self.port), &link.address().to_string());
        Ok((link, url))
    }

    /// The URL of the server itself.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

/// The database and the Redis that all control planes share.
#[derive(Debug)]
pub(super) struct Stores {
    database: Database,
    redis: Option<Redis>,
    /// Where the database is, unless each control plane has a file.
    pub(super) sql_at: Option<Location>,
    /// Where Redis is, if there is one.
    pub(super) redis_at: Option<Location>,
}

impl Stores {
    pub(super) fn start(setup: Setup) -> Result<Self> {
        let (database, sql_at) = match setup.sql {
            Sql::Postgres => postgres(&[])?,
            Sql::SmallPostgres => postgres(&[FEW_CONNECTIONS])?,
            Sql::Mariadb => {
                let mariadb = Mariadb::start()?;
                let at = Location { url: mariadb.fresh_database("curfew")?, port: mariadb.port() };
                (Database::Mariadb(mariadb), Some(at))
            }
            Sql::Sqlite => (Database::Sqlite, None),
        };
        let redis = match setup.redis {
            RedisMemory::Absent => None,
            RedisMemory::Plenty => Some(Redis::start()?),
            RedisMemory::Evicting => Some(Redis::start_with(&["maxmemory 1mb", "maxmemory-policy allkeys-lru"], None)?),
        };
        let redis_at = redis.as_ref().map(|redis| Location { url: redis.url(), port: redis.port() });
        Ok(Self { database, redis, sql_at, redis_at })
    }

    /// The server with the database.
    pub(super) fn sql(&mut self) -> Result<&mut Server> {
        match &mut self.database {
            Database::Postgres(postgres) => Ok(postgres.server()),
            Database::Mariadb(mariadb) => Ok(mariadb.server()),
            Database::Sqlite => bail!("SQLite has no server"),
        }
    }

    pub(super) fn postgres(&self) -> Result<&Postgres> {
        match &self.database {
            Database::Postgres(postgres) => Ok(postgres),
            _ => bail!("the mesh has no PostgreSQL"),
        }
    }

    pub(super) fn redis(&mut self) -> Result<&mut Redis> {
        self.redis.as_mut().context("the mesh has no Redis")
    }

    /// Empties Redis, so that what is found afterwards is in the database.
    pub(super) fn wipe_redis(&self) -> Result<()> {
        self.redis.as_ref().map_or(Ok(()), Redis::wipe)
    }
}

fn postgres(settings: &[&str]) -> Result<(Database, Option<Location>)> {
    let postgres = Postgres::start_with(settings, None)?;
    let at = Location { url: postgres.fresh_database("curfew")?, port: postgres.port() };
    Ok((Database::Postgres(postgres), Some(at)))
}
