//! A fresh database of one kind, and stores on it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use curfew_control_plane::clock::Clock;
use curfew_control_plane::log::LogPosition;
use curfew_control_plane::store::command::{Committed, Registration, TokenRecord};
use curfew_control_plane::store::{self, CommitObserver, Counters, Database, ReadFailure, Settings, Store};
use curfew_core::wire::CheckVerdict;
use curfew_core::{KeyRule, RevocationKey, TokenKeys};
use curfew_testbed::servers::{Mariadb, Postgres};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Row};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The time when the stories begin, seconds of Unix time.
pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) const ISSUER: &str = "https://issuer.example.com";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    Mariadb,
}

/// One server of each kind for all stories; each story has a database of its own.
pub(crate) fn postgres() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::start().unwrap())
}

pub(crate) fn mariadb() -> &'static Mariadb {
    static SERVER: OnceLock<Mariadb> = OnceLock::new();
    SERVER.get_or_init(|| Mariadb::start().unwrap())
}

/// A database that only one story uses.
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    database: Database,
    story: String,
    /// True if tokens have been adopted from another database before.
    adopted: bool,
    directory: TempDir,
    now: Arc<AtomicI64>,
}

impl Place {
    pub(crate) fn new(kind: Kind, story: &str) -> Self {
        let directory = TempDir::new().unwrap();
        // The servers limit the length of a database's name.
        let name: String = format!("s_{story}").chars().take(60).collect();
        let url = match kind {
            Kind::Sqlite => format!("sqlite://{}/curfew.db", directory.path().display()),
            Kind::Postgres => postgres().fresh_database(&name).unwrap(),
            Kind::Mariadb => mariadb().fresh_database(&name).unwrap(),
        };
        let database = Database::from_url(&url).unwrap();
        let story = story.to_owned();
        Self { kind, url, database, story, adopted: false, directory, now: Arc::new(AtomicI64::new(NOW)) }
    }

    /// A database into which the tokens of another application have been adopted.
    pub(crate) fn after_an_adoption(kind: Kind, story: &str) -> Self {
        Self { adopted: true, ..Self::new(kind, &format!("b_{story}")) }
    }

    /// Another database of this kind for the same story, such as that of an application.
    pub(crate) fn application(&self, kind: Kind, name: &str) -> Self {
        // The same story runs on each kind of database at the same time.
        let own = format!("{:?}", self.kind).to_lowercase();
        Self::new(kind, &format!("{name}_{own}_{}", self.story))
    }

    pub(crate) fn database(&self) -> Database {
        self.database.clone()
    }

    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("curfew.db")
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Clock::new(move || now.load(Ordering::SeqCst))
    }

    /// A control plane's store, as `serve` makes it.
    pub(crate) async fn open(&self) -> Plane {
        if self.adopted {
            let old = self.application(self.kind, "a");
            crate::adopted::make_old_table(&old).await;
            crate::adopted::adopt_all(&old, self).await;
        }
        store::migrate(&self.database()).await.unwrap();
        store::prepare(&self.database(), &settings(), NOW, false).await.unwrap();
        self.open_with(self.clock())
    }

    pub(crate) fn open_with(&self, clock: Clock) -> Plane {
        open_with(&self.database(), clock, settings())
    }

    /// A store that keeps rows for this many seconds longer than they are needed.
    pub(crate) fn open_keeping(&self, audit: i64) -> Plane {
        open_with(&self.database(), self.clock(), settings().keeping_rows(audit))
    }

    /// Adds rows about tokens that have expired long ago.
    pub(crate) async fn fill_with_expired(&self, rows: u32) {
        let id = match self.kind {
            Kind::Sqlite => "randomblob(16)",
            Kind::Postgres => "uuid_send(gen_random_uuid())",
            // Each id differs from the others, because its time part counts up.
            Kind::Mariadb => "UNHEX(REPLACE(UUID(), '-', ''))",
        };
        let columns = "token_id, issuer, expires_at, created_at, updated_at";
        let depth = if self.kind == Kind::Mariadb { "SET SESSION max_recursive_iterations = 10000000;" } else { "" };
        self.execute(&format!(
            "{depth} INSERT INTO user_token_logs ({columns})
             WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})
             SELECT {id}, 'i', 1, 1, 1 FROM numbers"
        ))
        .await;
    }

    /// A connection that does not belong to Curfew.
    pub(crate) async fn connection(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&self.url).await.unwrap()
    }

    pub(crate) async fn execute(&self, statement: &str) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement).execute(&mut self.connection().await).await.unwrap();
    }

    pub(crate) async fn rows(&self, statement: &'static str) -> Vec<AnyRow> {
        sqlx::query(statement).fetch_all(&mut self.connection().await).await.unwrap()
    }

    /// True if the database has no tables, or no file.
    pub(crate) async fn is_empty(&self) -> bool {
        let tables = match self.kind {
            Kind::Sqlite if !self.file().exists() => return true,
            Kind::Sqlite => "SELECT count(*) FROM sqlite_master",
            Kind::Postgres => "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
            Kind::Mariadb => "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE()",
        };
        self.number(tables).await == 0
    }

    pub(crate) async fn number(&self, statement: &str) -> i64 {
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned()));
        statement.fetch_one(&mut self.connection().await).await.unwrap().get(0)
    }

    /// Rows of `user_token_logs` and of `revocations`, and the head's seq.
    pub(crate) async fn counts(&self) -> (i64, i64, i64) {
        (
            self.number("SELECT count(*) FROM user_token_logs").await,
            self.number("SELECT count(*) FROM revocations").await,
            self.number("SELECT seq FROM feed_head").await,
        )
    }
}

/// A store on a database that is prepared, at the time when the stories begin.
pub(crate) fn open(database: &Database) -> Plane {
    open_with(database, Clock::new(|| NOW), settings())
}

fn open_with(database: &Database, clock: Clock, settings: Settings) -> Plane {
    let counters = Counters::default();
    let (store, task) = Store::open(database, settings, clock, counters.clone(), CommitObserver::none());
    let stop = CancellationToken::new();
    tokio::spawn(task.run(stop.clone()));
    Plane { store, counters, _stop: stop.drop_guard() }
}

/// A store with its writer at work.
pub(crate) struct Plane {
    pub(crate) store: Store,
    pub(crate) counters: Counters,
    _stop: DropGuard,
}

impl Plane {
    pub(crate) async fn verdict(&self, token: &TokenRecord) -> CheckVerdict {
        answered(async || self.store.check(&token.keys, token.cutoff_time).await).await.verdict
    }

    pub(crate) async fn head(&self) -> LogPosition {
        answered(async || self.store.head().await).await
    }
}

/// Asks until there is an answer: a late answer is an error, and this machine may be busy with other tests.
pub(crate) async fn answered<T>(ask: impl AsyncFn() -> Result<T, ReadFailure>) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(failure) => assert!(Instant::now() < until, "{failure:?}"),
        }
    }
}

pub(crate) fn settings() -> Settings {
    let rule = |kind, claim: &str, issued_at: &str| KeyRule {
        issuer: ISSUER.into(),
        kind,
        claim: claim.into(),
        issued_at_claim: issued_at.into(),
    };
    let rules = [rule(curfew_core::Kind::Subject, "sub", "iat"), rule(curfew_core::Kind::Session, "sid", "")];
    let policy = serde_json::json!({"issuers": [{"issuer": ISSUER, "secret": "0".repeat(32)}]});
    let settings = Settings::of(&curfew_core::Policy::from_document(&policy).unwrap().0);
    assert_eq!(settings.rules, rules);
    settings
}

pub(crate) fn token(user: &str, number: u64) -> TokenRecord {
    TokenRecord {
        keys: TokenKeys {
            token: RevocationKey::token(format!("{user}.{number}").as_bytes()),
            jti: Some(RevocationKey::jti(ISSUER, &format!("{user} {number}"))),
            session: None,
            subject: Some(RevocationKey::subject(ISSUER, user)),
        },
        issuer: ISSUER.to_owned(),
        user: Some(user.to_owned()),
        session_id: None,
        issued_at: Some(NOW - 10),
        cutoff_time: Some(NOW - 10),
        expires_at: NOW + 3600,
    }
}

pub(crate) fn registration(token: TokenRecord) -> Registration {
    Registration { token, user_agent: Some("Browser 1.0 \u{1f98a}".to_owned()), ip: Some([192, 0, 2, 7].into()) }
}

/// Stories that run on each kind of database.
macro_rules! on_each_database {
    (also after an adoption; $(async fn $story:ident($place:ident: &Place) $told:block)*) => {
        crate::place::on_each_database! { $(async fn $story($place: &Place) $told)* }

        mod after_an_adoption {
            $(mod $story {
                use super::super::*;

                #[tokio::test]
                async fn on_sqlite() {
                    super::super::$story::story(&Place::after_an_adoption(Kind::Sqlite, stringify!($story))).await;
                }

                #[tokio::test]
                async fn on_postgres() {
                    super::super::$story::story(&Place::after_an_adoption(Kind::Postgres, stringify!($story))).await;
                }

                #[tokio::test]
                async fn on_mariadb() {
                    super::super::$story::story(&Place::after_an_adoption(Kind::Mariadb, stringify!($story))).await;
                }
            })*
        }
    };
    ($(async fn $story:ident($place:ident: &Place) $told:block)*) => {
        $(mod $story {
            use super::*;

            pub(super) async fn story($place: &Place) $told

            #[tokio::test]
            async fn on_sqlite() {
                story(&Place::new(Kind::Sqlite, stringify!($story))).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                story(&Place::new(Kind::Postgres, stringify!($story))).await;
            }

            #[tokio::test]
            async fn on_mariadb() {
                story(&Place::new(Kind::Mariadb, stringify!($story))).await;
            }
        })*
    };
}
pub(crate) use on_each_database;

/// The outcome of a command, without its commit.
pub(crate) fn outcome<T: Copy>(committed: Committed<T>) -> T {
    *committed.outcome()
}
