//! From the client's errors to ours, in one place: what the failed call can have done, whether its
//! connection is still good, and what to do about it.
//!
//! No server text is passed on, because a server may quote the row it refused. Its code is, and the
//! causes that name no data.

mod codes;

pub(crate) use codes::{NO_KEY, is_refused_setting};

use std::borrow::Cow;
use std::error::Error as StdError;
use std::io::ErrorKind as Io;

use mocha_session_core::backend::Role;
use mocha_session_core::store::{Effect, Failure};
use mocha_session_core::{Error, ErrorKind};

use crate::dialect::{Dialect, Table};
use crate::engine::NotPrimary;

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) sign: Sign,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// An error that was made elsewhere: by the dialer, or by the callback for credentials.
    Told(Error),
    Client {
        failure: Failure,
        message: Cow<'static, str>,
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

/// What follows from a failure, beside its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Nothing,
    /// The connection broke, or does not lead to a primary: it and those like it are left.
    Leave,
    /// The server rolled the statement back because of others: it may be sent again.
    RolledBack,
    /// The table is not there.
    NoTable,
}

/// How far a call had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// There was no connection yet, so nothing was sent.
    Dialling,
    /// The statement had a connection.
    Sent,
}

impl Failed {
    /// What an error of the client means.
    pub(crate) fn of(error: sqlx::Error, stage: Stage, dialect: Dialect) -> Self {
        use Failure::{NotSent, Refused, Unanswered};
        use sqlx::Error as E;
        if let Some(error) = error.as_database_error() {
            let code = code(error);
            let (failure, sign, why) = codes::verdict(dialect, &code, error.message());
            // While a connection is being made nothing of the store's was sent.
            let failure =
                if stage == Stage::Dialling && failure == Unanswered { NotSent } else { failure };
            return Self::client(failure, sign, format!("{why} (code {code})"));
        }
        let lost = if stage == Stage::Sent { Unanswered } else { NotSent };
        match error {
            E::AnyDriverError(error) if error.is::<NotPrimary>() => {
                Self::client(Refused(ErrorKind::Unavailable), Sign::Leave, Role::READ_ONLY)
            }
            E::Io(error) => {
                let (failure, why) = match (stage, error.kind()) {
                    (Stage::Sent, _) => (Unanswered, "the connection broke before the answer came"),
                    (_, Io::NotFound) => (
                        Refused(ErrorKind::InvalidConfig),
                        "a file that the URL names (a certificate, a socket) does not exist",
                    ),
                    // This is how rustls says that it does not trust a certificate.
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
                "no connection in time: all connections of the pool are in use, or the server is slow",
            ),
            E::PoolClosed => Self::client(NotSent, Sign::Nothing, "the connection pool was closed"),
            E::WorkerCrashed => Self::client(lost, Sign::Leave, "the database's thread ended"),
            E::Protocol(_) => {
                Self::client(lost, Sign::Leave, "the server's answer could not be understood")
            }
            E::Configuration(_) => Self::client(
                Refused(ErrorKind::InvalidConfig),
                Sign::Nothing,
                "the login or the certificates do not fit: MySQL's caching_sha2_password needs TLS \
                 (sslmode=require), and a certificate needs a key of its own in PEM form",
            ),
            E::ColumnDecode { .. } | E::Decode(_) => Self::client(
                Refused(ErrorKind::InvalidConfig),
                Sign::Nothing,
                "a column of the table has another type than the store's; compare it with schema_sql",
            ),
            _ => Self::client(
                Refused(ErrorKind::Internal),
                Sign::Nothing,
                "the client library failed in an unforeseen way",
            ),
        }
    }

    /// An error that says all there is to say.
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

    fn because(mut self, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        if let Cause::Client { source, .. } = &mut self.cause {
            *source = Some(error.into());
        }
        self
    }

    /// Whether the call may be made once more on another connection: this one was to blame, and the
    /// statement is harmless or known not to have been done.
    pub(crate) fn may_move(&self, effect: Effect) -> bool {
        let Cause::Client { failure, .. } = &self.cause else { return false };
        self.sign == Sign::Leave
            && (effect == Effect::Read || matches!(failure, Failure::Refused(_)))
    }

    /// The error to hand on.
    pub(crate) fn error(self, effect: Effect, table: Option<&Table>) -> Error {
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

/// What follows from a server's error.
pub(crate) fn sign(error: &dyn sqlx::error::DatabaseError, dialect: Dialect) -> Sign {
    codes::verdict(dialect, &code(error), error.message()).1
}

/// SQLSTATE, MySQL's error number, or SQLite's extended result code.
fn code(error: &dyn sqlx::error::DatabaseError) -> String {
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return error.number().to_string();
    }
    error.code().unwrap_or_default().into_owned()
}

/// Whether SQLite found the file locked by another connection.
#[cfg(feature = "_sqlite")]
pub(crate) fn locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| code(error).parse::<i32>().ok());
    matches!(code.map(|code| code & 0xff), Some(5 | 6))
}

const NO_TLS: &str =
    "no TLS connection to a server that is trusted; see the options sslmode and sslrootcert";
