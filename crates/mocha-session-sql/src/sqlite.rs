//! SQLite, in a file or in memory: its options, and how its file is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mocha_session_core::backend::{CredentialSource, Credentials};
use mocha_session_core::store::Durability;
use mocha_session_core::{BoxFuture, Error, ErrorKind, Result, StoreUrl};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, Sqlite, SqliteConnection};

use crate::clocks::Clocks;
use crate::connections::{Connections, Target};
use crate::dialect::Dialect;
use crate::engine::{Engine, Facts};
use crate::error::locked;
use crate::loan::Source;
use crate::open::{SqlOptions, open};
use crate::pool::Pool;
use crate::store::SqlStore;
use crate::url::{take_max_connections, take_options};

impl Engine for Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;
    const LOCAL: bool = true;

    fn login(options: SqliteConnectOptions, _: &Credentials) -> SqliteConnectOptions {
        options
    }

    async fn connect(
        options: &SqliteConnectOptions,
        clocks: &Clocks,
    ) -> sqlx::Result<SqliteConnection> {
        // Going over to WAL takes a lock that SQLite's own busy timeout does not wait for.
        let began = Instant::now();
        loop {
            match options.connect().await {
                Err(error) if locked(&error) && began.elapsed() < clocks.statement => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                connected => return connected,
            }
        }
    }

    async fn require_primary(_: &mut SqliteConnection) -> sqlx::Result<()> {
        Ok(())
    }

    /// A pool's usual five seconds are as long as the whole call.
    async fn limit(connection: &mut SqliteConnection, clocks: &Clocks) -> sqlx::Result<()> {
        let busy = AssertSqlSafe(format!("PRAGMA busy_timeout = {}", clocks.statement.as_millis()));
        connection.execute(sqlx::raw_sql(busy)).await.map(drop)
    }

    async fn inspect(connection: &mut SqliteConnection) -> sqlx::Result<Facts> {
        let files: Vec<(i64, String, Option<String>)> =
            sqlx::query_as("PRAGMA database_list").fetch_all(&mut *connection).await?;
        let synchronous: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(connection).await?;
        let in_memory = !files
            .iter()
            .any(|(_, name, file)| name == "main" && file.as_ref().is_some_and(|f| !f.is_empty()));
        let durability = match synchronous {
            _ if in_memory => Durability::Process,
            0 | 1 => Durability::Delayed,
            _ => Durability::Disk,
        };
        Ok(Facts { durability, max_value: None, autocommit: true, by_block: false })
    }

    fn pool(source: Source<Self>) -> Pool {
        Pool::Sqlite(source)
    }
}

pub(crate) fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<SqlStore>>> {
    let file = file(url)?;
    let options = take_options(url)?;
    let readers = take_max_connections(url, 4)?;
    let synchronous = match url.take("synchronous").as_deref() {
        None | Some("normal") => SqliteSynchronous::Normal,
        Some("full") => SqliteSynchronous::Full,
        Some(_) => return Err(url.refuse_option("synchronous", "must be normal or full")),
    };
    Ok(match file {
        // A database in memory is its connection: there is one, and it is never closed.
        None => Box::pin(async move {
            let only = connections(SqliteConnectOptions::new(), &options, 1);
            open(only.clone(), only, options).await
        }),
        Some(file) => Box::pin(open_file(file, options, readers, synchronous)),
    })
}

/// The file of the URL; `None` for memory.
fn file(url: &StoreUrl) -> Result<Option<PathBuf>> {
    if !url.hosts().is_empty() || url.username().is_some() || url.password().is_some() {
        return Err(url.refuse(
            "a file takes three slashes, or four for an absolute path: sqlite:///sessions.db",
        ));
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
    let connect = SqliteConnectOptions::new().filename(file).synchronous(synchronous);
    let read = connect.clone().pragma("query_only", "ON");
    let mut write = connect.create_if_missing(options.create);
    if options.create {
        write = write.journal_mode(SqliteJournalMode::Wal);
    }
    let (writer, readers) = (connections(write, &options, 1), connections(read, &options, readers));
    open(writer, readers, options).await
}

fn connections(connect: SqliteConnectOptions, options: &SqlOptions, most: u16) -> Source<Sqlite> {
    let clocks = Clocks::new(options.deadline);
    let connect = connect.busy_timeout(clocks.statement).disable_statement_logging();
    let nobody = CredentialSource::fixed(Credentials::default());
    let target = Target { options: connect, bare: None };
    Source::Own(Arc::new(Connections::new(vec![target], nobody, clocks, most.into())))
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
