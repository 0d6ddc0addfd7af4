//! What a failed command means: the one place that turns the client's errors into ours.

use mocha_session_core::{Error, ErrorKind};
use redis::{ErrorKind as Cause, ParsingError, RedisError};

/// The engine's name in errors and capabilities.
pub(crate) const ENGINE: &str = "redis";

/// Why a value is `Corrupt`.
pub(crate) const FOREIGN: &str =
    "something other than a session lies under a session's key; give the sessions a `prefix` of their own";

/// What a command does on the server: whether repeating it is harmless, and whether losing its answer matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
}

/// A command that failed, and whether it can have reached the server.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There was no connection, so nothing was sent.
    NotSent(RedisError),
    /// It was sent, or may have been: an answer that is an error, or no answer.
    Sent(RedisError),
    /// The same, and the cause may be somebody else's: an answer in it says nothing about this command.
    Lost(RedisError),
}

impl From<RedisError> for Failure {
    fn from(cause: RedisError) -> Self {
        Self::Sent(cause)
    }
}

impl From<ParsingError> for Failure {
    fn from(cause: ParsingError) -> Self {
        Self::Sent(cause.into())
    }
}

impl Failure {
    /// The server's own word for what is wrong (`READONLY`, `OOM`), when it answered.
    pub(crate) fn code(&self) -> Option<&str> {
        let (Self::NotSent(cause) | Self::Sent(cause) | Self::Lost(cause)) = self;
        code(cause)
    }

    /// The error that the store returns.
    ///
    /// The server's sentence is not repeated: "unknown command" quotes the arguments, which can be a key or, when
    /// the connection is being set up, the password. Nor are the client's complaints about an answer, which quote it.
    pub(crate) fn into_error(self, operation: &'static str, effect: Effect) -> Error {
        let error = match self {
            Self::NotSent(cause) => not_connected(cause),
            Self::Lost(cause) if effect == Effect::Write => unanswered(cause, effect),
            Self::Sent(cause) | Self::Lost(cause) => match code(&cause) {
                Some(code) => refused(code),
                None => unanswered(cause, effect),
            },
        };
        error.on(ENGINE).during(operation)
    }
}

/// The first word of the server's answer, or what stands behind a mere `ERR`.
pub(crate) fn code(cause: &RedisError) -> Option<&str> {
    let code = cause.code()?;
    let detail = cause.detail().unwrap_or_default();
    if code != "ERR" {
        return Some(code);
    }
    // Redis before 7 wraps what stopped a script: `ERR Error running script …: -OOM …`.
    for inner in ["OOM", "READONLY", "WRONGTYPE", "NOPERM", "MISCONF", "NOREPLICAS"] {
        if detail.contains(&format!(": -{inner} ")) {
            return Some(inner);
        }
    }
    // The client drops the word when it reports that the database could not be chosen.
    let behind = [
        ("max number of clients", "MAXCLIENTS"),
        ("Authentication required", "NOAUTH"),
        ("no permissions", "NOPERM"),
    ];
    behind.into_iter().find(|(sentence, _)| detail.contains(sentence)).map(|(_, inner)| inner).or(Some(code))
}

/// An answer that is an error: the command had no effect.
fn refused(code: &str) -> Error {
    use ErrorKind::{Corrupt, Denied, Full, Unavailable};
    let (kind, why) = match code {
        "OOM" => {
            (Full, "the server has reached its `maxmemory` and refuses writes; raise it, or let it evict")
        }
        "NOAUTH" => (Denied, "the server wants a user name and password; put them into the session URL"),
        "WRONGPASS" => (Denied, "the server refused the user name or password"),
        "NOPERM" => (
            Denied,
            "the server's ACL forbids the command or the key; the crate's README lists what is needed",
        ),
        "DENIED" => {
            (Denied, "the server is in protected mode and serves its own machine only; set a password")
        }
        "WRONGTYPE" => (Corrupt, FOREIGN),
        "READONLY" | "MASTERDOWN" => (Unavailable, "the server is a replica; sessions need the primary"),
        "LOADING" => (Unavailable, "the server is still loading its data; try again in a moment"),
        "CLUSTERDOWN" | "TRYAGAIN" => {
            (Unavailable, "the cluster is incomplete or moving slots; try again in a moment")
        }
        "MOVED" | "ASK" => {
            (Unavailable, "another node has the key; clusters are opened with redis+cluster://")
        }
        "MISCONF" => (Unavailable, "the server cannot save to its disk and refuses writes; its log says why"),
        "NOREPLICAS" => {
            (Unavailable, "the server has lost its replicas and refuses writes (min-replicas-to-write)")
        }
        "BUSY" => (Unavailable, "the server is busy with somebody's script"),
        "MAXCLIENTS" => (Unavailable, "the server has as many connections as its `maxclients` allows"),
        other => {
            let why = format!("the server refused with {other}; is it Redis 6 or later?");
            return Error::new(ErrorKind::Internal, why);
        }
    };
    Error::new(kind, why)
}

/// No connection: the command was never sent.
fn not_connected(cause: RedisError) -> Error {
    match (code(&cause), cause.kind()) {
        (Some("ERR"), _) => Error::new(
            ErrorKind::InvalidConfig,
            "the server refused the database number or the way of logging in that the session URL asks for",
        ),
        (Some(code), _) => refused(code),
        (None, Cause::AuthenticationFailed) => refused("WRONGPASS"),
        (None, Cause::InvalidClientConfig | Cause::Client) => {
            Error::new(ErrorKind::InvalidConfig, "the address or the TLS files cannot be used")
                .with_source(cause)
        }
        (None, Cause::MasterNameNotFoundBySentinel) => Error::new(
            ErrorKind::Unavailable,
            "no sentinel knows a primary of that name that is up; is the name in the session URL right?",
        ),
        (None, Cause::Parse | Cause::UnexpectedReturnType) => {
            Error::new(ErrorKind::Unavailable, "what answers there does not speak the Redis protocol")
        }
        (None, _) if cause.is_timeout() => Error::new(
            ErrorKind::Unavailable,
            "no connection in time (`connect_timeout`); are the host and the port right, and open in the firewall?",
        ),
        (None, _) => Error::new(
            ErrorKind::Unavailable,
            format!("cannot connect ({cause}); is the server running there?"),
        )
        .with_source(cause),
    }
}

/// Sent, and then no answer that can be understood.
fn unanswered(cause: RedisError, effect: Effect) -> Error {
    let (read, why) = match cause.kind() {
        Cause::Parse | Cause::UnexpectedReturnType => {
            // The text quotes the answer, which is a session.
            return Error::new(
                if effect == Effect::Write { ErrorKind::Ambiguous } else { ErrorKind::Internal },
                "the server's answer is not what Redis gives",
            );
        }
        _ if cause.is_timeout() => (ErrorKind::Timeout, "no answer in time (`response_timeout`)"),
        Cause::ClusterConnectionNotFound => {
            (ErrorKind::Unavailable, "no node of the cluster that serves the key can be reached")
        }
        _ => (ErrorKind::Unavailable, "the connection broke before the answer came"),
    };
    let error = Error::new(if effect == Effect::Write { ErrorKind::Ambiguous } else { read }, why);
    if code(&cause).is_none() { error.with_source(cause) } else { error }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::io;

    use super::*;

    fn answer(text: &str) -> RedisError {
        redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap().extract_error().unwrap_err()
    }

    #[test]
    fn an_answer_is_definite_and_the_rest_is_ambiguous_for_writes_only() {
        for (text, kind) in [
            ("OOM command not allowed when used memory > 'maxmemory'.", ErrorKind::Full),
            (
                "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command not allowed",
                ErrorKind::Full,
            ),
            ("READONLY You can't write against a read only replica.", ErrorKind::Unavailable),
            ("MASTERDOWN Link with MASTER is down", ErrorKind::Unavailable),
            ("LOADING Redis is loading the dataset in memory", ErrorKind::Unavailable),
            ("CLUSTERDOWN The cluster is down", ErrorKind::Unavailable),
            ("TRYAGAIN Multiple keys request during rehashing of slot", ErrorKind::Unavailable),
            ("MOVED 3999 127.0.0.1:6381", ErrorKind::Unavailable),
            ("MISCONF Redis is configured to save RDB snapshots", ErrorKind::Unavailable),
            ("ERR max number of clients reached", ErrorKind::Unavailable),
            ("NOAUTH Authentication required.", ErrorKind::Denied),
            ("NOPERM User app has no permissions", ErrorKind::Denied),
            ("WRONGTYPE Operation against a key", ErrorKind::Corrupt),
            ("ERR unknown command", ErrorKind::Internal),
        ] {
            for effect in [Effect::Read, Effect::Write] {
                let error = Failure::Sent(answer(text)).into_error("update", effect);
                assert_eq!((error.kind(), error.is_ambiguous()), (kind, false), "{text}");
            }
        }
        for (cause, read) in [
            (io::ErrorKind::BrokenPipe, ErrorKind::Unavailable),
            (io::ErrorKind::ConnectionReset, ErrorKind::Unavailable),
            (io::ErrorKind::TimedOut, ErrorKind::Timeout),
        ] {
            let failure = || RedisError::from(io::Error::from(cause));
            assert_eq!(Failure::Sent(failure()).into_error("load", Effect::Read).kind(), read);
            assert!(Failure::Sent(failure()).into_error("update", Effect::Write).is_ambiguous());
            let unsent = Failure::NotSent(failure()).into_error("update", Effect::Write);
            assert_eq!(unsent.kind(), ErrorKind::Unavailable);
        }
        let foreign = || Failure::Lost(answer("LOADING Redis is loading the dataset in memory"));
        assert!(foreign().into_error("update", Effect::Write).is_ambiguous());
        assert_eq!(foreign().into_error("load", Effect::Read).kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn nothing_that_the_server_or_the_client_quotes_is_repeated() {
        let quoting = "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'app' 'hunter2' ";
        for failure in [
            Failure::Sent(answer(quoting)),
            Failure::Lost(answer(quoting)),
            Failure::NotSent(answer(quoting)),
            Failure::Sent(redis::ParsingError::from("(value was bulk-string(hunter2))").into()),
            Failure::NotSent(redis::ParsingError::from("(value was bulk-string(hunter2))").into()),
        ] {
            let error = failure.into_error("update", Effect::Write);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
