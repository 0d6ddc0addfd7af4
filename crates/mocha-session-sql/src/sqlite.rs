//! SQLite: from a URL (a file, or memory), or on a pool of your own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mocha_session_core::store::Durability;
use mocha_session_core::{BoxFuture, Error, ErrorKind, Result, StoreUrl};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Sqlite, SqlitePool};

use crate::dialect::{Dialect, Statements};
use crate::error::Failure;
use crate::lane::Lane;
use crate::loan::Source;
use crate::opening::{explain, prepare_table};
use crate::options::{take_max_connections, take_options};
use crate::pool::Pool;
use crate::store::{Facts, SqlOptions, SqlStore};

/// How long a write waits for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// Reads the URL at once, and opens the file when the future is awaited.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), mocha_session_core::Error> {
/// use mocha_session_core::{StoreUrl, store::SessionStore};
///
/// let mut url = StoreUrl::parse("sqlite://")?;
/// let store = mocha_session_sql::sqlite::from_url(&mut url)?.await?;
/// url.finish()?; // nothing misspelt
/// store.ping().await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// `InvalidConfig` when the URL is wrong. The future: whatever keeps the file from being opened or the table from being
/// created.
pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<SqlStore>>> {
    let file = file(url)?;
    let options = take_options(url)?;
    let readers = take_max_connections(url, 4)?;
    let synchronous = match url.take("synchronous").as_deref() {
        None | Some("normal") => SqliteSynchronous::Normal,
        Some("full") => SqliteSynchronous::Full,
        Some(_) => return Err(url.refuse_option("synchronous", "must be normal or full")),
    };
    Ok(match file {
        None => Box::pin(open_memory(options)),
        Some(file) => Box::pin(open_file(file, options, readers, synchronous)),
    })
}

impl SqlStore {
    /// A store on an SQLite pool of your own, which serves reads and writes alike.
    ///
    /// Several connections that write block each other: give [`sqlite_with_readers`](Self::sqlite_with_readers) a pool of
    /// one connection for writing, or keep the pool's `busy_timeout` at some seconds.
    ///
    /// # Errors
    /// When the database cannot be opened, or the table is missing and cannot be created.
    pub async fn sqlite(pool: SqlitePool, options: SqlOptions) -> Result<Self> {
        open(Source::Local(pool.clone()), Source::Local(pool), options).await
    }

    /// A store on two SQLite pools of your own: writes go through the first, best made with one connection, and reads
    /// through the second. Both must be on the same file, in WAL mode.
    ///
    /// # Errors
    /// When the database cannot be opened, or the table is missing and cannot be created.
    pub async fn sqlite_with_readers(
        writer: SqlitePool,
        readers: SqlitePool,
        options: SqlOptions,
    ) -> Result<Self> {
        open(Source::Local(writer), Source::Local(readers), options).await
    }
}

/// The file of the URL; `None` for memory.
fn file(url: &StoreUrl) -> Result<Option<PathBuf>> {
    if !url.hosts().is_empty() || url.username().is_some() || url.password().is_some() {
        return Err(
            url.refuse("a file takes three slashes, or four for an absolute path: sqlite:///sessions.db")
        );
    }
    match url.path().strip_prefix('/').unwrap_or(url.path()) {
        "" if url.path().is_empty() => Ok(None),
        "" => Err(url.refuse("it names no file; for a database in memory write sqlite://")),
        ":memory:" => Ok(None),
        path if path.starts_with('/') => Ok(Some(path.into())),
        // With a folder before it no name means something else to SQLite, as `file:…` alone would.
        path => Ok(Some(Path::new(".").join(path))),
    }
}

/// A database in memory is its connection: there is one, and it is never closed.
async fn open_memory(options: SqlOptions) -> Result<SqlStore> {
    let connect = SqliteConnectOptions::new().disable_statement_logging();
    let only = Source::Local(pool_options().connect_lazy_with(connect));
    open(only.clone(), only, options).await
}

async fn open_file(
    file: PathBuf,
    options: SqlOptions,
    readers: u16,
    synchronous: SqliteSynchronous,
) -> Result<SqlStore> {
    if let Some(folder) = file.parent().filter(|folder| !folder.is_dir()) {
        return Err(refuse(&format!("the folder {} does not exist; create it", folder.display())));
    }
    if !options.create && !file.exists() {
        return Err(refuse(&format!("the file {} does not exist", file.display())));
    }
    let connect = SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(BUSY)
        .synchronous(synchronous)
        .disable_statement_logging();
    let read = connect.clone().pragma("query_only", "ON");
    let mut write = connect.create_if_missing(options.create);
    if options.create {
        write = write.journal_mode(SqliteJournalMode::Wal);
    }
    // sqlx's pool asks a connection that comes back whether it lives: another trip through the connection's thread.
    let writer = Source::Lane(Arc::new(Lane::new(write, 1)));
    // Going over to WAL takes a lock that SQLite's own busy timeout does not wait for.
    let waited = std::time::Instant::now();
    while let Err(failure) = writer.lend().await.and_then(|loan| loan.settle(Ok(()))) {
        if !failure.locked() || waited.elapsed() > BUSY {
            return Err(explain(failure, Dialect::Sqlite, &options));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    open(writer, Source::Lane(Arc::new(Lane::new(read, readers.into()))), options).await
}

/// A pool that keeps its one connection for ever.
fn pool_options() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(BUSY)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

async fn open(writer: Source<Sqlite>, readers: Source<Sqlite>, options: SqlOptions) -> Result<SqlStore> {
    let refused = |failure| explain(failure, Dialect::Sqlite, &options);
    let failed = |error| refused(Failure::unsent(error));
    let mut loan = writer.lend().await.map_err(refused)?;
    let connection = loan.connection().map_err(refused)?;
    let files: Vec<(i64, String, Option<String>)> =
        sqlx::query_as("PRAGMA database_list").fetch_all(&mut *connection).await.map_err(failed)?;
    let synchronous: i64 =
        sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await.map_err(failed)?;
    let in_memory =
        !files.iter().any(|(_, name, file)| name == "main" && file.as_ref().is_some_and(|f| !f.is_empty()));
    let durability = match synchronous {
        _ if in_memory => Durability::Process,
        0 | 1 => Durability::Delayed,
        _ => Durability::Disk,
    };
    let sql = Statements::new(Dialect::Sqlite, &options.table);
    prepare_table::<Sqlite>(connection, Dialect::Sqlite, &sql, &options).await?;
    let facts = Facts { durability, max_value: None };
    loan.settle(Ok(())).map_err(refused)?;
    SqlStore::on(Pool::Sqlite(writer), Pool::Sqlite(readers), sql, options, facts)
}

fn refuse(why: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, why.to_owned()).on(Dialect::Sqlite.name()).during("open")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn paths_are_sqlalchemys() {
        for (url, path) in [
            ("sqlite://", None),
            ("sqlite:", None),
            ("sqlite:///:memory:", None),
            ("sqlite:///relative.db", Some("./relative.db")),
            ("sqlite:///folder/relative.db", Some("./folder/relative.db")),
            ("sqlite:////absolute.db", Some("/absolute.db")),
            ("sqlite:////tmp/with%20space%3F.db", Some("/tmp/with space?.db")),
            // A name that SQLite would read as a URI with options of its own.
            ("sqlite:///file:a.db%3Fmode=memory", Some("./file:a.db?mode=memory")),
        ] {
            let found = file(&StoreUrl::parse(url).unwrap()).unwrap();
            assert_eq!(found.as_deref(), path.map(Path::new), "{url}");
        }
    }
}
