//! The trait of the three engines: opening and checking a connection, and the engine's reports.

use mocha_session_core::backend::{Credentials, Role};
use mocha_session_core::store::{Durability, Finding};
use sqlx::{Connection, Database};

use crate::dialect::{Dialect, Table};
use crate::limits::Limits;
use crate::loan::Source;
use crate::pool::Pool;

/// The client's options for a connection of this engine.
pub(crate) type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

/// One of the three engines.
pub(crate) trait Engine: Database {
    const DIALECT: Dialect;

    /// Whether the engine runs in this process, so that connections neither go stale nor fail over.
    const LOCAL: bool;

    /// Adds the credentials, if there are any.
    fn login(options: Options<Self>, credentials: &Credentials) -> Options<Self>;

    /// Opens a connection with the store's settings. Fails if the server is not a primary.
    fn connect(
        options: &Options<Self>,
        limits: &Limits,
    ) -> impl Future<Output = sqlx::Result<Self::Connection>> + Send;

    /// Asks for the server's role. Fails if it is not a primary.
    fn require_primary(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Limits how long a connection of the application's pool waits for locks, where a client can.
    fn limit(
        _connection: &mut Self::Connection,
        _clocks: &Limits,
    ) -> impl Future<Output = sqlx::Result<()>> + Send {
        async { Ok(()) }
    }

    /// Asks for the server's properties.
    fn inspect(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = sqlx::Result<Facts>> + Send;

    /// Asks for what is dangerous about the server and the table.
    fn examine(
        connection: &mut Self::Connection,
        table: &Table,
    ) -> impl Future<Output = sqlx::Result<Vec<Finding>>> + Send;

    fn pool(source: Source<Self>) -> Pool;
}

/// The properties of an engine when the store was opened.
#[derive(Debug)]
pub(crate) struct Facts {
    pub durability: Durability,
    pub max_value: Option<usize>,
    /// Whether each statement is committed by itself.
    pub autocommit: bool,
    /// Whether a range of physical blocks can be read without the rest of the table.
    pub by_block: bool,
}

/// The error of a connection to a server that refuses writes.
#[derive(Debug)]
pub(crate) struct NotPrimary;

impl std::fmt::Display for NotPrimary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Role::READ_ONLY)
    }
}

impl std::error::Error for NotPrimary {}

/// Reads the column that tells whether the server refuses writes.
pub(crate) fn primary(read_only: i64) -> sqlx::Result<()> {
    match read_only {
        0 => Ok(()),
        _ => Err(sqlx::Error::AnyDriverError(Box::new(NotPrimary))),
    }
}
