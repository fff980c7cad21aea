//! A row that a statement returns. It has few types, and reads them from all databases in the same way.

use sqlx::mysql::MySqlRow;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Error, Row as _};

use crate::store::per_driver::PerDriver;

/// A row of any of the databases.
pub(crate) type Row = PerDriver<SqliteRow, PgRow, MySqlRow>;

impl Row {
    /// A number. NULL is an error.
    pub(crate) fn integer(&self, column: &str) -> Result<i64, Error> {
        self.optional_integer(column)?.ok_or_else(|| absent(column))
    }

    /// A number or NULL.
    pub(crate) fn optional_integer(&self, column: &str) -> Result<Option<i64>, Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            // In PostgreSQL the width is part of the type, and the driver does not widen a short number.
            Self::Postgres(row) => row
                .try_get(column)
                .or_else(|_| Ok(row.try_get::<Option<i32>, _>(column)?.map(i64::from)))
                .or_else(|_: Error| Ok(row.try_get::<Option<i16>, _>(column)?.map(i64::from))),
            // In MySQL, signed, unsigned and boolean are three types. If an unsigned number were read as a signed one,
            // its highest bit would become the sign.
            Self::MySql(row) => match row.try_get::<Option<u64>, _>(column) {
                Ok(number) => number.map(i64::try_from).transpose().map_err(|error| Error::Decode(error.into())),
                Err(_) => row.try_get_unchecked(column),
            },
        }
    }

    /// A number that is not negative. NULL is an error.
    pub(crate) fn count(&self, column: &str) -> Result<u64, Error> {
        self.integer(column).and_then(|number| counted(column, number))
    }

    /// A number that is not negative, or NULL.
    pub(crate) fn optional_count(&self, column: &str) -> Result<Option<u64>, Error> {
        self.optional_integer(column)?.map(|number| counted(column, number)).transpose()
    }

    /// A text. NULL is an error.
    pub(crate) fn text(&self, column: &str) -> Result<String, Error> {
        self.optional_text(column)?.ok_or_else(|| absent(column))
    }

    /// A text or NULL.
    pub(crate) fn optional_text(&self, column: &str) -> Result<Option<String>, Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
            // The type is not checked: in MySQL, texts that must compare byte by byte are VARBINARY.
            Self::MySql(row) => row.try_get_unchecked(column),
        }
    }

    /// Sixteen bytes. NULL is an error.
    pub(crate) fn sixteen(&self, column: &str) -> Result<[u8; 16], Error> {
        let bytes: &[u8] = match self {
            Self::Sqlite(row) => row.try_get(column)?,
            // This reads the text form, which a statement that was not prepared returns, and bytes.
            Self::Postgres(row) => return row.try_get(column),
            Self::MySql(row) => row.try_get(column)?,
        };
        bytes.try_into().map_err(|_| Error::Decode("not 16 bytes".into()))
    }
}

fn counted(column: &str, number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Decode(format!("{column} is negative").into()))
}

fn absent(column: &str) -> Error {
    Error::Decode(format!("{column} is NULL").into())
}
