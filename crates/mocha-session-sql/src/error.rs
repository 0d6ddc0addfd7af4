//! From the client's errors to ours: what kind of failure, whether a write may have been done, what to do about it.
//!
//! No server text is passed on: a server may quote the row it refused. Its code is, and the causes that name no data.

use mocha_session_core::{Error, ErrorKind};

use crate::dialect::{Dialect, Table};

/// A failed call of the client.
#[derive(Debug)]
pub(crate) struct Failure {
    error: sqlx::Error,
    /// Whether the statement had a connection: before that nothing can have been done.
    sent: bool,
}

/// What the failed call was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    Open,
    Read,
    Write,
}

impl Failure {
    pub(crate) fn unsent(error: sqlx::Error) -> Self {
        Self { error, sent: false }
    }

    pub(crate) fn sent(error: sqlx::Error) -> Self {
        Self { error, sent: true }
    }

    /// Whether the connection was found dead: a read may be tried on another.
    pub(crate) fn broken(&self) -> bool {
        self.sent
            && match &self.error {
                sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
                // The server said good-bye (57P01 … 57P05) before it closed.
                sqlx::Error::Database(_) => self.code().is_some_and(|code| code.starts_with("57P")),
                _ => false,
            }
    }

    /// Whether the server rolled the statement back because of others (a deadlock, a serialization failure): it is known
    /// not to have been done, and the same statement may be sent again.
    pub(crate) fn rolled_back(&self, dialect: Dialect) -> bool {
        self.sent
            && self.code().is_some_and(|code| match dialect {
                Dialect::Postgres => matches!(code.as_str(), "40001" | "40P01"),
                Dialect::MySql => code == "1213",
                Dialect::Sqlite => false,
            })
    }

    /// Whether the table isn't there.
    pub(crate) fn no_table(&self, dialect: Dialect) -> bool {
        self.code().is_some_and(|code| match dialect {
            Dialect::Postgres => code == "42P01",
            Dialect::MySql => code == "1146",
            Dialect::Sqlite => code == "1" && self.text().starts_with("no such table"),
        })
    }

    /// Whether `SQLite` found the file locked by another connection.
    #[cfg(feature = "sqlite")]
    pub(crate) fn locked(&self) -> bool {
        self.code().and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| matches!(code & 0xff, 5 | 6))
    }

    /// SQLSTATE, MySQL's error number, or SQLite's extended result code.
    fn code(&self) -> Option<String> {
        let error = self.error.as_database_error()?;
        #[cfg(feature = "mysql")]
        if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
            return Some(error.number().to_string());
        }
        error.code().map(std::borrow::Cow::into_owned)
    }

    fn text(&self) -> &str {
        self.error.as_database_error().map_or("", |error| error.message())
    }

    /// The error to hand on.
    pub(crate) fn explain(self, dialect: Dialect, table: &Table, intent: Intent) -> Error {
        // After these nobody knows whether a write was done.
        let lost =
            if intent == Intent::Write && self.sent { ErrorKind::Ambiguous } else { ErrorKind::Unavailable };
        if self.no_table(dialect) {
            return Error::new(
                ErrorKind::Unavailable,
                format!(
                    "there is no table `{}`; let the store create it (without `create=false`) or run the statement that \
                     `mocha_session_sql::schema_sql` gives",
                    table.name()
                ),
            );
        }
        if let Some(code) = self.code() {
            let (kind, why) = match dialect {
                Dialect::Postgres => postgres(&code, lost),
                Dialect::MySql => mysql(&code, lost),
                Dialect::Sqlite => sqlite(&code, self.text(), lost),
            };
            return Error::new(kind, format!("{why} (code {code})"));
        }
        match self.error {
            sqlx::Error::Io(error)
                if intent == Intent::Open && error.kind() == std::io::ErrorKind::NotFound =>
            {
                Error::new(
                    ErrorKind::InvalidConfig,
                    "a file that the URL names (a certificate, a socket) does not exist",
                )
                .with_source(error)
            }
            sqlx::Error::Io(error) if self.sent => {
                Error::new(lost, "the connection broke before the answer came").with_source(error)
            }
            // This is how rustls says that it does not trust a certificate.
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Error::new(ErrorKind::Unavailable, NO_TLS).with_source(error)
            }
            sqlx::Error::Io(error) => {
                Error::new(ErrorKind::Unavailable, "the server cannot be reached; is it running?")
                    .with_source(error)
            }
            sqlx::Error::Tls(error) => Error::new(ErrorKind::Unavailable, NO_TLS).with_source(error),
            sqlx::Error::PoolTimedOut => Error::new(
                ErrorKind::Unavailable,
                "no connection in time: the server is down or slow, or all connections of the pool are in use",
            ),
            sqlx::Error::PoolClosed => Error::new(ErrorKind::Unavailable, "the connection pool was closed"),
            sqlx::Error::WorkerCrashed => Error::new(lost, "the database's thread ended"),
            sqlx::Error::Protocol(_) => Error::new(lost, "the server's answer could not be understood"),
            sqlx::Error::Configuration(_) => Error::new(
                ErrorKind::InvalidConfig,
                "the login or the certificates do not fit: MySQL's caching_sha2_password needs TLS (sslmode=require), and a \
                 certificate a key of its own in PEM form",
            ),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Error::new(
                ErrorKind::InvalidConfig,
                format!("a column of the table `{}` has another type than the store's", table.name()),
            ),
            _ => Error::new(ErrorKind::Internal, "the client library failed in an unforeseen way"),
        }
    }
}

const NO_TLS: &str = "no TLS connection to a server that is trusted; see the options sslmode and sslrootcert";

type Verdict = (ErrorKind, &'static str);

const DENIED: Verdict =
    (ErrorKind::Denied, "the server refused the user name or password, or this user may not do that");
const DISK: Verdict = (ErrorKind::Full, "the server has no room left");
const READ_ONLY: Verdict = (
    ErrorKind::Unavailable,
    "the server takes no writes: it is read-only or a replica; connect to the primary",
);
const NO_DATABASE: Verdict =
    (ErrorKind::Unavailable, "the database or schema of the URL does not exist; create it");
const COLUMNS: Verdict = (
    ErrorKind::InvalidConfig,
    "the table has other columns than the store's; choose another with the option `table`",
);
const BUSY: Verdict = (ErrorKind::Unavailable, "the server is busy, and the statement was not done");
const LARGE: Verdict = (ErrorKind::TooLarge, "the value is larger than the server or the column takes");
const UNFORESEEN: Verdict = (ErrorKind::Internal, "the server refused the statement");

fn postgres(code: &str, lost: ErrorKind) -> Verdict {
    match code {
        "3D000" | "3F000" => NO_DATABASE,
        "25006" => READ_ONLY,
        "42501" => DENIED,
        "42703" | "42804" => COLUMNS,
        "42P01" => (ErrorKind::Unavailable, "the table does not exist"),
        "53100" | "53200" => DISK,
        "54000" | "22001" => LARGE,
        "57P03" => (ErrorKind::Unavailable, "the server is starting or stopping"),
        // An idle connection that was closed, or a database that was dropped: nothing was being done.
        "57P04" | "57P05" => (ErrorKind::Unavailable, "the server closed the connection"),
        "55P03" | "57014" | "40001" | "40P01" => BUSY,
        _ if code.starts_with("28") => DENIED,
        // 57P01 while a commit waits for a synchronous standby ends the connection after the write was done here.
        _ if code.starts_with("57P") || code.starts_with("08") => (lost, "the server ended the connection"),
        _ if code.starts_with("53") => (ErrorKind::Unavailable, "the server has too many connections"),
        _ if code.starts_with("58") || code.starts_with("XX") => {
            (lost, "the server has trouble with its files")
        }
        _ => UNFORESEEN,
    }
}

fn mysql(code: &str, lost: ErrorKind) -> Verdict {
    match code {
        "1044" | "1045" | "1142" | "1143" | "1227" | "1410" | "1698" | "1820" => DENIED,
        "1049" => NO_DATABASE,
        "1054" | "1136" | "1366" => COLUMNS,
        "1290" | "1792" | "1836" => READ_ONLY,
        "1021" | "1037" | "1038" | "1041" | "1114" => DISK,
        "1153" | "1301" | "1406" => LARGE,
        "1205" | "1213" | "1243" | "1615" | "3024" | "1969" => BUSY,
        "1040" | "1203" | "1226" => (ErrorKind::Unavailable, "the server has too many connections"),
        "1053" | "1077" | "1317" | "1927" => (lost, "the server ended the connection"),
        "1030" | "1026" | "1180" => (lost, "the server has trouble with its files"),
        _ => UNFORESEEN,
    }
}

fn sqlite(code: &str, text: &str, lost: ErrorKind) -> Verdict {
    match code.parse::<i32>().map(|code| code & 0xff) {
        Ok(1) if text.contains("no such column") || text.contains("has no column") => COLUMNS,
        Ok(3 | 23) => (ErrorKind::Denied, "the file may not be opened like this; check its permissions"),
        Ok(5 | 6) => (
            ErrorKind::Unavailable,
            "another process keeps the database file locked, and the statement was not done",
        ),
        Ok(7 | 13) => (ErrorKind::Full, "the disk or the memory is full, and the statement was not done"),
        Ok(8) => (ErrorKind::Unavailable, "the database file or its folder is read-only"),
        Ok(10) => (lost, "the database file could not be read or written"),
        Ok(11) => (ErrorKind::Unavailable, "the database file is damaged; restore it from a backup"),
        Ok(14) => (
            ErrorKind::Unavailable,
            "the database file cannot be opened; does it exist, and may this process read and write it and its folder?",
        ),
        Ok(18) => LARGE,
        Ok(26) => (ErrorKind::InvalidConfig, "the file is not an SQLite database"),
        _ => UNFORESEEN,
    }
}
