//! Statements whose answer says whether it may be believed.
//!
//! Each statement begins at the head, and asks at the same moment whether the server takes writes and where the history
//! is kept. A connection may be in the pool for long. Meanwhile its server may become read-only, or a copy may be
//! restored into it. What is costly to ask, or cannot change while a connection lives, is checked only for each new
//! connection and by the watch ([`super::history`]).

use super::driver::Link;

/// One statement, with its text for each kind of database. Made by [`trusted!`].
pub(crate) struct Trusted {
    pub(super) sqlite: &'static str,
    pub(crate) postgres: &'static str,
    pub(super) mysql: &'static str,
}

impl Trusted {
    pub(super) fn on(&self, link: &Link<'_>) -> &'static str {
        link.choose(self.sqlite, self.postgres, self.mysql)
    }
}

/// `trusted!(columns, rest)` is `SELECT <trust>, columns FROM feed_head AS head rest`. It must return at least one row,
/// so everything else is joined with `LEFT JOIN`. The names `epoch`, `seq`, `keys_seq`, `identity`, `follows`, `server`,
/// `timeline`, `made` and `run` are taken.
macro_rules! trusted {
    ($columns:literal, $rest:literal) => {
        $crate::store::sql::trusted::Trusted {
            sqlite: concat!(
                "SELECT head.epoch, head.seq, head.keys_seq, head.identity, 0 AS follows, ",
                $columns,
                " FROM feed_head AS head ",
                $rest
            ),
            postgres: concat!(
                "SELECT head.epoch, head.seq, head.keys_seq, head.identity, \
                 CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END AS follows, \
                 head.tableoid::text AS made, NULL::text AS server, NULL::text AS timeline, ",
                $crate::store::sql::history::postgres_run!(),
                ", ",
                $columns,
                " FROM feed_head AS head ",
                $rest
            ),
            mysql: concat!(
                "SELECT head.epoch, head.seq, head.keys_seq, head.identity, ",
                $crate::store::sql::mysql_server::mysql_server!(),
                ", NULL AS made, NULL AS timeline, ",
                $crate::store::sql::mysql_server::noted_run!(),
                ", ",
                $columns,
                " FROM feed_head AS head ",
                $rest
            ),
        }
    };
}
pub(crate) use trusted;
