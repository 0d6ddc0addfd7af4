//! The three dialects, the table and its name. With [`statements`] it has every SQL text.
//!
//! There is no index on `expires_at`, because every request that keeps a session alive changes its
//! expiry. On PostgreSQL an indexed column that changes prevents heap-only (HOT) updates, so each
//! refresh would write to two indexes and leave a dead entry in both. The sweep, which the index
//! would speed up, reads the table in its physical order instead. The README has the figures.

#[cfg(feature = "_engine")]
mod statements;

use mocha_session_core::{Error, ErrorKind, Result};

#[cfg(feature = "_engine")]
pub(crate) use statements::{ByBlock, SWEEP_WIDTH, Statements};

/// One of the three dialects of SQL.
///
/// ```
/// use mocha_session_sql::Dialect;
/// assert_eq!(Dialect::MySql.name(), "mysql");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// Returns the engine's name in errors and capabilities.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::MySql => "mysql",
            Self::Sqlite => "sqlite",
        }
    }

    const fn quote(self) -> char {
        match self {
            Self::MySql => '`',
            Self::Postgres | Self::Sqlite => '"',
        }
    }

    /// The columns. Ids compare byte by byte in every dialect, because MariaDB's default collation
    /// treats `a` and `A` as equal, and pages by id need one order. `data` is last, because SQLite
    /// then reads the other columns without reading a long value.
    const fn columns(self) -> &'static str {
        match self {
            // A tenth of each page stays free for the next version of a row, so that nearly all
            // updates are heap-only.
            Self::Postgres => {
                "(\n    id text COLLATE \"C\" PRIMARY KEY,\n    revision bigint NOT NULL,\n    expires_at bigint NOT \
                 NULL,\n    data bytea NOT NULL\n) WITH (fillfactor = 90)"
            }
            Self::MySql => {
                "(\n    id VARCHAR(168) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,\n    revision \
                 BIGINT NOT NULL,\n    expires_at BIGINT NOT NULL,\n    data LONGBLOB NOT NULL\n) ENGINE=InnoDB"
            }
            Self::Sqlite => {
                "(\n    id TEXT NOT NULL PRIMARY KEY,\n    revision INTEGER NOT NULL,\n    expires_at INTEGER NOT \
                 NULL,\n    data BLOB NOT NULL\n)"
            }
        }
    }
}

/// A table's name, checked so that it can be part of an SQL text.
///
/// ```
/// use mocha_session_sql::Table;
///
/// assert_eq!(Table::default().name(), "mocha_sessions");
/// assert!(Table::new("web_sessions").and_then(|table| table.in_schema("auth")).is_ok());
/// assert!(Table::new("x; DROP TABLE users").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    schema: Option<Box<str>>,
    name: Box<str>,
}

impl Table {
    /// The length of the longest name: PostgreSQL's limit.
    pub const MAX_NAME: usize = 63;

    /// A table of this name: ASCII letters, digits and `_`, not beginning with a digit.
    ///
    /// # Errors
    /// `InvalidConfig` for any other name.
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self { schema: None, name: identifier(name, "table")? })
    }

    /// Puts the table into this schema. Without one, the server's search path decides.
    ///
    /// # Errors
    /// `InvalidConfig` when the schema's name could not be that of a table.
    pub fn in_schema(self, schema: &str) -> Result<Self> {
        Ok(Self { schema: Some(identifier(schema, "schema")?), ..self })
    }

    /// Returns the table's name without its schema.
    pub fn name(&self) -> &str {
        &self.name
    }

    #[cfg(feature = "mysql")]
    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    pub(crate) fn quoted(&self, dialect: Dialect) -> String {
        let quote = dialect.quote();
        let mut out = String::new();
        for part in self.schema.as_deref().into_iter().chain([&*self.name]) {
            if !out.is_empty() {
                out.push('.');
            }
            out.push(quote);
            out.push_str(part);
            out.push(quote);
        }
        out
    }
}

impl Default for Table {
    fn default() -> Self {
        Self { schema: None, name: "mocha_sessions".into() }
    }
}

/// Returns the statement that creates the table, for deployments where the application may not
/// create it (`?create=false`).
///
/// ```
/// use mocha_session_sql::{Dialect, Table, schema_sql};
/// let sql = schema_sql(Dialect::Postgres, &Table::default());
/// assert!(sql.starts_with("CREATE TABLE IF NOT EXISTS \"mocha_sessions\" ("));
/// ```
pub fn schema_sql(dialect: Dialect, table: &Table) -> String {
    format!("CREATE TABLE IF NOT EXISTS {} {};", table.quoted(dialect), dialect.columns())
}

fn identifier(name: &str, what: &str) -> Result<Box<str>> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let digit_first = name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || name.len() > Table::MAX_NAME || digit_first || !name.bytes().all(allowed)
    {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            format!(
                "a {what}'s name must be 1 to {} ASCII letters, digits and _, and not begin with a \
                 digit",
                Table::MAX_NAME
            ),
        ));
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_is_a_name_and_nothing_else() {
        let long = "a".repeat(64);
        let bad = "1a|a b|a;b|a\"b|a`b|a'b|a.b|a--|é|a\0|a?|a{table}".split('|');
        for bad in bad.chain(["", &long]) {
            assert!(Table::new(bad).is_err_and(|error| error.is_invalid_config()), "{bad:?}");
            assert!(Table::default().in_schema(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "_", "Sessions2", "select", &"a".repeat(63)] {
            assert!(Table::new(good).is_ok(), "{good:?}");
        }
    }
}
