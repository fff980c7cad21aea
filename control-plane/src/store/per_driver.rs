//! One type for everything that exists once for each of the three kinds of database.

/// One of three values, by the kind of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PerDriver<S, P, M> {
    /// The embedded database.
    Sqlite(S),
    /// PostgreSQL.
    Postgres(P),
    /// MySQL and MariaDB, which understand the same statements where Curfew chooses them.
    MySql(M),
}

impl<S, P, M> PerDriver<S, P, M> {
    /// The one of three values that belongs to this kind of database.
    pub(crate) fn choose<T>(&self, sqlite: T, postgres: T, mysql: T) -> T {
        match self {
            Self::Sqlite(_) => sqlite,
            Self::Postgres(_) => postgres,
            Self::MySql(_) => mysql,
        }
    }
}
