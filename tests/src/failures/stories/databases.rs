//! Databases that die, do not answer, are full, or have no connection left.

use std::time::Duration;

use crate::failures::{Claims, Story};
use crate::faults::inject::{self, freeze_sql, kill_sql};
use crate::faults::{Fault, RedisMemory, Setup, Sql};

const POSTGRES: Setup = Setup::SMALL;
const MARIADB: Setup = Setup { sql: Sql::Mariadb, ..POSTGRES };
const SQLITE: Setup = Setup { sql: Sql::Sqlite, redis: RedisMemory::Absent, ..POSTGRES };

/// How long a server does not answer.
const FROZEN: Duration = Duration::from_secs(10);

const KILLED: Fault = |mesh, stage| kill_sql(mesh, stage, stage.times.fault);

const SILENT: Fault = |mesh, stage| freeze_sql(mesh, stage, FROZEN);

/// Logouts fail, and their callers get 503. So does a request whose token has no fresh answer.
const AWAY: Claims = Claims {
    logouts: &["200", "503 unavailable"],
    requests: &["200", "503 unavailable"],
    slowest_logout: Duration::from_secs(8),
    refused_after: Duration::from_secs(5),
    felt: true,
};

const SEEN: &str = "meanwhile logouts and tokens without a fresh answer get 503";

pub(super) const STORIES: &[Story] = &[
    Story {
        name: "postgres-killed",
        fails: "PostgreSQL is killed and started again",
        seen: SEEN,
        setup: POSTGRES,
        fault: KILLED,
        claims: AWAY,
    },
    Story {
        name: "mariadb-killed",
        fails: "MariaDB is killed and started again",
        seen: SEEN,
        setup: MARIADB,
        fault: KILLED,
        claims: AWAY,
    },
    Story {
        name: "postgres-frozen",
        fails: "PostgreSQL says nothing for 10 s, with all connections open",
        seen: SEEN,
        setup: POSTGRES,
        fault: SILENT,
        claims: AWAY,
    },
    Story {
        name: "mariadb-frozen",
        fails: "MariaDB says nothing for 10 s, with all connections open",
        seen: SEEN,
        setup: MARIADB,
        fault: SILENT,
        claims: AWAY,
    },
    Story {
        name: "postgres-crowded",
        fails: "others take all connections of PostgreSQL, and Curfew's are ended",
        seen: SEEN,
        setup: POSTGRES,
        fault: inject::crowd_out,
        claims: AWAY,
    },
    Story {
        name: "sqlite-full",
        fails: "the disk with the SQLite file and the log is full",
        seen: "logouts get 503; requests are decided as always",
        setup: SQLITE,
        fault: inject::fill_disk,
        claims: Claims { requests: super::FINE, refused_after: Duration::ZERO, ..AWAY },
    },
    Story {
        name: "both-killed",
        fails: "PostgreSQL and Redis are killed and started again",
        seen: SEEN,
        setup: POSTGRES,
        fault: inject::kill_sql_and_redis,
        claims: AWAY,
    },
];
