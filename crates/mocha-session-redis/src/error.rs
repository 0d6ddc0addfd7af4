//! From the client's errors to ours: whether the command was done, why it failed, what to do.

use mocha_session_core::backend::Role;
use mocha_session_core::store::{Effect, Failure};
use mocha_session_core::{Error, ErrorKind};
use redis::{ErrorKind as Cause, ParsingError, RedisError};

/// The text of a `Corrupt` error.
pub(crate) const FOREIGN: &str = "the value under a session's key is not a session; give the \
     sessions a `prefix` of their own";

/// A command that failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// No connection could be opened.
    Undialled(Error),
    /// The server says that it is a replica.
    Replica,
    /// The client's error, and the possible effect of the command if the error does not show it.
    Client(RedisError, Option<Failure>),
}

impl From<RedisError> for Failed {
    fn from(cause: RedisError) -> Self {
        Self::Client(cause, None)
    }
}

impl From<ParsingError> for Failed {
    fn from(cause: ParsingError) -> Self {
        Self::Client(cause.into(), None)
    }
}

impl Failed {
    /// The server's error code (`NOSCRIPT`, `OOM`), if it certainly answered this command.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Client(cause, None) => code(cause),
            _ => None,
        }
    }

    /// Returns whether a read may succeed on another connection.
    pub(crate) fn needs_another_connection(&self) -> bool {
        match self {
            Self::Client(cause, known) => known.is_none() && cause.is_connection_dropped(),
            Self::Replica => true,
            Self::Undialled(_) => false,
        }
    }

    /// The error that the store returns.
    ///
    /// The server's text is left out: "unknown command" quotes the arguments, which can be a key
    /// or, while the connection is set up, the password. The client's errors about an answer quote
    /// the answer, so they are left out too.
    pub(crate) fn into_error(self, effect: Effect) -> Error {
        let (cause, known) = match self {
            Self::Undialled(error) => return error,
            Self::Replica => {
                return Failure::Refused(ErrorKind::Unavailable).error(effect, Role::READ_ONLY);
            }
            Self::Client(cause, known) => (cause, known),
        };
        let (failure, why) = match (known, code(&cause)) {
            (Some(Failure::NotSent), Some("ERR")) => (
                Failure::Refused(ErrorKind::InvalidConfig),
                "the server refused the session URL's database number or login; check both",
            ),
            (Some(Failure::Unanswered), _) if effect == Effect::Write => unanswered(&cause, effect),
            (_, Some(code)) => match refused(code) {
                Some((kind, why)) => (Failure::Refused(kind), why),
                None => {
                    let why = format!("the server refused with {code}; is it Redis 6 or later?");
                    return Failure::Refused(ErrorKind::Internal).error(effect, why);
                }
            },
            (Some(Failure::NotSent), None) => not_connected(&cause),
            (_, None) => unanswered(&cause, effect),
        };
        // Every other kind may quote the command or the answer, and an I/O error's detail is text of
        // the server.
        let safe = match cause.kind() {
            Cause::Io => cause.detail().is_none(),
            Cause::InvalidClientConfig | Cause::Client | Cause::ClusterConnectionNotFound => true,
            _ => false,
        };
        let told = match (failure, why) {
            (Failure::NotSent, CANNOT_CONNECT) if safe => failure
                .error(effect, format!("cannot connect ({cause}); is the server running there?")),
            _ => failure.error(effect, why),
        };
        if safe { told.with_source(cause) } else { told }
    }
}

const CANNOT_CONNECT: &str = "cannot connect; is the server running there?";
const WRONG_LOGIN: &str = "the server refused the user name or the password";

/// The code of the server's answer, or the one inside a plain `ERR`.
pub(crate) fn code(cause: &RedisError) -> Option<&str> {
    let detail = cause.detail().unwrap_or_default();
    let Some(code) = cause.code() else {
        // A cluster's client that cannot connect wraps the text of one node's error.
        let wrapped = [
            ("NOAUTH", "NOAUTH"),
            ("WRONGPASS", "WRONGPASS"),
            ("AuthenticationFailed", "WRONGPASS"),
        ];
        let (_, inner) = wrapped
            .into_iter()
            .find(|(sign, _)| cause.kind() == Cause::Io && detail.contains(sign))?;
        return Some(inner);
    };
    if code != "ERR" {
        return Some(code);
    }
    // Redis before 7 wraps the error of a script: `ERR Error running script …: -OOM …`.
    for inner in ["OOM", "READONLY", "WRONGTYPE", "NOPERM", "MISCONF", "NOREPLICAS"] {
        if detail.contains(&format!(": -{inner} ")) {
            return Some(inner);
        }
    }
    // The client drops the code when it reports that the database could not be selected.
    let behind = [
        ("max number of clients", "MAXCLIENTS"),
        ("Authentication required", "NOAUTH"),
        ("no permissions", "NOPERM"),
    ];
    behind
        .into_iter()
        .find(|(sentence, _)| detail.contains(sentence))
        .map(|(_, inner)| inner)
        .or(Some(code))
}

/// The meaning of an error code. The command had no effect.
fn refused(code: &str) -> Option<(ErrorKind, &'static str)> {
    use ErrorKind::{Corrupt, Denied, Full, Unavailable};
    Some(match code {
        "OOM" => (
            Full,
            "the server has reached its `maxmemory` and refuses writes; raise it, or let it evict",
        ),
        "NOAUTH" => {
            (Denied, "the server requires a user name and password; put them into the session URL")
        }
        "WRONGPASS" => (Denied, WRONG_LOGIN),
        "NOPERM" => (
            Denied,
            "the server's ACL forbids the command or the key; the crate's README lists the rights",
        ),
        "DENIED" => (
            Denied,
            "the server is in protected mode and serves its own machine only; set a password",
        ),
        "WRONGTYPE" => (Corrupt, FOREIGN),
        "READONLY" | "MASTERDOWN" => (Unavailable, Role::READ_ONLY),
        "LOADING" => (Unavailable, "the server is still loading its data; try again in a moment"),
        "CLUSTERDOWN" | "TRYAGAIN" => {
            (Unavailable, "the cluster is incomplete or moving slots; try again in a moment")
        }
        "MOVED" | "ASK" => {
            (Unavailable, "another node has the key; open a cluster with redis+cluster://")
        }
        "MISCONF" => {
            (Unavailable, "the server cannot save to its disk and refuses writes; see its log")
        }
        "NOREPLICAS" => (
            Unavailable,
            "the server has lost its replicas and refuses writes (min-replicas-to-write)",
        ),
        "BUSY" => (Unavailable, "the server is busy with a script; try again in a moment"),
        "MAXCLIENTS" => (Unavailable, "the server has reached its `maxclients`; raise it"),
        _ => return None,
    })
}

/// The meaning of an error while connecting. The command was not sent.
fn not_connected(cause: &RedisError) -> (Failure, &'static str) {
    let why = match cause.kind() {
        Cause::AuthenticationFailed => {
            return (Failure::Refused(ErrorKind::Denied), WRONG_LOGIN);
        }
        Cause::InvalidClientConfig | Cause::Client => {
            let why = "the address or the TLS files cannot be used; check the session URL";
            return (Failure::Refused(ErrorKind::InvalidConfig), why);
        }
        Cause::MasterNameNotFoundBySentinel => {
            "no sentinel knows a running primary of that name; is the session URL right?"
        }
        Cause::Parse | Cause::UnexpectedReturnType => {
            "the server does not speak the Redis protocol; are the host and the port right?"
        }
        _ if cause.is_timeout() => {
            "no connection in time (`connect_timeout`); are the host and the port right, and open \
             in the firewall?"
        }
        _ => CANNOT_CONNECT,
    };
    (Failure::NotSent, why)
}

/// The meaning of an error after the command was sent.
fn unanswered(cause: &RedisError, effect: Effect) -> (Failure, &'static str) {
    match cause.kind() {
        // For a read, an answer of the wrong type is a fault and not an outage.
        Cause::Parse | Cause::UnexpectedReturnType => {
            let failure = match effect {
                Effect::Read => Failure::Refused(ErrorKind::Internal),
                Effect::Write => Failure::Unanswered,
            };
            (failure, "the server's answer is not one of Redis; is it another server?")
        }
        _ if cause.is_timeout() => (Failure::TimedOut, "no answer in time (`response_timeout`)"),
        Cause::ClusterConnectionNotFound => {
            (Failure::Unanswered, "no node of the cluster that serves the key can be reached")
        }
        _ => (Failure::Unanswered, "the connection broke before the answer came"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::io;

    use super::*;

    fn answer(text: &str) -> RedisError {
        redis::parse_redis_value(format!("-{text}\r\n").as_bytes())
            .unwrap()
            .extract_error()
            .unwrap_err()
    }

    #[test]
    fn an_answer_is_definite_and_a_lost_one_is_ambiguous_for_writes_only() {
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
                let error = Failed::from(answer(text)).into_error(effect);
                assert_eq!((error.kind(), error.is_ambiguous()), (kind, false), "{text}");
            }
        }
        for (cause, read) in [
            (io::ErrorKind::BrokenPipe, ErrorKind::Unavailable),
            (io::ErrorKind::ConnectionReset, ErrorKind::Unavailable),
            (io::ErrorKind::TimedOut, ErrorKind::Timeout),
        ] {
            let failure = || RedisError::from(io::Error::from(cause));
            assert_eq!(Failed::from(failure()).into_error(Effect::Read).kind(), read);
            assert!(Failed::from(failure()).into_error(Effect::Write).is_ambiguous());
            let unsent =
                Failed::Client(failure(), Some(Failure::NotSent)).into_error(Effect::Write);
            assert_eq!(unsent.kind(), ErrorKind::Unavailable);
        }
        let loading = || answer("LOADING Redis is loading the dataset in memory");
        let foreign = || Failed::Client(loading(), Some(Failure::Unanswered));
        assert!(foreign().into_error(Effect::Write).is_ambiguous());
        assert_eq!(foreign().into_error(Effect::Read).kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn error_of_a_clusters_own_connections_is_no_answer_to_the_command() {
        for (text, own) in [
            ("ERR syntax error", true),
            ("ERR max number of clients reached", false),
            ("ERR invalid DB index", false),
            ("ERR Syntax error in HELLO option 'setname'", false),
        ] {
            assert_eq!(crate::cluster::is_own(&answer(text)), own, "{text}");
        }
        let foreign = Failed::Client(answer("ERR invalid DB index"), Some(Failure::Unanswered));
        assert_eq!(foreign.code(), None);
        assert_eq!(Failed::from(answer("ERR syntax error")).code(), Some("ERR"));
    }

    #[test]
    fn no_text_of_the_server_or_the_client_is_repeated() {
        let quoting =
            "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'app' 'hunter2' ";
        for failure in [
            Failed::from(answer(quoting)),
            Failed::Client(answer(quoting), Some(Failure::Unanswered)),
            Failed::Client(answer(quoting), Some(Failure::NotSent)),
            Failed::from(redis::ParsingError::from("(value was bulk-string(hunter2))")),
            Failed::Client(
                redis::ParsingError::from("(value was bulk-string(hunter2))").into(),
                Some(Failure::NotSent),
            ),
        ] {
            let error = failure.into_error(Effect::Write);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
