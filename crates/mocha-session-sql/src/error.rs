//! From the client's errors to ours: whether the call was done, why it failed, what to do, and
//! whether its connection is still good.
//!
//! The server's text is left out, because it may quote a row. Its error code is shown.

mod codes;

pub(crate) use codes::{NO_KEY, is_refused_setting};

use std::borrow::Cow;
use std::error::Error as StdError;
use std::io::ErrorKind as Io;

use mocha_session_core::backend::Role;
use mocha_session_core::store::{Effect, Failure};
use mocha_session_core::{Error, ErrorKind};

use crate::dialect::{Dialect, Table};
use crate::engine::{Engine, NotPrimary};

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) sign: Sign,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// An error of the dialer, or of the callback for credentials.
    Told(Error),
    Client {
        failure: Failure,
        message: Cow<'static, str>,
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

/// The consequence of a failure for the connection or the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Nothing,
    /// The connection broke: drop it and those of its era.
    Leave,
    /// The connection does not lead to a primary: drop it and those of its era.
    NotPrimary,
    /// The caller had too little time left to tell a slow server from a healthy one.
    Hurried,
    /// The server rolled the statement back because of concurrent ones: it may be sent again.
    RolledBack,
    /// The table is missing.
    NoTable,
}

impl Sign {
    pub(crate) fn leaves(self) -> bool {
        matches!(self, Self::Leave | Self::NotPrimary)
    }
}

/// The stage at which a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// There was no connection yet, so nothing was sent.
    Dialling,
    /// The statement had a connection.
    Sent,
}

impl Failed {
    /// The meaning of an error before the statement was sent.
    pub(crate) fn dialling<DB: Engine>(error: sqlx::Error) -> Self {
        Self::of(error, Stage::Dialling, DB::DIALECT)
    }

    /// The meaning of an error of the client.
    pub(crate) fn of(error: sqlx::Error, stage: Stage, dialect: Dialect) -> Self {
        use Failure::{NotSent, Refused, Unanswered};
        use sqlx::Error as E;
        if let Some(error) = error.as_database_error() {
            let code = code(error);
            let ends = stage == Stage::Sent && ends(error);
            let (failure, sign, why) = codes::verdict(dialect, &code, error.message(), ends);
            // While it connects, the client has not sent the statement.
            let failure =
                if stage == Stage::Dialling && failure == Unanswered { NotSent } else { failure };
            return Self::client(failure, sign, format!("{why} (code {code})"));
        }
        let lost = if stage == Stage::Sent { Unanswered } else { NotSent };
        match error {
            E::AnyDriverError(error) if error.is::<NotPrimary>() => {
                Self::client(Refused(ErrorKind::Unavailable), Sign::NotPrimary, Role::READ_ONLY)
            }
            E::Io(error) => {
                let (failure, why) = match (stage, error.kind()) {
                    (Stage::Sent, _) => (Unanswered, "the connection broke before the answer came"),
                    (_, Io::NotFound) => (
                        Refused(ErrorKind::InvalidConfig),
                        "a file that the URL names (a certificate, a socket) does not exist",
                    ),
                    // rustls reports an untrusted certificate so.
                    (_, Io::InvalidData) => (NotSent, NO_TLS),
                    _ => (NotSent, "the server cannot be reached; is it running?"),
                };
                let sign = if stage == Stage::Sent { Sign::Leave } else { Sign::Nothing };
                Self::client(failure, sign, why).because(error)
            }
            E::Tls(error) => Self::client(NotSent, Sign::Nothing, NO_TLS).because(error),
            E::PoolTimedOut => Self::client(
                NotSent,
                Sign::Nothing,
                "no connection in time: the pool's connections are all in use, or the server is slow",
            ),
            E::PoolClosed => Self::client(NotSent, Sign::Nothing, "the connection pool was closed"),
            E::WorkerCrashed => Self::client(lost, Sign::Leave, "the database's thread ended"),
            E::Protocol(_) => {
                Self::client(lost, Sign::Leave, "the server broke the protocol; is it the engine?")
            }
            E::Configuration(_) => Self::client(
                Refused(ErrorKind::InvalidConfig),
                Sign::Nothing,
                "the client refused the login or the certificates: MySQL's caching_sha2_password \
                 needs TLS (sslmode=require), and a certificate needs its key in PEM form",
            ),
            E::ColumnDecode { .. } | E::Decode(_) => Self::client(
                Refused(ErrorKind::InvalidConfig),
                Sign::Nothing,
                "a column has another type than the store's; compare the table with schema_sql",
            ),
            _ => Self::client(
                Refused(ErrorKind::Internal),
                Sign::Nothing,
                "the client library failed unexpectedly",
            ),
        }
    }

    /// An error that is complete already.
    pub(crate) fn told(error: Error) -> Self {
        Self { sign: Sign::Nothing, cause: Cause::Told(error) }
    }

    /// No connection was made in time.
    pub(crate) fn too_slow() -> Self {
        Self::client(
            Failure::NotSent,
            Sign::Nothing,
            "the server did not take a connection in time",
        )
    }

    fn client(failure: Failure, sign: Sign, message: impl Into<Cow<'static, str>>) -> Self {
        Self { sign, cause: Cause::Client { failure, message: message.into(), source: None } }
    }

    pub(crate) fn signed(self, sign: Sign) -> Self {
        Self { sign, ..self }
    }

    fn because(mut self, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        if let Cause::Client { source, .. } = &mut self.cause {
            *source = Some(error.into());
        }
        self
    }

    /// Returns whether the call may be repeated on another connection: this connection caused the
    /// error, and the statement was a read or was certainly not done.
    pub(crate) fn may_move(&self, effect: Effect) -> bool {
        let Cause::Client { failure, .. } = &self.cause else { return false };
        self.sign.leaves() && (effect == Effect::Read || matches!(failure, Failure::Refused(_)))
    }

    /// The error that the store returns.
    pub(crate) fn into_error(self, effect: Effect, table: Option<&Table>) -> Error {
        match self.cause {
            Cause::Told(error) => error,
            Cause::Client { failure, message, source } => {
                let message = match table.filter(|_| self.sign == Sign::NoTable) {
                    Some(table) => format!("{message}: `{}`", table.name()).into(),
                    None => message,
                };
                let error = failure.error(effect, message);
                match source {
                    Some(source) => error.with_source(source),
                    None => error,
                }
            }
        }
    }
}

/// The consequence of a server's error.
pub(crate) fn sign(error: &dyn sqlx::error::DatabaseError, dialect: Dialect) -> Sign {
    codes::verdict(dialect, &code(error), error.message(), false).1
}

/// Returns whether PostgreSQL ends the connection with this error, whatever its code is.
fn ends(error: &dyn sqlx::error::DatabaseError) -> bool {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        use sqlx::postgres::PgSeverity::{Fatal, Panic};
        return matches!(error.severity(), Fatal | Panic);
    }
    let _ = error;
    false
}

/// SQLSTATE, MySQL's error number, or SQLite's extended result code.
fn code(error: &dyn sqlx::error::DatabaseError) -> String {
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return error.number().to_string();
    }
    error.code().unwrap_or_default().into_owned()
}

/// Returns whether SQLite found the file locked by another connection.
#[cfg(feature = "_sqlite")]
pub(crate) fn locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| code(error).parse::<i32>().ok());
    matches!(code.map(|code| code & 0xff), Some(5 | 6))
}

const NO_TLS: &str =
    "no TLS connection to a trusted server; check the options sslmode and sslrootcert";
