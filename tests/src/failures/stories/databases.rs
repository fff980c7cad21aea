//! Databases that die, say nothing, are full, or have no room for another connection.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::failures::crowd::Crowd;
use crate::failures::{Claims, Conditions, Fill, Setup, Sql, Story, Wiring, World};

const POSTGRES: Setup = Setup { sql: Sql::Postgres, redis: Fill::Roomy, planes: 1, wiring: Wiring::Shared };
const MARIADB: Setup = Setup { sql: Sql::Mariadb, ..POSTGRES };
const SQLITE: Setup = Setup { sql: Sql::Sqlite, redis: Fill::Absent, ..POSTGRES };

/// How long a server says nothing.
const FROZEN: Duration = Duration::from_secs(10);

/// The size beyond which no file grows on a full disk: less than one page of SQLite's, so that no commit finds room.
const FULL_BYTES: u64 = 1024;

/// Logouts fail and are told so; whoever has no fresh answer gets none.
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
        play: killed,
        claims: AWAY,
    },
    Story {
        name: "mariadb-killed",
        fails: "MariaDB is killed and started again",
        seen: SEEN,
        setup: MARIADB,
        play: killed,
        claims: AWAY,
    },
    Story {
        name: "postgres-frozen",
        fails: "PostgreSQL says nothing for 10 s, with all connections open",
        seen: SEEN,
        setup: POSTGRES,
        play: frozen,
        claims: AWAY,
    },
    Story {
        name: "mariadb-frozen",
        fails: "MariaDB says nothing for 10 s, with all connections open",
        seen: SEEN,
        setup: MARIADB,
        play: frozen,
        claims: AWAY,
    },
    Story {
        name: "postgres-crowded",
        fails: "others take all connections of PostgreSQL, and Curfew's are ended",
        seen: SEEN,
        setup: POSTGRES,
        play: crowded,
        claims: AWAY,
    },
    Story {
        name: "sqlite-full",
        fails: "the disk with the SQLite file and the log is full",
        seen: "logouts get 503; requests are decided as always",
        setup: SQLITE,
        play: full,
        claims: Claims { requests: super::FINE, refused_after: Duration::ZERO, ..AWAY },
    },
    Story {
        name: "both-killed",
        fails: "PostgreSQL and Redis are killed and started again",
        seen: SEEN,
        setup: POSTGRES,
        play: both_killed,
        claims: AWAY,
    },
];

fn killed(world: &mut World, conditions: Conditions) -> Result<()> {
    world.sql()?.kill()?;
    thread::sleep(conditions.fault);
    world.sql()?.restart()
}

fn both_killed(world: &mut World, conditions: Conditions) -> Result<()> {
    world.sql()?.kill()?;
    world.redis()?.server().kill()?;
    thread::sleep(conditions.fault);
    world.redis()?.server().restart()?;
    world.sql()?.restart()
}

fn frozen(world: &mut World, _: Conditions) -> Result<()> {
    world.sql()?.freeze();
    thread::sleep(FROZEN);
    world.sql()?.thaw();
    Ok(())
}

fn crowded(world: &mut World, conditions: Conditions) -> Result<()> {
    let crowd = Crowd::gather(&world.postgres()?.url())?;
    thread::sleep(conditions.fault);
    crowd.disperse()
}

/// A limit of the process for the size of files: writes beyond it fail, those of the log too, which needs neither root nor
/// a small file system. The kernel's error is EFBIG and not ENOSPC, which makes no difference to a write that did not take
/// place.
fn full(world: &mut World, conditions: Conditions) -> Result<()> {
    world.plane(0)?.limit_files(Some(FULL_BYTES))?;
    thread::sleep(conditions.fault);
    world.plane(0)?.limit_files(None)?;
    ensure!(world.plane(0)?.is_running(), "a full disk ended the control plane");
    Ok(())
}
