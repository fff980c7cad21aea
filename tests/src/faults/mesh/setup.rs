//! What runs in a mesh, as values.

use super::Promise;
use crate::control_plane::Profile;
use crate::preloaded::Clocks;

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sql {
    /// PostgreSQL with its own settings.
    Postgres,
    /// PostgreSQL that takes few connections, so that other clients can take them all.
    SmallPostgres,
    /// MariaDB.
    Mariadb,
    /// A file of the control plane's own.
    Sqlite,
}

/// How much memory Redis has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisMemory {
    /// There is no Redis.
    Absent,
    /// As much as it wants.
    Plenty,
    /// One megabyte, and it evicts.
    Evicting,
}

/// How the two clusters of `envoy.yaml` are connected to the control planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// Each has all of them.
    Shared,
    /// Logouts go to the first control plane alone, the filter's questions to the last alone.
    Crossed,
}

/// Where links are that can fail. Elsewhere the parts are connected directly, so that a dead part refuses connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Between control planes and Redis.
    ToRedis,
    /// Between Envoys and control planes, and between control planes and both of their stores.
    Everywhere,
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The database.
    pub sql: Sql,
    /// The Redis.
    pub redis: RedisMemory,
    /// How many control planes.
    pub planes: usize,
    /// How many Envoys, of two workers each.
    pub envoys: usize,
    /// Which control planes the Envoys reach.
    pub wiring: Wiring,
    /// Where links are that can fail.
    pub network: Network,
    /// The mode of the filter.
    pub promise: Promise,
    /// `control_plane.timeout` of the filter; `None` leaves the default.
    pub patience: Option<&'static str>,
    /// Has a second issuer, whose keys can change.
    pub keyed: bool,
    /// Takes the filter that traps where a request tells it to.
    pub trapping: bool,
    /// How the control planes are built.
    pub profile: Profile,
    /// The clocks of the Envoys. Only their speed relative to the control planes' clocks matters, and those are true.
    pub clocks: Clocks,
}

impl Setup {
    /// Two Envoys, two control planes, PostgreSQL and Redis, links everywhere that can fail, and keys that can change.
    pub const MESH: Self = Self {
        sql: Sql::Postgres,
        redis: RedisMemory::Plenty,
        planes: 2,
        envoys: 2,
        wiring: Wiring::Shared,
        network: Network::Everywhere,
        promise: Promise::STRICT,
        patience: None,
        keyed: true,
        trapping: false,
        profile: Profile::Test,
        clocks: Clocks::TRUE,
    };

    /// The mesh with Envoys whose clocks are slower by as much as two clocks may differ: 10 % slow against 10 % fast.
    pub const SLOW_ENVOYS: Self = Self { clocks: Clocks { bent_ppm: -181_818, ahead_seconds: 0 }, ..Self::MESH };

    /// The mesh with Envoys whose clocks are faster by as much as two clocks may differ.
    pub const FAST_ENVOYS: Self = Self { clocks: Clocks { bent_ppm: 222_222, ahead_seconds: 0 }, ..Self::MESH };

    /// Two Envoys and one control plane on SQLite.
    pub const SINGLE: Self =
        Self { sql: Sql::Sqlite, redis: RedisMemory::Absent, planes: 1, keyed: false, ..Self::MESH };

    /// One Envoy and one control plane, on a PostgreSQL that takes few connections; only the link to Redis can fail.
    pub const SMALL: Self =
        Self { sql: Sql::SmallPostgres, planes: 1, envoys: 1, network: Network::ToRedis, keyed: false, ..Self::MESH };
}
