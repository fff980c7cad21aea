//! What runs in a story, as values.

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sql {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    Mariadb,
    /// A file of the control plane's own.
    Sqlite,
}

/// How the two clusters of `envoy.yaml` are connected to the control planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// Each has all of them.
    Shared,
    /// Logouts go to the first alone, the filter's questions to the last alone.
    Crossed,
}

/// What memory a Redis has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// None is there.
    Absent,
    /// As much as it wants.
    Roomy,
    /// A megabyte, and it evicts.
    Evicting,
}

/// What runs in a story.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The database.
    pub sql: Sql,
    /// The Redis.
    pub redis: Fill,
    /// How many control planes.
    pub planes: usize,
    /// Who asks whom.
    pub wiring: Wiring,
}
