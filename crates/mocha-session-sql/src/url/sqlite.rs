//! The options of SQLite's URLs, and how its file is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mocha_session_core::backend::{CredentialSource, Credentials};
use mocha_session_core::{BoxFuture, Error, ErrorKind, Result, StoreUrl};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Sqlite};

use super::{take_max_connections, take_options};
use crate::connections::{Connections, Target};
use crate::dialect::Dialect;
use crate::limits::Limits;
use crate::loan::Source;
use crate::open::{self, SqlOptions};
use crate::store::SqlStore;

pub(super) fn open(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<SqlStore>>> {
    let file = file(url)?;
    let options = take_options(url)?;
    let readers = take_max_connections(url, 4)?;
    let synchronous = match url.take("synchronous").as_deref() {
        None | Some("normal") => SqliteSynchronous::Normal,
        Some("full") => SqliteSynchronous::Full,
        Some(_) => return Err(url.refuse_option("synchronous", "must be normal or full")),
    };
    Ok(match file {
        // A database in memory lives as long as its one connection, which is never closed.
        None => Box::pin(async move {
            let only = connections(SqliteConnectOptions::new(), &options, 1);
            open::open(only.clone(), only, options).await
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
        // Without a folder before it, SQLite would read `file:…` as a URI.
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
    open::open(writer, readers, options).await
}

fn connections(connect: SqliteConnectOptions, options: &SqlOptions, most: u16) -> Source<Sqlite> {
    let limits = Limits::new(options.deadline);
    let connect = connect.busy_timeout(limits.statement).disable_statement_logging();
    let none = CredentialSource::fixed(Credentials::default());
    let target = Target { options: connect, bare: None };
    Source::Own(Arc::new(Connections::new(vec![target], none, limits, most.into())))
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
            // A name that SQLite could read as a URI with options.
            ("sqlite:///file:a.db%3Fmode=memory", Some("./file:a.db?mode=memory")),
        ] {
            let found = file(&StoreUrl::parse(url).unwrap()).unwrap();
            assert_eq!(found.as_deref(), path.map(Path::new), "{url}");
        }
    }
}
