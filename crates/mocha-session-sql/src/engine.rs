//! What differs between the engines when connections are opened, and what a store learns of its
//! server.

use mocha_session_core::backend::{Credentials, Role};
use mocha_session_core::store::Durability;
use sqlx::{Connection, Database};

use crate::clocks::Clocks;
use crate::dialect::Dialect;
use crate::loan::Source;
use crate::pool::Pool;

/// The options that a connection of this engine is opened with.
pub(crate) type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

/// One of the three engines.
pub(crate) trait Engine: Database {
    const DIALECT: Dialect;

    /// Whether the engine runs in this process, where connections neither go stale nor fail over.
    const LOCAL: bool;

    /// The same options with these credentials, as far as there are some.
    fn login(options: Options<Self>, credentials: &Credentials) -> Options<Self>;

    /// Opens a connection and makes its settings the store's. It fails where the server is no
    /// primary.
    fn connect(
        options: &Options<Self>,
        clocks: &Clocks,
    ) -> impl Future<Output = sqlx::Result<Self::Connection>> + Send;

    /// Asks who the connection leads to. It fails where the server is no primary.
    fn require_primary(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Limits how long a connection of the user's own pool waits for locks, if that is the client's
    /// to say.
    fn limit(
        _connection: &mut Self::Connection,
        _clocks: &Clocks,
    ) -> impl Future<Output = sqlx::Result<()>> + Send {
        async { Ok(()) }
    }

    /// Asks what the server promises.
    fn inspect(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = sqlx::Result<Facts>> + Send;

    fn pool(source: Source<Self>) -> Pool;
}

/// What an engine was found to be when the store was opened.
#[derive(Debug)]
pub(crate) struct Facts {
    pub durability: Durability,
    pub max_value: Option<usize>,
    /// Whether a statement is committed without being told to.
    pub autocommit: bool,
    /// Whether ranges of a table's physical blocks can be read as such.
    pub by_block: bool,
}

/// The server takes no writes: the error of a connection that leads to one.
#[derive(Debug)]
pub(crate) struct NotPrimary;

impl std::fmt::Display for NotPrimary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Role::READ_ONLY)
    }
}

impl std::error::Error for NotPrimary {}

/// Reads the column in which the server says whether it takes no writes.
pub(crate) fn primary(read_only: i64) -> sqlx::Result<()> {
    match read_only {
        0 => Ok(()),
        _ => Err(sqlx::Error::AnyDriverError(Box::new(NotPrimary))),
    }
}
